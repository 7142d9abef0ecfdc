//! Snapshots on their way in: what arrives is built into a store at once, and the state's memory
//! beside it.
//!
//! ```text
//! stream --chunks--> receive: checksums, blocks, index --blocks--> store: records to a file aside
//! ```
//!
//! Both queues are short; when one is full the sender waits. The file gets its name (see `snap`)
//! when the checksum over the whole fits and all of it is on disk. Whatever goes wrong before
//! leaves nothing.
//!
//! The name says only which state it is. A leader that did not hear that its snapshot was taken sends the same
//! once more, and the one that waits to be installed must keep its file: what comes again is read and dropped,
//! and counts as taken. To refuse it would not do, since consensus may have passed over the first announcement,
//! that of an earlier term, and then needs this one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::State;
use crate::apply::{Rebuild, SenselessLease};
use crate::mvcc::{Applied, DumpBlock, DumpError, DumpReader, StorageError};
use crate::raft::{Index, Mark, Term};
use crate::snap;
use crate::store::{Builder, Built, Store};

/// Chunks that wait to be read; when it is full the sender waits.
const CHUNK_QUEUE: usize = 8;
/// Blocks that wait for the store; when it is full reading waits.
const BLOCK_QUEUE: usize = 32;

/// Why a snapshot was not taken in.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the snapshot at entry {} arrived damaged: its checksum does not fit", .0.0)]
    Checksum(Index),
    #[error("the snapshot arrived damaged")]
    Dump(#[from] DumpError),
    #[error("the snapshot arrived damaged")]
    Lease(#[from] SenselessLease),
    #[error("the snapshot was announced for entry {} and contains the log up to {contained}", announced.0)]
    OtherState { announced: Index, contained: u64 },
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    #[error("a thread panicked")]
    Panicked,
    #[error("a leader of a later term is sending a snapshot")]
    Outdated,
    #[error("a newer snapshot is arriving, or the node is stopping")]
    Replaced,
}

/// The snapshots of one member: at most one that arrives and one that waits to be installed.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// Held by whoever receives.
    place: Arc<tokio::sync::Mutex<()>>,
    /// Who has the place or will have it next, and the term of its leader.
    latest: Mutex<Option<(Term, CancellationToken)>>,
    /// Shared with who receives; locked while its file gets another name.
    kept: Arc<Mutex<Option<Snapshot>>>,
}

/// A snapshot that is arriving. Dropped before it is finished, it leaves nothing.
#[derive(Debug)]
pub(super) struct Arrival {
    pieces: mpsc::Sender<Piece>,
    outcome: oneshot::Receiver<Result<Arrived, Error>>,
    replaced: CancellationToken,
}

/// A snapshot that has come to its end, to be given to [`Arrivals::keep`].
#[derive(Debug)]
pub(super) struct Arrived {
    /// `None` when the same is kept already.
    snapshot: Option<Snapshot>,
    /// Nobody else receives until it is kept.
    _place: OwnedMutexGuard<()>,
}

/// A snapshot that is whole and on disk.
#[derive(Debug)]
struct Snapshot {
    mark: Mark,
    store: Built,
    rebuild: Rebuild,
    took: Took,
}

/// How long a snapshot took to be built.
#[derive(Debug)]
pub(super) struct Took {
    /// From the first byte until all of it was on disk.
    pub(super) all: Duration,
    /// How much of that was left to do for the disk when the last byte was there.
    pub(super) syncing: Duration,
}

#[derive(Debug)]
enum Piece {
    Chunk(Bytes),
    /// CRC-32C over all chunks.
    End(u32),
}

