use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::shared::Shared;
use super::work::LogWork;
use crate::replica::Event;
use crate::wal::{self, Wal};

/// A sync that takes longer than this is worth a warning, as in etcd.
const SLOW_SYNC: Duration = Duration::from_secs(1);

/// The thread that owns the log: writes all that is queued, syncs once, then acknowledges.
pub(super) struct LogLoop {
    pub(super) wal: Wal,
    pub(super) shared: Arc<Shared>,
    pub(super) work: mpsc::Receiver<LogWork>,
}

impl LogLoop {
    /// Runs until the replica is gone. An error is final: what a failed sync left on disk is unknown,
    /// so it must neither be retried nor acknowledged.
    pub(super) fn run(mut self) {
        if let Err(error) = self.serve() {
            self.shared.fail(format!("log: {}", crate::transport::chain(&error)));
        }
    }

    fn serve(&mut self) -> Result<(), wal::Error> {
        let mut written = Vec::new();
        while let Some(first) = self.work.blocking_recv() {
            let mut next = Some(first);
            let mut compact = None;
            let mut sync = false;
            while let Some(work) = next {
                match work {
                    LogWork::Persist(persist) => {
                        self.wal.append(&persist);
                        sync |= persist.sync;
                        written.push(persist);
                    }
                    LogWork::Compact(index) => compact = Some(index),
                }
                next = self.work.try_recv().ok();
            }
            if sync {
                let bytes = i64::try_from(self.wal.unsynced_bytes()).unwrap_or(i64::MAX);
                self.shared.metrics.counts().log_bytes.add(bytes);
                let started = Instant::now();
                let mut syncing = started;
                self.wal.sync_noting(|| syncing = Instant::now())?;
                let took = syncing.elapsed();
                if took > SLOW_SYNC {
                    warn!(took = ?took, expected_duration = ?SLOW_SYNC, "slow fdatasync");
                }
                self.shared.metrics.synced(syncing - started, took);
            }
            let last = written.last().map(|persist| persist.batch);
            for persist in written.drain(..) {
                self.shared.peers.send(persist.then_send);
            }
            if let Some(batch) = last
                && self.shared.acknowledge(Event::Persisted { batch }).is_err()
            {
                return Ok(());
            }
            if let Some(index) = compact {
                debug!(log.index = index.0, "compacting the log");
                self.wal.compact(index)?;
            }
        }
        Ok(())
    }
}
