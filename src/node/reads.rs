use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tracing::warn;

use super::Error;
use super::shared::Shared;
use super::work::ReadNews;
use crate::raft::Index;
use crate::replica::Event;

/// Wait before a round is asked for again when consensus gave no answer.
const RETRY: Duration = Duration::from_millis(500);

/// Linearizable reads that wait together: one read-index round serves all that came before it.
///
/// A round is asked for only after its readers have queued, so its commit index is at least that of
/// every write acknowledged before any of them asked (Raft dissertation §6.4).
#[derive(Debug, Default)]
pub(super) struct Reads {
    waiting: Mutex<Vec<oneshot::Sender<Result<(), Error>>>>,
    wanted: Notify,
}

/// The ends that the rounds need.
#[derive(Debug)]
pub(super) struct ReadPorts {
    pub(super) shared: Arc<Shared>,
    pub(super) news: mpsc::UnboundedReceiver<ReadNews>,
    pub(super) applied: watch::Receiver<Index>,
    pub(super) timeout: Duration,
    /// Rounds that were not answered in time.
    pub(super) slow: IntCounter,
}

impl Reads {
    /// Queues for the next round.
    pub(super) fn wait(&self) -> oneshot::Receiver<Result<(), Error>> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().push(sender);
        self.wanted.notify_one();
        receiver
    }

    /// Runs rounds, one at a time, until the replica is gone.
    pub(super) async fn run(&self, mut ports: ReadPorts) {
        let mut context = 0;
        loop {
            self.wanted.notified().await;
            loop {
                let readers = std::mem::take(&mut *self.waiting.lock());
                if readers.is_empty() {
                    break;
                }
                let limit = ports.timeout;
                let outcome = match tokio::time::timeout(limit, ports.round(&mut context)).await {
                    Ok(Some(())) => Ok(()),
                    Ok(None) => Err(Error::Stopped),
                    Err(_) => Err(Error::Timeout),
                };
                let stopped = matches!(outcome, Err(Error::Stopped));
                for reader in readers {
                    // A reader that gave up needs no answer.
                    drop(reader.send(outcome.clone()));
                }
                if stopped {
                    return;
                }
            }
        }
    }
}

impl ReadPorts {
    /// One round; `None` when the replica is gone. Contexts are never reused, so that a late answer
    /// to an earlier round is not taken for this one's.
    async fn round(&mut self, context: &mut u64) -> Option<()> {
        let index = loop {
            *context += 1;
            self.shared.bring([Event::Read { context: *context }]).await.ok()?;
            match tokio::time::timeout(RETRY, self.answer(*context)).await {
                Ok(Some(Some(index))) => break index,
                Ok(Some(None)) => tokio::time::sleep(RETRY / 10).await,
                Ok(None) => return None,
                Err(_) => {
                    self.slow.inc();
                    warn!(
                        retry_timeout = ?RETRY,
                        "waiting for ReadIndex response took too long, retrying"
                    );
                }
            }
        };
        self.applied.wait_for(|applied| *applied >= index).await.ok()?;
        Some(())
    }

    /// The answer to a context: its index, or `Some(None)` when consensus dropped it.
    async fn answer(&mut self, context: u64) -> Option<Option<Index>> {
        loop {
            match self.news.recv().await? {
                ReadNews::Ready(ready) if ready.context == context => {
                    return Some(Some(ready.index));
                }
                ReadNews::Lost(lost) if lost == context => return Some(None),
                ReadNews::Ready(_) | ReadNews::Lost(_) => {}
            }
        }
    }
}
