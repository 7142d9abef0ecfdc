use std::ops::ControlFlow;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Streaming;
use tracing::debug;

use super::backoff::Backoff;
use super::client::Client;
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb;

/// How many answers of a watch may wait for the writer; the stream waits when it is full.
const WAITING: usize = 256;

/// What happened in the store.
#[derive(Debug)]
pub(super) enum News {
    /// Changes in order; those of one revision are never torn apart.
    Events(Vec<mvccpb::Event>),
    /// The store forgot what happened since; everything has to be read again.
    Compacted,
}

/// Follows the live keys until it is dropped, over whichever members are there.
#[derive(Debug)]
pub(super) struct Watch {
    news: mpsc::Receiver<News>,
    following: JoinHandle<()>,
}

impl Watch {
    /// Begins after `revision`, which has been read.
    pub(super) fn start(client: Client, prefix: String, revision: i64) -> Self {
        let (sender, news) = mpsc::channel(WAITING);
        let following = tokio::spawn(follow(client, prefix, revision + 1, sender));
        Self { news, following }
    }

    /// The next news; can be given up at any point without losing any.
    pub(super) async fn next(&mut self) -> News {
        // The task ends only after it has said that all has to be read again.
        self.news.recv().await.unwrap_or(News::Compacted)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// Watches again and again, until the store has compacted what would come next or nobody listens.
///
/// A store that does not answer is no news of this task: the probe finds out, and says so.
async fn follow(client: Client, prefix: String, mut next: i64, news: mpsc::Sender<News>) {
    let mut backoff = Backoff::default();
    loop {
        match client.watch(&prefix, next).await {
            Err(status) => debug!(error = status.message(), "the store cannot be watched"),
            Ok(stream) => {
                if relay(stream, &mut next, &news, &mut backoff).await.is_break() {
                    return;
                }
                client.avoid_current();
            }
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// Hands on what one watch tells, until it ends; `next` is the revision that the next one begins with.
/// Breaks when there is nothing left to follow. Only a watch that tells something is a success.
async fn relay(
    mut stream: Streaming<pb::WatchResponse>,
    next: &mut i64,
    news: &mpsc::Sender<News>,
    backoff: &mut Backoff,
) -> ControlFlow<()> {
    loop {
        match stream.message().await {
            Ok(Some(answer)) if answer.compact_revision > 0 => {
                // The receiver may be gone, and then nobody needs to know.
                let _ = news.send(News::Compacted).await;
                return ControlFlow::Break(());
            }
            Ok(Some(answer)) if answer.canceled => {
                debug!(reason = answer.cancel_reason, "the store ended the watch");
                return ControlFlow::Continue(());
            }
            Ok(Some(answer)) => {
                backoff.reset();
                let Some(last) = last_revision(&answer) else { continue };
                *next = last + 1;
                if news.send(News::Events(answer.events)).await.is_err() {
                    return ControlFlow::Break(());
                }
            }
            Ok(None) => return ControlFlow::Continue(()),
            Err(status) => {
                debug!(error = status.message(), "the watch of the store broke off");
                return ControlFlow::Continue(());
            }
        }
    }
}

fn last_revision(answer: &pb::WatchResponse) -> Option<i64> {
    answer.events.iter().filter_map(|event| Some(event.kv.as_ref()?.mod_revision)).max()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use axum::Router;
    use futures_util::stream;
    use hyper_util::rt::TokioIo;
    use tokio::io::DuplexStream;
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;
    use tonic::transport::{Endpoint, Uri};
    use tonic::{Request, Response, Status};

    use super::*;
    use crate::membership::PeerUrl;
    use crate::proto::etcdserverpb::watch_server::{self, WatchServer};
    use crate::transport::{Bound, Dialer, Http, serve};

    #[tokio::test]
    async fn a_dead_store_is_asked_less_and_less_often() {
        let (knocks, mut heard) = mpsc::unbounded_channel();
        let refuse = move |_: Uri| {
            knocks.send(Instant::now()).unwrap();
            async {
                Err::<TokioIo<DuplexStream>, _>(io::Error::from(io::ErrorKind::ConnectionRefused))
            }
        };
        let channel = Endpoint::from_static("http://store")
            .connect_with_connector_lazy(tower::service_fn(refuse));
        let client = Client::new(vec![channel], None);
        let _watch = Watch::start(client, "quorate/live/".to_owned(), 2);
        let mut before = heard.recv().await.unwrap();
        for doubled in 0..4 {
            let knock = heard.recv().await.unwrap();
            assert!(knock - before >= Backoff::FIRST * 2_u32.pow(doubled), "{doubled}");
            before = knock;
        }
    }

    /// Says that it watches, and ends.
    #[derive(Debug)]
    struct Brief;

    #[tonic::async_trait]
    impl watch_server::Watch for Brief {
        type WatchStream = stream::Iter<std::array::IntoIter<Result<pb::WatchResponse, Status>, 1>>;

        async fn watch(
            &self,
            _asked: Request<Streaming<pb::WatchRequest>>,
        ) -> Result<Response<Self::WatchStream>, Status> {
            let created = pb::WatchResponse { created: true, ..pb::WatchResponse::default() };
            Ok(Response::new(stream::iter([Ok(created)])))
        }
    }

    #[tokio::test]
    async fn a_watch_that_tells_something_begins_with_short_pauses_again() {
        let bound = Bound::bind("127.0.0.1:0").await.unwrap();
        let url = PeerUrl::parse(&format!("http://{}", bound.address())).unwrap();
        let router =
            Router::new().route_service("/etcdserverpb.Watch/Watch", WatchServer::new(Brief));
        let serving = tokio::spawn(serve(bound, router, Http::default(), CancellationToken::new()));
        let client = Client::new(vec![Dialer::default().connect_lazy(&[url]).unwrap()], None);
        let mut backoff = Backoff::default();
        while backoff.pause() < Backoff::LONGEST {}
        let (news, _heard) = mpsc::channel(1);
        let stream = client.watch("quorate/live/", 2).await.unwrap();
        assert!(relay(stream, &mut 2, &news, &mut backoff).await.is_continue());
        assert!(backoff.pause() < Duration::from_secs(1));
        serving.abort();
    }
}
