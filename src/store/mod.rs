//! Records on disk: revisions, the small values beside them, and up to where they contain the log.
//!
//! Nothing on the write path waits for the disk. Applied records go to an overlay in memory; a
//! flusher takes the overlay away, commits it in one transaction together with the applied index,
//! and drops it:
//!
//! ```text
//! apply ---> active --begin_flush--> flushing --commit (no lock)--> disk
//!              \________________________|____________________________/
//!                                    reads
//! ```
//!
//! A crash loses what was not committed, records and applied index alike, and the log replays it.
//! A [`Durability::Deferred`] commit does not even wait for the disk: a crash then falls back to
//! the last [`Durability::Immediate`] one. The log may be cut up to [`Store::durable`], no further.
//!
//! Invariants:
//! 1. Revisions on disk < revisions in `flushing` < revisions in `active`.
//! 2. The applied index on disk is that of the records on disk, exactly.
//!
//! The engine is redb: a copy-on-write B+tree in one file. Only `disk` knows it.

mod background;
mod cache;
mod disk;
mod frozen;
mod install;
mod pending;
mod rewrite;

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::mvcc::{Applied, Event, EventRef, Revision, Storage, StorageError};
use background::in_turns;
use cache::Cache;
use disk::{Disk, View};
use pending::Pending;

pub use frozen::Frozen;
pub use install::{Builder, Built, SnapshotReader};
pub use rewrite::{Adopted, Copied, Copy, Left};

/// What lately used records may take in memory.
const RECORD_CACHE_BYTES: usize = 32 * 1024 * 1024;

/// What a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// For nothing: a crash may lose it.
    Deferred,
    /// Until this and all earlier commits are on the disk.
    Immediate,
}

/// The store on disk.
pub struct Store {
    path: PathBuf,
    disk: Arc<Disk>,
    /// What the disk held when the last flush ended.
    view: View,
    cache: Arc<Cache>,
    active: Pending,
    flushing: Option<(Arc<Pending>, Durability)>,
    applied: Applied,
    durable: Applied,
    /// Whether commits were made that a crash may lose.
    deferred: bool,
    /// What a copy of the store has to be told, while one is made.
    copied: Option<rewrite::Changes>,
}

/// An overlay on its way to the disk. Committed by the flusher while others read and apply.
///
/// Keep it until the lock of [`Store::end_flush`] is given back: the last owner frees the records.
#[derive(Debug)]
pub struct FlushBatch {
    disk: Arc<Disk>,
    cache: Arc<Cache>,
    pending: Arc<Pending>,
    durability: Durability,
}

impl Store {
    /// Opens the store in this file, or makes one.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        install::remove_leftover(path)?;
        let disk = Arc::new(Disk::open(path)?);
        Self::over(path, disk)
    }

    fn over(path: &Path, disk: Arc<Disk>) -> Result<Self, StorageError> {
        let view = disk.view()?;
        let applied = view.applied()?;
        Ok(Self {
            path: path.to_owned(),
            disk,
            view,
            cache: Arc::new(Cache::new(RECORD_CACHE_BYTES)),
            active: Pending::new(applied),
            flushing: None,
            applied,
            durable: applied,
            deferred: false,
            copied: None,
        })
    }

    /// Up to where the log is contained in what a crash cannot take.
    pub fn durable(&self) -> Applied {
        self.durable
    }

    /// Bytes of records that wait for a flush.
    pub fn pending_bytes(&self) -> usize {
        self.active.bytes()
    }

    /// Takes away what is to be committed; `None` when there is nothing, or while the batch taken
    /// before has not been given back by [`Self::end_flush`].
    pub fn begin_flush(&mut self, durability: Durability) -> Option<FlushBatch> {
        let late = durability == Durability::Immediate && self.deferred;
        if self.flushing.is_some() || (self.active.is_empty() && !late) {
            return None;
        }
        let pending = Arc::new(std::mem::replace(&mut self.active, Pending::new(self.applied)));
        self.flushing = Some((Arc::clone(&pending), durability));
        Some(self.batch(pending, durability))
    }

    /// Lets reads find on disk what [`FlushBatch::commit`] has committed.
    pub fn end_flush(&mut self) -> Result<(), StorageError> {
        let Some((pending, durability)) = self.flushing.take() else { return Ok(()) };
        self.view = self.disk.view()?;
        if let Some(changes) = &self.copied {
            changes.note(&pending);
        }
        self.deferred = durability == Durability::Deferred;
        if !self.deferred {
            self.durable = pending.applied();
        }
        Ok(())
    }

    /// Commits everything there is and waits for the disk.
    pub fn flush(&mut self) -> Result<(), StorageError> {
        // The first batch may be one that was begun elsewhere and is being committed there.
        if let Some((pending, durability)) = self.flushing.clone() {
            self.batch(pending, durability).commit()?;
            self.end_flush()?;
        }
        if let Some(batch) = self.begin_flush(Durability::Immediate) {
            batch.commit()?;
            self.end_flush()?;
        }
        Ok(())
    }

    /// The whole state as it was when the last flush ended, to be looked at in peace.
    pub fn frozen(&self) -> Result<Frozen, StorageError> {
        Frozen::over(self.disk.view()?)
    }

    /// The whole state as it was when the last flush ended.
    pub fn snapshot_reader(&self) -> Result<SnapshotReader, StorageError> {
        SnapshotReader::over(self.disk.view()?)
    }

    /// Replaces the store in the file `path` by the one that was built in the file `received`.
    ///
    /// A [`Store`] open on the old file goes on reading the old one; drop it.
    pub fn install(path: &Path, received: &Path) -> Result<Self, StorageError> {
        let disk = Disk::open_existing(received)?;
        Self::install_built(path, Built { disk, path: received.to_owned() })
    }

    /// The same without opening it again.
    pub fn install_built(path: &Path, built: Built) -> Result<Self, StorageError> {
        let Built { mut disk, path: received } = built;
        // It is complete and on disk, so a crash leaves the old one or this one.
        install::rename(&received, path)?;
        disk.renamed(path);
        Self::over(path, Arc::new(disk))
    }

    fn batch(&self, pending: Arc<Pending>, durability: Durability) -> FlushBatch {
        let disk = Arc::clone(&self.disk);
        FlushBatch { disk, cache: Arc::clone(&self.cache), pending, durability }
    }

    fn overlays(&self) -> impl Iterator<Item = &Pending> {
        let flushing = self.flushing.as_ref().map(|(pending, _)| &**pending);
        std::iter::once(&self.active).chain(flushing)
    }

    /// Keeps what was read from the disk.
    fn cached(&self, at: Revision, read: Option<Bytes>) -> Result<Bytes, StorageError> {
        let record = read.ok_or_else(|| self.missing(at))?;
        self.cache.insert(at, record.clone());
        Ok(record)
    }

    fn missing(&self, at: Revision) -> StorageError {
        StorageError::Corrupt { file: self.name(), what: format!("revision {at:?} is missing") }
    }
}