impl Arrivals {
    /// Begins to take in the state at `mark` from a leader of `term`; `dir` is that of snapshots.
    ///
    /// One that is still arriving is given up: its sender has most likely given up as well. That
    /// of a later term is not.
    pub(super) async fn begin(
        &self,
        dir: &Path,
        mark: Mark,
        term: Term,
        stop: &CancellationToken,
    ) -> Result<Arrival, Error> {
        let replaced = stop.child_token();
        {
            let mut latest = self.latest.lock();
            if let Some((before, running)) = &*latest {
                if *before > term {
                    return Err(Error::Outdated);
                }
                running.cancel();
            }
            *latest = Some((term, replaced.clone()));
        }
        let place = Arc::clone(&self.place).lock_owned().await;
        let (pieces, receiver) = mpsc::channel(CHUNK_QUEUE);
        let (told, outcome) = oneshot::channel();
        let (dir, kept) = (dir.to_owned(), Arc::clone(&self.kept));
        tokio::task::spawn_blocking(move || {
            let pieces = Pieces::over(receiver);
            let is_kept = kept.lock().as_ref().is_some_and(|kept| kept.mark == mark);
            let built = if is_kept {
                pieces.drain().map(|()| None)
            } else {
                build(&snap::path(&dir, mark), mark, pieces).map(Some)
            };
            let arrived = built.map(|snapshot| Arrived { snapshot, _place: place });
            if let Err(Ok(Arrived { snapshot: Some(unwanted), _place })) = told.send(arrived) {
                unwanted.discard(&dir);
            }
        });
        Ok(Arrival { pieces, outcome, replaced })
    }

    /// Keeps a snapshot until it is installed or was not wanted.
    pub(super) fn keep(&self, arrived: Arrived) {
        if let Some(snapshot) = arrived.snapshot {
            *self.kept.lock() = Some(snapshot);
        }
    }

    /// The snapshot at `mark`, opened in place of the store in `file`. After a restart, and when
    /// another has arrived meanwhile, it is read from its file.
    pub(super) fn install(
        &self,
        dir: &Path,
        mark: Mark,
        file: &Path,
    ) -> Result<State, StorageError> {
        let mut kept = self.kept.lock();
        if let Some(Snapshot { store, rebuild, .. }) = kept.take_if(|kept| kept.mark == mark) {
            let store = Store::install_built(file, store)?;
            drop(kept);
            return State::rebuilt(store, rebuild);
        }
        drop(kept);
        State::open(Store::install(file, &snap::path(dir, mark))?)
    }

    /// Forgets a snapshot of what has been applied anyway: consensus did not want it.
    pub(super) fn forget_until(&self, dir: &Path, applied: Index) {
        let mut kept = self.kept.lock();
        if let Some(unwanted) = kept.take_if(|kept| kept.mark.index <= applied) {
            unwanted.discard(dir);
        }
    }
}

impl Arrived {
    /// How long its building took.
    pub(super) fn took(&self) -> Option<&Took> {
        self.snapshot.as_ref().map(|snapshot| &snapshot.took)
    }
}

impl Snapshot {
    /// Removes it, since nobody wants it.
    fn discard(self, dir: &Path) {
        let Self { mark, store, .. } = self;
        drop(store);
        // A file that stays costs only room, until the next start.
        if let Err(error) = snap::discard(dir, mark) {
            warn!(error = %error, "a received snapshot was not removed");
        }
    }
}

impl Arrival {
    /// Waits until another snapshot is to arrive instead, or the node stops.
    pub(super) async fn replaced(&self) {
        self.replaced.cancelled().await;
    }

    /// Takes the next bytes.
    pub(super) async fn chunk(self, chunk: Bytes) -> Result<Self, Error> {
        match self.pieces.send(Piece::Chunk(chunk)).await {
            Ok(()) => Ok(self),
            // It ended early, which only an error does.
            Err(_closed) => Err(self.failure().await),
        }
    }

    /// Checks the whole and brings it to disk.
    pub(super) async fn finish(self, crc: u32) -> Result<Arrived, Error> {
        // A builder that has ended says why.
        drop(self.pieces.send(Piece::End(crc)).await);
        drop(self.pieces);
        self.outcome.await.unwrap_or(Err(Error::Panicked))
    }

