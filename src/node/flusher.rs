use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::shared::Shared;
use super::work::LogWork;
use crate::mvcc::{Storage as _, StorageError};
use crate::raft::{ConfState, Index, Mark, SnapshotMeta};
use crate::replica::Event;
use crate::store::{Copied, Durability, Frozen, SnapshotReader};
use crate::transport::SnapshotChunks;

/// How long applied entries wait in memory for the store.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// How long commits may go without a sync of their own: the log has the entries until then.
const SYNC_EVERY: Duration = Duration::from_secs(2);
/// Snapshots kept open for peers that are being sent one.
const OFFERED: usize = 2;

/// Brings the state to disk beside the apply thread.
#[derive(Debug)]
pub(super) struct Flusher {
    shared: Arc<Shared>,
    orders: Orders,
    thread: Option<JoinHandle<()>>,
}

/// Snapshots that consensus offered to peers.
pub(super) type Offered = Mutex<BTreeMap<Index, SnapshotReader>>;

#[derive(Debug)]
enum Order {
    /// Commit now and say when it is done.
    Flush(SyncSender<()>),
    /// Commit, then open the state as it is for a peer.
    Offer(SyncSender<Result<SnapshotMeta, StorageError>>),
    /// Replace the whole state by this received snapshot.
    Install(Mark, SyncSender<Result<(), StorageError>>),
    /// Commit, then keep the state as it is to be looked at.
    Freeze(SyncSender<Result<Frozen, StorageError>>),
    /// Write the store anew, without its holes; answered when that is done.
    Defragment(SyncSender<Result<(), StorageError>>),
    /// Commit everything and end.
    Stop,
}

/// The way to the flush thread for those who do not own it. Blocks: for threads that may.
#[derive(Debug, Clone)]
pub(super) struct Orders(SyncSender<Order>);

impl Orders {
    /// The state with everything that was applied before the call; `None` when the thread is gone.
    pub(super) fn freeze(&self) -> Option<Result<Frozen, StorageError>> {
        self.ask(Order::Freeze)
    }

    /// Gives the room of what is no more back to the disk; `None` when the thread is gone.
    pub(super) fn defragment(&self) -> Option<Result<(), StorageError>> {
        self.ask(Order::Defragment)
    }

    fn ask<T>(&self, order: impl FnOnce(SyncSender<T>) -> Order) -> Option<T> {
        let (reply, answer) = sync_channel(1);
        self.0.send(order(reply)).ok()?;
        answer.recv().ok()
    }
}

impl Flusher {
    /// Starts the thread.
    pub(super) fn start(
        shared: Arc<Shared>,
        offered: Arc<Offered>,
        log: mpsc::Sender<LogWork>,
    ) -> std::io::Result<Self> {
        let (orders, receiver) = sync_channel(4);
        let work = FlushLoop {
            shared: Arc::clone(&shared),
            orders: receiver,
            offered,
            log,
            synced: Instant::now(),
            cut: Index(0),
            defragmentation: None,
            compacting: None,
        };
        let thread =
            std::thread::Builder::new().name("flush".to_owned()).spawn(move || work.run())?;
        let orders = Orders(orders);
        // Set once: a node has one flusher.
        drop(shared.orders.set(orders.clone()));
        Ok(Self { shared, orders, thread: Some(thread) })
    }

    /// Waits while too much is pending.
    pub(super) fn wait_for_room(&self) {
        let pending = self.shared.read().storage().pending_bytes();
        if pending > self.shared.buffer_bytes {
            self.orders.ask(Order::Flush);
        }
    }

    /// Opens the state as it is now for peers; nothing may be applied meanwhile.
    /// `None` when the thread is gone.
    pub(super) fn offer_snapshot(&self) -> Result<Option<SnapshotMeta>, StorageError> {
        self.orders.ask(Order::Offer).transpose()
    }

    /// Replaces the state by a received snapshot; nothing may be applied meanwhile.
    pub(super) fn install(&self, mark: Mark) -> Result<Option<()>, StorageError> {
        self.orders.ask(|reply| Order::Install(mark, reply)).transpose()
    }