impl FlushBatch {
    /// Commits the batch in one transaction.
    pub fn commit(&self) -> Result<(), StorageError> {
        self.disk.commit(&self.pending, self.durability)?;
        for (at, record) in in_turns(self.pending.records()) {
            self.cache.insert(*at, record.as_ref().to_bytes());
        }
        Ok(())
    }
}

impl Storage for Store {
    fn put(&mut self, at: Revision, record: &Event) {
        self.active.put(at, record);
    }

    fn get(&self, at: Revision) -> Result<Event, StorageError> {
        if let Some(record) = self.overlays().find_map(|pending| pending.record(at)) {
            return Ok(record.clone());
        }
        let record = match self.cache.get(at) {
            Some(record) => record,
            None => self.cached(at, self.view.get(at)?)?,
        };
        Event::decode(at, &record).ok_or_else(|| self.missing(at))
    }

    fn visit(
        &self,
        at: &[Revision],
        visit: &mut dyn FnMut(EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let oldest_pending = self.overlays().filter_map(Pending::first).min();
        let mut on_disk = self.view.sequence();
        for at in at.iter().copied() {
            let flow = if oldest_pending.is_some_and(|oldest| at >= oldest) {
                visit(self.get(at)?.as_ref())
            } else if let Some(flow) = self.cache.visit(at, &mut *visit) {
                flow
            } else {
                let record = self.cached(at, on_disk.get(at)?)?;
                visit(EventRef::decode(at, &record).ok_or_else(|| self.missing(at))?)
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn scan(
        &self,
        from: Revision,
        visit: &mut dyn FnMut(Revision, EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let mut broken = self.view.scan(from, visit)?.is_break();
        let flushing = self.flushing.as_ref().map(|(pending, _)| &**pending);
        for pending in flushing.into_iter().chain([&self.active]) {
            broken = broken || pending.scan(from, visit).is_break();
        }
        Ok(())
    }

    fn delete(&mut self, at: Revision) {
        self.active.delete(at);
    }

    fn set_applied(&mut self, applied: Applied) {
        self.applied = applied;
        self.active.set_applied(applied);
    }

    fn applied(&self) -> Applied {
        self.applied
    }

    fn set_meta(&mut self, key: &[u8], value: Option<Bytes>) {
        self.active.set_meta(key, value);
    }

    fn meta(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        match self.overlays().find_map(|pending| pending.meta(key)) {
            Some(value) => Ok(value.clone()),
            None => self.view.meta(key),
        }
    }

    fn scan_meta(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        let mut found = self.view.scan_meta(prefix)?;
        let flushing = self.flushing.as_ref().map(|(pending, _)| &**pending);
        for pending in flushing.into_iter().chain([&self.active]) {
            pending.overlay_meta(prefix, &mut found);
        }
        Ok(found.into_iter().collect())
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn size_on_disk(&self) -> u64 {
        self.disk.size()
    }

    fn size_pending(&self) -> u64 {
        self.overlays().map(|pending| pending.bytes() as u64).sum()
    }

    fn size_in_use(&self) -> u64 {
        self.disk.record_bytes() + self.size_pending()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, applied, durable, .. } = self;
        write!(f, "Store({}, applied {applied:?}, durable {durable:?})", path.display())
    }
}

#[cfg(test)]
mod tests;
