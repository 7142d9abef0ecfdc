use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// How long a client may go on sending what nobody wanted.
const PATIENCE: Duration = Duration::from_secs(3);
/// How much it may send of that.
const LIMIT_BYTES: usize = 1 << 20;

/// The body of a request, of which is taken in what its handler leaves.
///
/// The HTTP/2 library resets the stream of a request that was answered before its body was there
/// (RFC 9113, section 8.1). A curl that gets the reset together with the answer shows an error instead of
/// the answer.
#[derive(Debug)]
pub(super) struct Unread(Option<Incoming>);

impl Unread {
    pub(super) fn of(body: Incoming) -> Self {
        Self(Some(body))
    }

    /// Whether a request needs it: clients of gRPC know resets, and HTTP/1.1 has none.
    pub(super) fn matters(request: &Request<Incoming>) -> bool {
        let content = request.headers().get(header::CONTENT_TYPE);
        request.version() == Version::HTTP_2
            && !content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"))
            && !request.body().is_end_stream()
    }
}

async fn take_in(mut body: Incoming) {
    let mut bytes = 0;
    while bytes < LIMIT_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some(body) = self.0.take()
            && !body.is_end_stream()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(tokio::time::timeout(PATIENCE, take_in(body)));
        }
    }
}

impl Body for Unread {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}
