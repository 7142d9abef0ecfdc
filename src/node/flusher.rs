use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tracing::info;

use super::log_loop::LogWork;
use super::shared::Shared;
use crate::mvcc::StorageError;
use crate::raft::{ConfState, Index, SnapshotMeta};
use crate::replica::Event;
use crate::store::{Durability, SnapshotReader, Store};
use crate::transport::SnapshotChunks;

/// How long applied entries wait in memory for the store.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// How long commits may go without a sync of their own: the log has the entries until then.
const SYNC_EVERY: Duration = Duration::from_secs(2);
/// Bytes that wait in memory before the apply thread has to wait too.
const PENDING_BYTES: usize = 64 << 20;
/// Old revisions removed between two looks at other work.
const COMPACTION_STEP: usize = 2_000;
/// Snapshots kept open for peers that are being sent one.
const OFFERED: usize = 2;

/// Brings the state to disk beside the apply thread.
#[derive(Debug)]
pub(super) struct Flusher {
    shared: Arc<Shared>,
    orders: SyncSender<Order>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Snapshots that consensus offered to peers.
pub(super) type Offered = Mutex<BTreeMap<Index, SnapshotReader>>;

#[derive(Debug)]
enum Order {
    /// Commit now and say when it is done.
    Flush(SyncSender<()>),
    /// Commit, then open the state as it is for a peer.
    Offer(SyncSender<Result<SnapshotMeta, StorageError>>),
    /// Replace the whole state by this file.
    Install(PathBuf, SyncSender<Result<(), StorageError>>),
}

impl Flusher {
    /// Starts the thread.
    pub(super) fn start(
        shared: Arc<Shared>,
        offered: Arc<Offered>,
        acks: UnboundedSender<Event>,
        log: SyncSender<LogWork>,
    ) -> std::io::Result<Self> {
        let (orders, receiver) = sync_channel(4);
        let work = FlushLoop {
            shared: Arc::clone(&shared),
            orders: receiver,
            offered,
            acks,
            log,
            synced: Instant::now(),
        };
        let thread =
            std::thread::Builder::new().name("flush".to_owned()).spawn(move || work.run())?;
        Ok(Self { shared, orders, thread: Some(thread) })
    }

    /// Waits while too much is pending.
    pub(super) fn wait_for_room(&self) {
        let pending = self.shared.read().storage().pending_bytes();
        if pending > PENDING_BYTES {
            self.ask(Order::Flush);
        }
    }

    /// Opens the state as it is now for peers; nothing may be applied meanwhile.
    /// `None` when the thread is gone.
    pub(super) fn offer_snapshot(&self) -> Result<Option<SnapshotMeta>, StorageError> {
        self.ask(Order::Offer).transpose()
    }

    /// Replaces the state by a received file; nothing may be applied meanwhile.
    pub(super) fn install(&self, path: &Path) -> Result<Option<()>, StorageError> {
        let order = |reply| Order::Install(path.to_owned(), reply);
        self.ask(order).transpose()
    }

    /// Commits what is left and ends the thread.
    pub(super) fn stop(mut self) {
        let Some(thread) = self.thread.take() else { return };
        drop(self.orders);
        if thread.join().is_err() {
            self.shared.fail("the flush thread panicked".to_owned());
        }
    }

    /// `None` when the thread is gone; it has said why.
    fn ask<T>(&self, order: impl FnOnce(SyncSender<T>) -> Order) -> Option<T> {
        let (reply, answer) = sync_channel(1);
        self.orders.send(order(reply)).ok()?;
        answer.recv().ok()
    }
}

struct FlushLoop {
    shared: Arc<Shared>,
    orders: Receiver<Order>,
    offered: Arc<Offered>,
    acks: UnboundedSender<Event>,
    log: SyncSender<LogWork>,
    synced: Instant,
}

impl FlushLoop {
    fn run(mut self) {
        let done = self.serve().and_then(|()| self.flush(true));
        if let Err(error) = done {
            self.shared.fail(format!("store: {}", crate::transport::chain(&error)));
        }
    }

    fn serve(&mut self) -> Result<(), StorageError> {
        loop {
            match self.orders.recv_timeout(FLUSH_EVERY) {
                Ok(order) => self.obey(order)?,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    self.flush(self.synced.elapsed() >= SYNC_EVERY)?;
                    self.compact();
                }
            }
        }
    }

    /// A reply that nobody waits for any more is dropped: the apply thread is gone.
    fn obey(&mut self, order: Order) -> Result<(), StorageError> {
        match order {
            Order::Flush(reply) => {
                self.flush(self.synced.elapsed() >= SYNC_EVERY)?;
                if reply.send(()).is_err() {
                    return Ok(());
                }
            }
            Order::Offer(reply) => {
                self.flush(false)?;
                drop(reply.send(self.offer()));
            }
            Order::Install(path, reply) => drop(reply.send(self.install(&path))),
        }
        Ok(())
    }

    fn flush(&mut self, sync: bool) -> Result<(), StorageError> {
        let durability = if sync { Durability::Immediate } else { Durability::Deferred };
        let Some(batch) = self.shared.write().storage_mut().begin_flush(durability) else {
            return Ok(());
        };
        let started = Instant::now();
        batch.commit()?;
        self.shared.metrics.backend_commit(started.elapsed());
        self.shared.write().storage_mut().end_flush()?;
        if sync {
            self.synced = Instant::now();
            let index = Index(self.shared.read().storage().durable().index);
            // Both queues end with the node, and then nothing is cut.
            drop(self.acks.send(Event::Compact { index }));
            let keep = self.shared.config.catchup_entries;
            drop(self.log.send(LogWork::Compact(Index(index.0.saturating_sub(keep)))));
        }
        Ok(())
    }

    /// Removes compacted revisions until something else is to be done.
    fn compact(&mut self) {
        let begun = Instant::now();
        while self.shared.read().compacting() && begun.elapsed() < FLUSH_EVERY {
            self.shared.write().compaction_step(COMPACTION_STEP);
        }
    }

    fn offer(&self) -> Result<SnapshotMeta, StorageError> {
        let state = self.shared.read();
        let (index, term) = state.applied();
        let conf = ConfState::of(state.roster());
        let reader = state.storage().snapshot_reader()?;
        drop(state);
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        offered.insert(index, reader);
        while offered.len() > OFFERED {
            offered.pop_first();
        }
        Ok(SnapshotMeta { index, term, conf })
    }

    fn install(&self, path: &Path) -> Result<(), StorageError> {
        let file = store_file(&self.shared.config.member_dir());
        let store = Store::install(&file, path)?;
        let state = super::State::open(store)?;
        info!(revision = state.revision(), "the state was replaced by a snapshot");
        *self.shared.write() = state;
        Ok(())
    }
}

/// Where the store lives below the member directory.
pub(super) fn store_file(member_dir: &Path) -> PathBuf {
    member_dir.join("store.redb")
}

/// The chunks of an offered snapshot; `None` when it was replaced by newer ones.
pub(super) fn chunks(offered: &Offered, index: Index) -> Option<SnapshotChunks> {
    let offered = offered.lock().unwrap_or_else(PoisonError::into_inner);
    // A reader that cannot be opened again is no reason to stop: the peer asks for another.
    let reader = offered.get(&index)?.again().ok()?;
    Some(Box::new(reader.map(|chunk| chunk.map_err(std::io::Error::other))))
}