    async fn failure(self) -> Error {
        drop(self.pieces);
        let outcome = self.outcome.await.unwrap_or(Err(Error::Panicked));
        outcome.err().unwrap_or(Error::Panicked)
    }
}

/// Builds what arrives; returns when all of it is on disk, or nothing.
fn build(path: &Path, mark: Mark, pieces: Pieces) -> Result<Snapshot, Error> {
    let began = Instant::now();
    let mut reader = DumpReader::new(pieces)?;
    let applied = reader.applied();
    if applied != (Applied { index: mark.index.0, term: mark.term.0 }) {
        return Err(Error::OtherState { announced: mark.index, contained: applied.index });
    }
    let builder = Builder::begin(path, applied)?;
    let (queue, blocks) = sync_channel(BLOCK_QUEUE);
    let mut rebuild = Rebuild::default();
    let builder = thread::scope(|scope| {
        let store = thread::Builder::new().name("store".to_owned());
        let store =
            store.spawn_scoped(scope, move || fill(builder, blocks)).map_err(Error::Thread)?;
        let read = read(&mut reader, &queue, &mut rebuild);
        drop(queue);
        // What made the store stop is why reading could not go on.
        let builder = store.join().map_err(|_panic| Error::Panicked)??;
        read.map(|()| builder)
    })?;
    let (pieces, rest) = reader.into_rest();
    pieces.check_end(&rest, mark)?;
    let syncing = Instant::now();
    let store = builder.finish()?;
    let took = Took { all: began.elapsed(), syncing: syncing.elapsed() };
    Ok(Snapshot { mark, store, rebuild, took })
}

/// Reads up to the end of the dump; returns early when the store takes no more.
fn read(
    reader: &mut DumpReader<Pieces>,
    queue: &SyncSender<DumpBlock>,
    rebuild: &mut Rebuild,
) -> Result<(), Error> {
    while let Some(block) = reader.next_block()? {
        match &block {
            DumpBlock::Meta(pairs) => {
                for (key, value) in pairs {
                    rebuild.meta(key, value)?;
                }
            }
            DumpBlock::Records(records) => {
                records.decoded(&mut |at, record| rebuild.record(at, record))?;
            }
        }
        if queue.send(block).is_err() {
            break;
        }
    }
    Ok(())
}

fn fill(mut builder: Builder, blocks: Receiver<DumpBlock>) -> Result<Builder, StorageError> {
    for block in blocks {
        builder.block(block)?;
    }
    Ok(builder)
}

/// The chunks of a snapshot one after the other.
struct Pieces {
    receiver: mpsc::Receiver<Piece>,
    /// Over what has come.
    crc: u32,
    /// What it must come to, once that is known.
    announced: Option<u32>,
}

impl Pieces {
    fn over(receiver: mpsc::Receiver<Piece>) -> Self {
        Self { receiver, crc: 0, announced: None }
    }

    /// Takes all of it and keeps nothing.
    fn drain(mut self) -> Result<(), Error> {
        Ok(self.try_for_each(|chunk| chunk.map(drop)).map_err(DumpError::Io)?)
    }

    /// Nothing may follow, and the whole must be what was sent.
    fn check_end(mut self, rest: &[u8], mark: Mark) -> Result<(), Error> {
        let more = self.next().transpose().map_err(DumpError::Io)?;
        if !rest.is_empty() || more.is_some() {
            return Err(DumpError::Corrupt("something follows its end").into());
        }
        if self.announced == Some(self.crc) { Ok(()) } else { Err(Error::Checksum(mark.index)) }
    }
}

impl Iterator for Pieces {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.announced.is_some() {
            return None;
        }
        match self.receiver.blocking_recv() {
            Some(Piece::Chunk(chunk)) => {
                self.crc = crc32c::crc32c_append(self.crc, &chunk);
                Some(Ok(chunk))
            }
            Some(Piece::End(crc)) => {
                self.announced = Some(crc);
                None
            }
            None => Some(Err(io::Error::other("the transfer broke"))),
        }
    }
}

#[cfg(test)]
mod tests;
