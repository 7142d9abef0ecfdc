//! Defragmentation: the store is written anew beside the old file while that one goes on serving.
//!
//! ```text
//! begin      the state is frozen; from now on every committed batch is queued for the copy as well
//! copy       all records and values, on a thread of its own (Copy::run)
//! follow     the queued batches, until few are left; then the file is synced
//! finish     between two flushes: the last batches, one more sync, the new file takes the name
//! ```
//!
//! Nobody waits but the flusher, and it only for the last two steps. After a crash at any point the
//! name leads to one whole file: before the rename the old one, after it the new one, which holds
//! everything that the old one held.

use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;

use super::disk::{Disk, View};
use super::pending::Pending;
use super::{Durability, Frozen, Store, install};
use crate::mvcc::{Revision, StorageError};

/// Bytes of records in one commit of the copy.
const COPY_BYTES: usize = 4 << 20;

/// The copy while it is made.
#[derive(Debug)]
pub struct Copy {
    from: Frozen,
    path: PathBuf,
    batches: Receiver<Arc<Pending>>,
}

/// A finished copy that follows the store.
#[derive(Debug)]
pub struct Copied {
    disk: Disk,
    path: PathBuf,
    batches: Receiver<Arc<Pending>>,
}

/// Where a store sends what it commits while it is being copied.
pub(super) type Follower = Sender<Arc<Pending>>;

impl Copy {
    /// Copies what there was, then what came meanwhile. Takes long; what the store commits queues up.
    pub fn run(self) -> Result<Copied, StorageError> {
        let Self { from, path, batches } = self;
        let aside = install::aside(&path);
        install::remove_leftover(&path)?;
        let disk = Disk::open(&aside)?;
        copy(&from, &disk)?;
        // The old state need not be kept any longer.
        drop(from);
        while let Ok(batch) = batches.try_recv() {
            disk.commit(&batch, Durability::Deferred)?;
        }
        let mut last = Pending::new(disk.view()?.applied()?);
        last.touch();
        disk.commit(&last, Durability::Immediate)?;
        Ok(Copied { disk, path, batches })
    }
}

fn copy(from: &Frozen, disk: &Disk) -> Result<(), StorageError> {
    let applied = from.applied();
    let mut values = Pending::new(applied);
    for (key, value) in from.view().meta_for_dump()? {
        values.set_meta(&key, Some(value));
    }
    disk.load(&[], &values)?;
    let nothing = Pending::new(applied);
    let mut next = Revision::default();
    loop {
        let (mut batch, mut bytes, mut more) = (Vec::new(), 0, None);
        let _flow = from.view().scan_encoded(next, &mut |at, encoded| {
            if bytes >= COPY_BYTES {
                more = Some(at);
                return ControlFlow::Break(());
            }
            bytes += encoded.len();
            batch.push((at, Bytes::copy_from_slice(encoded)));
            ControlFlow::Continue(())
        })?;
        disk.load(&batch, &nothing)?;
        // Bit by bit: the device is the log's as well, and a whole store at once keeps that waiting.
        disk.write_out()?;
        match more {
            Some(at) => next = at,
            None => return Ok(()),
        }
    }
}

impl Store {
    /// Begins a copy of the store as it was when the last flush ended.
    pub fn begin_copy(&mut self) -> Result<Copy, StorageError> {
        let from = self.frozen()?;
        let (follower, batches) = channel();
        self.follower = Some(follower);
        Ok(Copy { from, path: self.path.clone(), batches })
    }

    /// Gives up on a copy.
    pub fn abandon_copy(&mut self) {
        self.follower = None;
    }

    /// Whether a copy is being made.
    pub fn has_follower(&self) -> bool {
        self.follower.is_some()
    }
}

impl Copied {
    /// Brings the copy up to date and gives it the name of the store. No flush may be under way.
    ///
    /// The open [`Store`] goes on with the old file, which has no name any more, until it is
    /// told by [`Store::adopt`].
    pub fn finish(self) -> Result<Adopted, StorageError> {
        let Self { disk, path, batches } = self;
        for batch in batches.try_iter() {
            disk.commit(&batch, Durability::Deferred)?;
        }
        let mut last = Pending::new(disk.view()?.applied()?);
        last.touch();
        disk.commit(&last, Durability::Immediate)?;
        install::take_name(&path)?;
        Ok(Adopted { disk })
    }
}

/// A copy that has the name of the store.
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
        self.follower = None;
        self.deferred = false;
        let disk = std::mem::replace(&mut self.disk, Arc::new(adopted.disk));
        Ok(Left { disk, _view: std::mem::replace(&mut self.view, view) })
    }
}
