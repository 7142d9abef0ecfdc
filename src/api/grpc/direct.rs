//! The calls that clients make all the time, with one message each way and nothing in between that
//! streams would need: half of what such a call costs is spent around its handler.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame};
use prost::Message;
use tonic::codegen::Service;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::counted::{Counted, Method, Outcome};
use super::{GrpcResponse, compressed, too_large, unreadable};
use crate::apply::Parts;

/// The compression flag and the length before every message.
const PREFIX: usize = 5;

/// Answers of so many bytes are not encoded where others wait for the thread.
const LONG: usize = 1 << 20;

/// What a method answers.
#[derive(Debug)]
pub(super) enum Answer<A> {
    Message(A),
    /// One that was encoded while it was made, behind what [`begin`] begins.
    Encoded(Parts),
}

/// An answer that is encoded while it is made, with its first fields.
pub(super) fn begin(first: &impl Message) -> Parts {
    let mut parts = Parts::default();
    parts.piece(PREFIX, first.encoded_len(), |part| part.put_bytes(0, PREFIX));
    parts.message(first);
    parts
}

/// One method, answered by `call`. Whatever is unusual goes to the library's service.
#[derive(Debug)]
pub(super) struct Direct<S, F, Q, A> {
    pub(super) library: Counted<S>,
    pub(super) call: F,
    /// The largest message there may be.
    pub(super) largest: usize,
    pub(super) messages: PhantomData<fn(Q) -> A>,
}

impl<S: Clone, F: Clone, Q, A> Clone for Direct<S, F, Q, A> {
    fn clone(&self) -> Self {
        let Self { library, call, largest, messages } = self;
        let (library, call) = (library.clone(), call.clone());
        Self { library, call, largest: *largest, messages: *messages }
    }
}

impl<S, F, Fut, Q, A> Service<Request> for Direct<S, F, Q, A>
where
    S: Service<Request, Response = GrpcResponse, Error = Infallible>,
    S::Future: Send + 'static,
    F: FnOnce(tonic::Request<Q>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Answer<A>, Status>> + Send,
    Q: Message + Default + 'static,
    A: Message + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.library.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if request.headers().contains_key("grpc-encoding") {
            let response = self.library.call(request);
            return Box::pin(async { Ok(response.await?.into_response()) });
        }
        let (call, largest) = (self.call.clone(), self.largest);
        let method: &Arc<Method> = &self.library.method;
        let outcome = Outcome::begin(method, request.headers());
        Box::pin(async move {
            let answered = answer(request, call, largest, &outcome).await;
            let (code, response) = match answered {
                Ok(response) => (Code::Ok, response),
                Err(status) => (status.code(), status.into_http()),
            };
            outcome.end(code);
            Ok(response)
        })
    }
}

