//! Counts of calls, messages and bytes, under the names that go-grpc-prometheus gave them.
//!
//! Every method's counters are looked up once, when its route is made; a call touches atomics only.

mod messages;
mod meters;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tonic::Status;
use tonic::codegen::Service;

use super::GrpcResponse;
use messages::Messages;
pub(super) use meters::{Meters, Method, Outcome};

/// A service whose calls are counted.
#[derive(Debug, Clone)]
pub(super) struct Counted<S> {
    pub(super) inner: S,
    pub(super) method: Arc<Method>,
}

impl<S> Service<Request> for Counted<S>
where
    S: Service<Request, Response = GrpcResponse, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = GrpcResponse;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<GrpcResponse, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let method = Arc::clone(&self.method);
        // Made before the call is awaited, so that a call which is dropped on the way is counted too.
        let outcome = Outcome::begin(&method, request.headers());
        let request = request
            .map(|body| Body::new(Received { inner: body, messages: Messages::default(), method }));
        let response = self.inner.call(request);
        Box::pin(async move {
            let mut outcome = outcome;
            let response = response.await?;
            outcome.notice(response.headers());
            Ok(response.map(|body| {
                tonic::body::Body::new(Sent { inner: body, messages: Messages::default(), outcome })
            }))
        })
    }
}

#[derive(Debug)]
struct Received {
    inner: Body,
    messages: Messages,
    method: Arc<Method>,
}

impl hyper::body::Body for Received {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let counted = self.messages.count(data);
            self.method.received(counted);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[derive(Debug)]
struct Sent {
    inner: tonic::body::Body,
    messages: Messages,
    outcome: Outcome,
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            if let Some(data) = frame.data_ref() {
                let counted = self.messages.count(data);
                self.outcome.sent_all(counted);
            } else if let Some(trailers) = frame.trailers_ref() {
                self.outcome.notice(trailers);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
