use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
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
            Ok(mut stream) => {
                if std::mem::take(&mut broken) {
                    info!("the store is watched again");
                }
                loop {
                    match stream.message().await {
                        Ok(Some(answer)) if answer.compact_revision > 0 => {
                            // The receiver may be gone, and then nobody needs to know.
                            let _ = news.send(News::Compacted).await;
                            return;
                        }
                        Ok(Some(answer)) if answer.canceled => {
                            debug!(reason = answer.cancel_reason, "the store ended the watch");
                            break;
                        }
                        Ok(Some(answer)) => {
                            let Some(last) = last_revision(&answer) else { continue };
                            next = last + 1;
                            if news.send(News::Events(answer.events)).await.is_err() {
                                return;
                            }
                        }
                        Ok(None) => break,
                        Err(status) => {
                            debug!(error = status.message(), "the watch of the store broke off");
                            break;
                        }
                    }
                }
                client.avoid_current();
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn last_revision(answer: &pb::WatchResponse) -> Option<i64> {
    answer.events.iter().filter_map(|event| Some(event.kv.as_ref()?.mod_revision)).max()
}
