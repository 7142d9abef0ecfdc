//! Defragmentation: the store is written anew beside the old file while that one goes on serving.
//!
//! ```text
//! begin      the state is frozen; from now on the store notes what every commit removes and sets
//! copy       all records and values, on a thread of its own (Copy::run)
//! follow     the records that came meanwhile, and what was noted, until little is left; then the
//!            file is synced
//! finish     between two flushes: the rest, one more sync, the new file takes the name
//! ```
//!
//! Records are only ever added behind all others, so those that came meanwhile are read from the store
//! and need not be kept in memory for the copy.
//!
//! Nobody waits but the flusher, and it only for the last two steps. After a crash at any point the
//! name leads to one whole file: before the rename the old one, after it the new one, which holds
//! everything that the old one held.

use std::fmt;
use std::mem;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::disk::{Disk, View};
use super::install::Aside;
use super::pending::Pending;
use super::{Durability, Frozen, Store};
use crate::mvcc::{Revision, StorageError};

/// Bytes of records in one commit of the copy. Few in tests, so that small stores take many.
const COPY_BYTES: usize = if cfg!(test) { 128 << 10 } else { 4 << 20 };

/// The copy while it is made.
#[derive(Debug)]
pub struct Copy {
    from: Frozen,
    store: Arc<Disk>,
    path: PathBuf,
    changes: Changes,
}

/// A copy that follows the store.
#[derive(Debug)]
pub struct Copied {
    /// Dropped before the file is removed.
    disk: Disk,
    aside: Aside,
    store: Arc<Disk>,
    changes: Changes,
    /// Where the records begin that are not in the copy.
    next: Revision,
}

/// What commits have removed and set since the copy looked last; their records are not in it.
#[derive(Debug, Clone)]
pub(super) struct Changes(Arc<Mutex<Pending>>);

impl Changes {
    pub(super) fn note(&self, batch: &Pending) {
        self.0.lock().follow(batch);
    }

    fn take(&self) -> Pending {
        let mut changes = self.0.lock();
        let nothing = Pending::new(changes.applied());
        mem::replace(&mut *changes, nothing)
    }
}

impl Copy {
    /// Copies what there was, then what came meanwhile. Takes long. Of a copy that fails nothing is
    /// left.
    pub fn run(self) -> Result<Copied, StorageError> {
        let Self { from, store, path, changes } = self;
        let aside = Aside::begin(&path)?;
        let disk = Disk::open(aside.path())?;
        let mut copied = Copied { disk, aside, store, changes, next: Revision::default() };
        let mut values = Pending::new(from.applied());
        for (key, value) in from.view().meta_for_dump()? {
            values.set_meta(&key, Some(value));
        }
        copied.disk.load(&[], &values)?;
        copied.records(from.view(), &Pending::new(from.applied()))?;
        // The old state need not be kept any longer.
        drop(from);
        let mut before = usize::MAX;
        loop {
            let came = copied.follow()?;
            // Whoever writes faster than this copies would be followed for ever.
            if came < COPY_BYTES || came > before / 2 {
                break;
            }
            before = came;
        }
        copied.sync()?;
        Ok(copied)
    }
}

impl Copied {
    /// Adds all records from `next` on; says how many bytes they have.
    fn records(&mut self, from: &View, applied: &Pending) -> Result<usize, StorageError> {
        let mut total = 0;
        loop {
            let (mut batch, mut bytes, mut more) = (Vec::new(), 0, false);
            let _flow = from.scan_encoded(self.next, &mut |at, encoded| {
                more = bytes >= COPY_BYTES;
                if more {
                    return ControlFlow::Break(());
                }
                bytes += encoded.len();
                batch.push((at, Bytes::copy_from_slice(encoded)));
                ControlFlow::Continue(())
            })?;
            let Some((last, _)) = batch.last() else { return Ok(total) };
            self.next = Revision { sub: last.sub + 1, ..*last };
            self.disk.load(&batch, applied)?;
            // Bit by bit: the device is the log's as well, and a whole store at once keeps that waiting.
            self.disk.write_out()?;
            total += bytes;
            if !more {
                return Ok(total);
            }
        }
    }

    /// Adds what was committed since; says how many bytes of records that were.
    fn follow(&mut self) -> Result<usize, StorageError> {
        // Taken before the store is looked at: a record that is removed after this is either not seen
        // any more, or its removal is among the changes of the next time.
        let changes = self.changes.take();
        let came = self.records(&self.store.view()?, &Pending::new(changes.applied()))?;
        self.disk.commit(&changes, Durability::Deferred)?;
        Ok(came)
    }

    fn sync(&self) -> Result<(), StorageError> {
        let mut last = Pending::new(self.disk.view()?.applied()?);
        last.touch();
        self.disk.commit(&last, Durability::Immediate)
    }

    /// Brings the copy up to date and gives it the name of the store. No flush may be under way. What
    /// fails leaves the store as it is.
    ///
    /// The open [`Store`] goes on with the old file, which has no name any more, until it is
    /// told by [`Store::adopt`].
    pub fn finish(mut self) -> Result<Renamed, StorageError> {
        self.follow()?;
        self.sync()?;
        let Self { disk, mut aside, .. } = self;
        aside.take_name()?;
        Ok(Renamed { disk, aside })
    }
}

/// A copy that has the name of the store, unless a crash takes it away again.
#[derive(Debug)]
pub struct Renamed {
    disk: Disk,
    aside: Aside,
}

impl Renamed {
    /// Makes the name sure. When that fails nobody can tell to which file the name will lead, and
    /// neither may be written any more.
    pub fn settle(self) -> Result<Adopted, StorageError> {
        self.aside.sync_name()?;
        Ok(Adopted { disk: self.disk })
    }
}

impl Store {
    /// Begins a copy of the store as it was when the last flush ended.
    pub fn begin_copy(&mut self) -> Result<Copy, StorageError> {
        let from = self.frozen()?;
        let changes = Changes(Arc::new(Mutex::new(Pending::new(from.applied()))));
        self.copied = Some(changes.clone());
        Ok(Copy { from, store: Arc::clone(&self.disk), path: self.path.clone(), changes })
    }

    /// Gives up on a copy.
    pub fn abandon_copy(&mut self) {
        self.copied = None;
    }
}

/// A copy that has the name of the store for good.
#[derive(Debug)]
pub struct Adopted {
    disk: Disk,
}

/// The file that a store has left. Its last owner closes it, which gives all of its room back and
/// takes as long as that: nobody should be waiting.
#[must_use = "closing the old file takes long, no lock should be held then"]
pub struct Left {
    disk: Arc<Disk>,
    _view: View,
}

impl fmt::Debug for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Left").field(&self.disk).finish()
    }
}

impl Store {
    /// Goes on with the copy.
    pub fn adopt(&mut self, adopted: Adopted) -> Result<Left, StorageError> {
        let view = adopted.disk.view()?;
        self.durable = view.applied()?;
        self.copied = None;
        self.deferred = false;
        let disk = mem::replace(&mut self.disk, Arc::new(adopted.disk));
        Ok(Left { disk, _view: mem::replace(&mut self.view, view) })
    }
}