    /// Commits what is left and ends the thread.
    pub(super) fn stop(mut self) {
        let Some(thread) = self.thread.take() else { return };
        // A thread that has ended by itself takes no orders.
        drop(self.orders.0.send(Order::Stop));
        if thread.join().is_err() {
            self.shared.fail("the flush thread panicked".to_owned());
        }
    }
}

struct FlushLoop {
    shared: Arc<Shared>,
    orders: Receiver<Order>,
    offered: Arc<Offered>,
    log: mpsc::Sender<LogWork>,
    synced: Instant,
    /// Where the log was last cut.
    cut: Index,
    defragmentation: Option<Defragmentation>,
    /// Since when compacted records are being removed, if they are.
    compacting: Option<Instant>,
}

/// The store is being written anew on another thread.
struct Defragmentation {
    copying: JoinHandle<Result<Copied, StorageError>>,
    /// Who waits for it.
    replies: Vec<SyncSender<Result<(), StorageError>>>,
    started: Instant,
    bytes_before: u64,
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
            if self.defragmentation.as_ref().is_some_and(|running| running.copying.is_finished()) {
                self.finish_defragmentation()?;
            }
            match self.orders.recv_timeout(FLUSH_EVERY) {
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(order) => self.obey(order)?,
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
            Order::Install(mark, reply) => {
                self.abandon_defragmentation();
                drop(reply.send(self.install(mark)));
            }
            Order::Freeze(reply) => {
                self.flush(false)?;
                let frozen = self.shared.read().storage().frozen();
                drop(reply.send(frozen));
            }
            Order::Defragment(reply) => self.begin_defragmentation(reply)?,
            Order::Stop => {}
        }
        Ok(())
    }

    fn begin_defragmentation(
        &mut self,
        reply: SyncSender<Result<(), StorageError>>,
    ) -> Result<(), StorageError> {
        if let Some(running) = &mut self.defragmentation {
            running.replies.push(reply);
            return Ok(());
        }
        self.flush(false)?;
        let (copy, bytes_before) = {
            let mut state = self.shared.write();
            let store = state.storage_mut();
            (store.begin_copy()?, store.size_on_disk())
        };
        info!(current_db_size_bytes = bytes_before, "defragmenting");
        let thread = std::thread::Builder::new().name("defragment".to_owned());
        match thread.spawn(move || copy.run()) {
            Ok(copying) => {
                let (replies, started) = (vec![reply], Instant::now());
                let running = Defragmentation { copying, replies, started, bytes_before };
                self.defragmentation = Some(running);
                self.shared.metrics.durations().defragmenting.set(1);
            }
            Err(error) => {
                self.shared.write().storage_mut().abandon_copy();
                let error = StorageError::io("store".to_owned(), "defragment", &error);
                drop(reply.send(Err(error)));
            }
        }
        Ok(())
    }

    /// Goes on with the new file. What fails before it has its name leaves the old one in use.
    fn finish_defragmentation(&mut self) -> Result<(), StorageError> {
        let Some(Defragmentation { copying, replies, started, bytes_before }) =
            self.defragmentation.take()
        else {
            return Ok(());
        };
        self.shared.metrics.durations().defragmenting.set(0);
        self.flush(true)?;
        let copied = copying.join().unwrap_or_else(|_panicked| {
            let (file, what) = ("store".to_owned(), "the copy cannot be made".to_owned());
            Err(StorageError::Corrupt { file, what })
        });
        let renamed = match copied.and_then(Copied::finish) {
            Ok(renamed) => renamed,
            Err(error) => {
                warn!(error = %error, "failed to defragment");
                self.shared.write().storage_mut().abandon_copy();
                for reply in replies {
                    drop(reply.send(Err(error.clone())));
                }
                return Ok(());
            }
        };
        let adopted = renamed.settle()?;
        let (left, bytes) = {
            let mut state = self.shared.write();
            let left = state.storage_mut().adopt(adopted)?;
            (left, state.storage().size_on_disk())
        };
        drop(left);
        info!(
            current_db_size_bytes_before = bytes_before,
            current_db_size_bytes_after = bytes,
            took = ?started.elapsed(),
            "finished defragmenting"
        );
        let took = started.elapsed().as_secs_f64();
        self.shared.metrics.durations().defragmentation.observe(took);
        for reply in replies {
            drop(reply.send(Ok(())));
        }
        Ok(())
    }

    /// The store is to be replaced as a whole: waits for the copy, which would come too late.
    fn abandon_defragmentation(&mut self) {
        if let Some(running) = self.defragmentation.take() {
            self.shared.metrics.durations().defragmenting.set(0);
            self.shared.write().storage_mut().abandon_copy();
            // Its outcome does not matter any more; who waits for it hears that it is gone.
            drop(running.copying.join());
        }
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
            drop(self.shared.driver.mention(Event::Compact { index }));
            let config = &self.shared.config;
            if index.0 >= self.cut.0 + config.snapshot_count {
                self.cut = index;
                let keep = config.catchup_entries;
                drop(self.log.blocking_send(LogWork::Compact(Index(index.0.saturating_sub(keep)))));
            }
        }
        Ok(())
    }

    /// Removes compacted revisions until something else is to be done.
    ///
    /// Rests after each step for as long as it took: a lock that is taken again at once is had by
    /// nobody who waited for it, and writes are among those.
    fn compact(&mut self) {
        let upkeep = &self.shared.config.upkeep;
        let durations = self.shared.metrics.durations();
        let begun = Instant::now();
        while self.shared.read().compacting() && begun.elapsed() < FLUSH_EVERY {
            let since = *self.compacting.get_or_insert(begun);
            let step = Instant::now();
            let more = {
                let mut state = self.shared.write();
                let (held, before) = (Instant::now(), state.compacted_records());
                let index = state.compacts_index();
                let more = state.compaction_step(upkeep.compaction_batch);
                let held = held.elapsed();
                let removed = state.compacted_records() - before;
                drop(state);
                if index {
                    durations.compacted_index(held);
                } else {
                    durations.compacted_some(held, removed);
                }
                more
            };
            if !more {
                durations.compacted(since);
                self.compacting = None;
                self.tell_compacted(since);
            }
            let rest = step.elapsed().max(upkeep.compaction_pause);
            std::thread::sleep(rest.min(FLUSH_EVERY));
        }
    }

    /// The line in which operators of etcd look for how long a compaction took and what it left.
    fn tell_compacted(&self, since: Instant) {
        let (revision, size, in_use) = {
            let state = self.shared.read();
            (state.compact_revision(), state.db_size(), state.db_size_in_use())
        };
        info!(
            compact_revision = revision,
            took = ?since.elapsed(),
            current_db_size_bytes = size,
            current_db_size_in_use_bytes = in_use,
            "finished scheduled compaction"
        );
    }

    fn offer(&self) -> Result<SnapshotMeta, StorageError> {
        let state = self.shared.read();
        let (index, term) = state.applied();
        let conf = ConfState::of(state.roster());
        let reader = state.storage().snapshot_reader()?;
        drop(state);
        let mut offered = self.offered.lock();
        offered.insert(index, reader);
        while offered.len() > OFFERED {
            offered.pop_first();
        }
        Ok(SnapshotMeta { index, term, conf })
    }

    fn install(&mut self, mark: Mark) -> Result<(), StorageError> {
        self.compacting = None;
        let config = &self.shared.config;
        let file = store_file(&config.member_dir());
        let mut state = self.shared.arrivals.install(&config.snap_dir(), mark, &file)?;
        state.set_quota(super::quota::of(config.limits.quota_bytes));
        info!(revision = state.revision(), "the state was replaced by a snapshot");
        // The old one goes when nobody has to wait for that.
        let left = std::mem::replace(&mut *self.shared.write(), state);
        drop(left);
        Ok(())
    }
}

/// Where the store lives below the member directory.
pub(super) fn store_file(member_dir: &Path) -> PathBuf {
    member_dir.join("store.redb")
}

/// The chunks of an offered snapshot; `None` when it was replaced by newer ones.
pub(super) fn chunks(offered: &Offered, index: Index) -> Option<SnapshotChunks> {
    let offered = offered.lock();
    // A reader that cannot be opened again is no reason to stop: the peer asks for another.
    let reader = offered.get(&index)?.again().ok()?;
    Some(Box::new(reader.map(|chunk| chunk.map_err(std::io::Error::other))))
}
