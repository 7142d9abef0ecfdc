use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;

/// How many requests of a connection are open, so that an idle one can be closed.
#[derive(Debug, Default)]
pub(super) struct Activity {
    open: AtomicUsize,
    changed: Notify,
}

/// One open request.
#[derive(Debug)]
pub(super) struct Open(Arc<Activity>);

/// A body that keeps its request open until it was sent.
#[derive(Debug)]
struct Counted {
    body: Body,
    _open: Open,
}

impl Activity {
    pub(super) fn begin(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
        Open(Arc::clone(self))
    }

    /// Waits until there was no request for that long.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let changed = self.changed.notified();
            if self.open.load(Ordering::Relaxed) > 0 {
                changed.await;
            } else if tokio::time::timeout(limit, changed).await.is_err() {
                return;
            }
        }
    }
}

impl Open {
    /// The same body; the request ends with it.
    pub(super) fn until_sent(self, body: Body) -> Body {
        Body::new(Counted { body, _open: self })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
