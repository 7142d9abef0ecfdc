use std::fs::File;
use std::io;
use std::mem;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;

use super::Durability;
use super::disk::{Disk, View};
use super::pending::Pending;
use crate::mvcc::{Applied, DumpBlock, DumpWriter, EventRef, Revision, StorageError};

/// Records read for one chunk of a snapshot, at most.
const CHUNK_RECORDS: usize = 256;
/// Bytes of records in one commit while a store is built.
const LOAD_BYTES: usize = 1024 * 1024;
/// Bytes of records after which the device begins to write them.
const WRITE_OUT_BYTES: usize = 24 * 1024 * 1024;

/// The whole state at one applied index as chunks of bytes, to be sent in order. Commits made
/// meanwhile do not show.
pub struct SnapshotReader {
    view: Arc<View>,
    applied: Applied,
    writer: Option<DumpWriter>,
    next: Revision,
}

impl SnapshotReader {
    pub(super) fn over(view: View) -> Result<Self, StorageError> {
        Self::from_start(Arc::new(view))
    }

    /// The same state once more from its first chunk.
    pub fn again(&self) -> Result<Self, StorageError> {
        Self::from_start(Arc::clone(&self.view))
    }

    fn from_start(view: Arc<View>) -> Result<Self, StorageError> {
        let applied = view.applied()?;
        let mut writer = DumpWriter::new(applied);
        for (key, value) in view.meta_for_dump()? {
            writer.meta(&key, &value);
        }
        Ok(Self { view, applied, writer: Some(writer), next: Revision::default() })
    }

    fn chunk(&mut self) -> Result<Option<Bytes>, StorageError> {
        let Some(mut writer) = self.writer.take() else { return Ok(None) };
        loop {
            if let Some(ready) = writer.take_ready() {
                self.writer = Some(writer);
                return Ok(Some(ready));
            }
            let mut left = CHUNK_RECORDS;
            let mut next = None;
            let flow = self.view.scan_encoded(self.next, &mut |at, encoded| {
                if left == 0 {
                    next = Some(at);
                    return ControlFlow::Break(());
                }
                left -= 1;
                writer.encoded_record(at, encoded);
                ControlFlow::Continue(())
            })?;
            if flow.is_continue() {
                return Ok(Some(writer.finish()));
            }
            self.next = next.expect("the scan broke at a record");
        }
    }
}

impl Iterator for SnapshotReader {
    type Item = Result<Bytes, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.chunk().transpose()
    }
}

impl std::fmt::Debug for SnapshotReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SnapshotReader({}, {:?})", self.view.file(), self.applied)
    }
}

/// Gives a complete and synced file another name, durably.
pub(super) fn rename(from: &Path, path: &Path) -> Result<(), StorageError> {
    std::fs::rename(from, path).map_err(|error| io_error(from, "rename", &error))?;
    sync_name(path)
}

/// Only after this the name of a file that was renamed is sure.
fn sync_name(path: &Path) -> Result<(), StorageError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or_else(|| Path::new("."));
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| io_error(directory, "sync", &error))
}

/// Removes what a crash while building has left.
pub(super) fn remove_leftover(path: &Path) -> Result<(), StorageError> {
    let aside = aside(path);
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error(&aside, "remove", &error))
        }
        _ => Ok(()),
    }
}

/// The name of a store in the making.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// A new store that is filled in order, not by a log. Dropped before it is finished, it leaves
/// nothing.
#[derive(Debug)]
pub struct Builder {
    /// Dropped before the file is removed.
    disk: Disk,
    aside: Aside,
    applied: Applied,
    batch: Vec<(Revision, Bytes)>,
    bytes: usize,
    meta: Pending,
    /// Bytes that were not given to the device yet.
    unwritten: usize,
    /// Gives to the device what there was when it began. Of a builder that is dropped it ends by itself.
    writing: Option<JoinHandle<Result<(), StorageError>>>,
}

/// The file of a store in the making, which goes with it as long as it has no other name.
#[derive(Debug)]
pub(super) struct Aside {
    /// The name it will have.
    name: PathBuf,
    path: PathBuf,
    named: bool,
}

