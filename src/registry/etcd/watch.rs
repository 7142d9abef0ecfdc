use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Streaming;
use tracing::{debug, info, warn};

use super::client::Client;
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb;

/// How many answers of a watch may wait for the writer; the stream waits when it is full.
const WAITING: usize = 256;
/// Pause before a broken watch is opened again.
const PAUSE: Duration = Duration::from_millis(100);

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
async fn follow(client: Client, prefix: String, mut next: i64, news: mpsc::Sender<News>) {
    let mut broken = false;
    loop {
        match client.watch(&prefix, next).await {
            Err(status) => {
                if !broken {
                    warn!(error = status.message(), "the store cannot be watched at the moment");
                }
                broken = true;
            }
            Ok(stream) => {
                if std::mem::take(&mut broken) {
                    info!("the store is watched again");
                }
                if relay(stream, &mut next, &news).await.is_break() {
                    return;
                }
                client.avoid_current();
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Hands on what one watch tells, until it ends; `next` is the revision that the next one begins with.
/// Breaks when there is nothing left to follow.
async fn relay(
    mut stream: Streaming<pb::WatchResponse>,
    next: &mut i64,
    news: &mpsc::Sender<News>,
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