async fn answer<F, Fut, Q, A>(
    request: Request,
    call: F,
    largest: usize,
    outcome: &Outcome,
) -> Result<Response, Status>
where
    F: FnOnce(tonic::Request<Q>) -> Fut,
    Fut: Future<Output = Result<Answer<A>, Status>>,
    Q: Message + Default,
    A: Message + 'static,
{
    let (parts, body) = request.into_parts();
    let message = read(body, largest).await?;
    outcome.received(message.len());
    let message = Q::decode(message).map_err(|error| unreadable(&error.to_string()))?;
    let metadata = MetadataMap::from_headers(parts.headers);
    let request = tonic::Request::from_parts(metadata, parts.extensions, message);
    let mut parts = match call(request).await? {
        Answer::Encoded(parts) => parts,
        Answer::Message(answer) if answer.encoded_len() < LONG => begin(&answer),
        Answer::Message(answer) => {
            // With whatever it takes to free the answer.
            let encoded = tokio::task::spawn_blocking(move || begin(&answer)).await;
            encoded.map_err(|error| Status::internal(error.to_string()))?
        }
    };
    let length = parts.len() - PREFIX;
    let prefix = u32::try_from(length).map_err(|_too_long| {
        Status::resource_exhausted(format!("grpc: message too large ({length} bytes)"))
    })?;
    parts.first_mut()[1..PREFIX].copy_from_slice(&prefix.to_be_bytes());
    outcome.sent(length);
    let mut response = Response::new(Body::new(Reply { parts: parts.into_iter(), open: true }));
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// The one message of a request, which is read to its end.
async fn read(mut body: Body, largest: usize) -> Result<Bytes, Status> {
    let mut whole = data(&mut body, "Missing request message.").await?;
    let mut length = length_of(&whole, largest)?;
    if length.is_none_or(|length| whole.len() < PREFIX + length) {
        let mut gathered = BytesMut::from(whole);
        while length.is_none_or(|length| gathered.len() < PREFIX + length) {
            gathered.extend_from_slice(&data(&mut body, "Unexpected EOF decoding stream.").await?);
            length = length_of(&gathered, largest)?;
        }
        whole = gathered.freeze();
    }
    while !body.is_end_stream() {
        // A connection that broke says so again however often it is asked.
        match body.frame().await {
            Some(frame) => drop(frame.map_err(cancelled)?),
            None => break,
        }
    }
    Ok(whole.slice(PREFIX..PREFIX + length.unwrap_or(0)))
}

async fn data(body: &mut Body, missing: &str) -> Result<Bytes, Status> {
    let Some(frame) = body.frame().await else { return Err(Status::internal(missing)) };
    let frame = frame.map_err(cancelled)?;
    frame.into_data().map_err(|_trailers| Status::internal(missing))
}

/// The client went away.
#[expect(clippy::needless_pass_by_value, reason = "what `map_err` passes")]
fn cancelled(error: axum::Error) -> Status {
    Status::cancelled(error.to_string())
}

/// How long the message is that begins here; `None` when that has not come yet.
fn length_of(message: &[u8], largest: usize) -> Result<Option<usize>, Status> {
    let Some(mut prefix) = message.get(..PREFIX) else { return Ok(None) };
    if prefix.get_u8() != 0 {
        return Err(compressed::unexpected());
    }
    let length = prefix.get_u32() as usize;
    if length > largest { Err(too_large(length, largest)) } else { Ok(Some(length)) }
}

/// One message and the status behind it.
struct Reply {
    parts: std::vec::IntoIter<Vec<u8>>,
    /// The status is still to come.
    open: bool,
}

impl hyper::body::Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(part) = self.parts.next() {
            return Poll::Ready(Some(Ok(Frame::data(part.into()))));
        }
        let open = mem::take(&mut self.open);
        Poll::Ready(open.then(|| {
            let mut trailers = HeaderMap::with_capacity(1);
            trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
            Ok(Frame::trailers(trailers))
        }))
    }

    fn is_end_stream(&self) -> bool {
        !self.open
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt as _;

    use super::*;

    /// A body that comes in pieces.
    fn pieces(bytes: &[u8], length: usize) -> Body {
        let pieces: Vec<Result<Bytes, Infallible>> =
            bytes.chunks(length).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Body::from_stream(tokio_stream::iter(pieces))
    }

    #[tokio::test]
    async fn a_message_is_read_however_it_is_cut() {
        let message: Vec<u8> = [&[0, 0, 0, 1, 44][..], &[7; 300]].concat();
        for length in 1..=message.len() {
            let read = read(pieces(&message, length), 300).await.unwrap();
            assert_eq!(read, vec![7; 300], "in pieces of {length}");
        }
        assert_eq!(read(pieces(&[0; 5], 5), 300).await.unwrap(), Bytes::new());
    }

    #[tokio::test]
    async fn a_connection_that_breaks_behind_the_message_ends_the_call() {
        let message = Bytes::from_static(&[0, 0, 0, 0, 1, 7]);
        let broken = || Some(Err(std::io::Error::other("connection reset")));
        let first = tokio_stream::once(Ok(message));
        let body = Body::from_stream(first.chain(tokio_stream::iter(std::iter::from_fn(broken))));
        let refused = read(body, 300).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::Cancelled, "connection reset"));
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused() {
        for (bytes, code, text) in [
            (&[][..], Code::Internal, "Missing request message."),
            (&[0, 0], Code::Internal, "Unexpected EOF decoding stream."),
            (&[0, 0, 0, 0, 9, 1], Code::Internal, "Unexpected EOF decoding stream."),
            (
                &[1, 0, 0, 0, 1, 1],
                Code::Internal,
                "grpc: compressed flag set with identity or empty encoding",
            ),
            (
                &[0, 0, 0, 1, 45, 1],
                Code::ResourceExhausted,
                "grpc: received message larger than max (301 vs. 300)",
            ),
        ] {
            let refused = read(pieces(bytes, 3), 300).await.unwrap_err();
            assert_eq!((refused.code(), refused.message()), (code, text));
        }
    }
}