impl Aside {
    /// Makes room for the file of a store that will be at `name`.
    pub(super) fn begin(name: &Path) -> Result<Self, StorageError> {
        remove_leftover(name)?;
        Ok(Self { name: name.to_owned(), path: aside(name), named: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the complete and synced file its name, which is sure after [`Self::sync_name`].
    pub(super) fn take_name(&mut self) -> Result<(), StorageError> {
        std::fs::rename(&self.path, &self.name)
            .map_err(|error| io_error(&self.path, "rename", &error))?;
        self.named = true;
        Ok(())
    }

    pub(super) fn sync_name(&self) -> Result<(), StorageError> {
        sync_name(&self.name)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.named {
            // What stays behind is removed by `remove_leftover` or at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A store that is complete, on disk, and not in use yet.
#[derive(Debug)]
pub struct Built {
    pub(super) disk: Disk,
    pub(super) path: PathBuf,
}

impl Builder {
    /// Begins a store that will be at `path` and will say that it contains the log up to `applied`.
    pub fn begin(path: &Path, applied: Applied) -> Result<Self, StorageError> {
        let aside = Aside::begin(path)?;
        let disk = Disk::open_to_fill(aside.path())?;
        let (batch, meta) = (Vec::new(), Pending::new(applied));
        Ok(Self { disk, aside, applied, batch, bytes: 0, meta, unwritten: 0, writing: None })
    }

    pub fn meta(&mut self, key: &[u8], value: Bytes) {
        self.meta.set_meta(key, Some(value));
    }

    /// Adds a record; they come in ascending order.
    pub fn record(&mut self, at: Revision, record: EventRef<'_>) -> Result<(), StorageError> {
        let mut encoded = Vec::new();
        record.encode(&mut encoded);
        self.bytes += encoded.len();
        self.batch.push((at, encoded.into()));
        self.commit_if_large()
    }

    /// Adds what a dump has next.
    pub fn block(&mut self, block: DumpBlock) -> Result<(), StorageError> {
        match block {
            DumpBlock::Meta(pairs) => {
                for (key, value) in pairs {
                    self.meta(&key, value);
                }
            }
            DumpBlock::Records(records) => {
                self.bytes += records.size_bytes();
                self.batch.extend(records.slices());
            }
        }
        self.commit_if_large()
    }

    /// Brings all of it to disk and gives it its name.
    pub fn finish(mut self) -> Result<Built, StorageError> {
        self.commit()?;
        self.end_writing()?;
        let Self { disk, mut aside, applied, .. } = self;
        disk.commit(&Pending::new(applied), Durability::Immediate)?;
        drop(disk);
        aside.take_name()?;
        aside.sync_name()?;
        let path = mem::take(&mut aside.name);
        Ok(Built { disk: Disk::open_existing(&path)?, path })
    }

    fn commit_if_large(&mut self) -> Result<(), StorageError> {
        if self.bytes >= LOAD_BYTES { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        let meta = mem::replace(&mut self.meta, Pending::new(self.applied));
        self.disk.load(&self.batch, &meta)?;
        self.batch.clear();
        self.unwritten += mem::take(&mut self.bytes);
        if self.unwritten >= WRITE_OUT_BYTES {
            self.write_out()?;
        }
        Ok(())
    }

    /// The device writes while more is filled in, or there would be long to wait in the end.
    fn write_out(&mut self) -> Result<(), StorageError> {
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return Ok(());
        }
        self.end_writing()?;
        self.unwritten = 0;
        let thread = std::thread::Builder::new().name("write-out".to_owned());
        let writing = thread.spawn(self.disk.write_out_elsewhere()?);
        let failed = |error| io_error(&self.aside.name, "write out", &error);
        self.writing = Some(writing.map_err(failed)?);
        Ok(())
    }

    fn end_writing(&mut self) -> Result<(), StorageError> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        writing.join().unwrap_or_else(|_panic| {
            let file = self.aside.name.display().to_string();
            Err(StorageError::Corrupt { file, what: "it cannot be written out".to_owned() })
        })
    }
}

fn io_error(file: &Path, op: &'static str, error: &io::Error) -> StorageError {
    StorageError::io(file.display().to_string(), op, error)
}
