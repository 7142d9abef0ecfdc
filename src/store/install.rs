use std::fs::File;
use std::io::{self, BufReader};
use std::mem;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::disk::{Disk, View};
use super::pending::Pending;
use crate::mvcc::{
    Applied, Dump, DumpError, DumpReader, DumpWriter, EventRef, Revision, StorageError,
};

/// Records read for one chunk of a snapshot, at most.
const CHUNK_RECORDS: usize = 256;
/// Bytes of records in one commit while a received dump is loaded.
const LOAD_BYTES: usize = 8 * 1024 * 1024;

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

    /// The last entry of the log that the snapshot contains.
    pub fn applied(&self) -> Applied {
        self.applied
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

/// Builds a store from a received dump beside `path`, and then gives it that name.
pub(super) fn build(path: &Path, received: &Path) -> Result<(), StorageError> {
    remove_leftover(path)?;
    load(&aside(path), received)?;
    take_name(path)
}

/// Gives a complete and synced file beside `path` that name. Only after the directory is synced is
/// the name sure.
pub(super) fn take_name(path: &Path) -> Result<(), StorageError> {
    std::fs::rename(aside(path), path).map_err(|error| io_error(path, "rename", &error))?;
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
pub(super) fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn load(aside: &Path, received: &Path) -> Result<(), StorageError> {
    let file = File::open(received).map_err(|error| io_error(received, "open", &error))?;
    let wrong = |error| dump_error(received, error);
    let mut reader = DumpReader::new(BufReader::new(file)).map_err(wrong)?;
    let disk = Disk::open(aside)?;
    let applied = reader.applied();
    let mut loader =
        Loader { disk: &disk, applied, batch: Vec::new(), bytes: 0, meta: Pending::new(applied) };
    reader.read(&mut |item| loader.take(item)).map_err(|error| match error {
        LoadError::Dump(error) => wrong(error),
        LoadError::Storage(error) => error,
    })?;
    loader.commit()?;
    disk.commit(&Pending::new(applied), super::Durability::Immediate)
}

/// A new store that is filled in order, not by a log.
#[derive(Debug)]
pub struct Builder {
    path: PathBuf,
    disk: Disk,
    applied: Applied,
    batch: Vec<(Revision, Bytes)>,
    bytes: usize,
    meta: Pending,
}

impl Builder {
    /// Begins a store that will be at `path` and will say that it contains the log up to `applied`.
    pub fn begin(path: &Path, applied: Applied) -> Result<Self, StorageError> {
        remove_leftover(path)?;
        let disk = Disk::open(&aside(path))?;
        let meta = Pending::new(applied);
        Ok(Self { path: path.to_owned(), disk, applied, batch: Vec::new(), bytes: 0, meta })
    }

    pub fn meta(&mut self, key: &[u8], value: Bytes) {
        self.meta.set_meta(key, Some(value));
    }

    pub fn record(&mut self, at: Revision, record: EventRef<'_>) -> Result<(), StorageError> {
        let mut encoded = Vec::new();
        record.encode(&mut encoded);
        self.bytes += encoded.len();
        self.batch.push((at, encoded.into()));
        if self.bytes >= LOAD_BYTES { self.commit() } else { Ok(()) }
    }

    /// Brings all of it to disk and gives it its name.
    pub fn finish(mut self) -> Result<(), StorageError> {
        self.commit()?;
        self.disk.commit(&Pending::new(self.applied), super::Durability::Immediate)?;
        take_name(&self.path)
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        let meta = mem::replace(&mut self.meta, Pending::new(self.applied));
        self.disk.load(&self.batch, &meta)?;
        self.batch.clear();
        self.bytes = 0;
        Ok(())
    }
}

struct Loader<'a> {
    disk: &'a Disk,
    applied: Applied,
    batch: Vec<(Revision, Bytes)>,
    bytes: usize,
    meta: Pending,
}

enum LoadError {
    Dump(DumpError),
    Storage(StorageError),
}

impl From<DumpError> for LoadError {
    fn from(error: DumpError) -> Self {
        Self::Dump(error)
    }
}

impl Loader<'_> {
    fn take(&mut self, item: Dump<'_>) -> Result<(), LoadError> {
        match item {
            Dump::Meta { key, value } => {
                self.meta.set_meta(key, Some(Bytes::copy_from_slice(value)));
            }
            Dump::Record { at, encoded, .. } => {
                self.bytes += encoded.len();
                self.batch.push((at, Bytes::copy_from_slice(encoded)));
                if self.bytes >= LOAD_BYTES {
                    self.commit().map_err(LoadError::Storage)?;
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        let meta = mem::replace(&mut self.meta, Pending::new(self.applied));
        self.disk.load(&self.batch, &meta)?;
        self.batch.clear();
        self.bytes = 0;
        Ok(())
    }
}

fn io_error(file: &Path, op: &'static str, error: &io::Error) -> StorageError {
    StorageError::io(file.display().to_string(), op, error)
}

fn dump_error(file: &Path, error: DumpError) -> StorageError {
    match error {
        DumpError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            io_error(file, "read", &error)
        }
        DumpError::Io(_) => StorageError::Corrupt {
            file: file.display().to_string(),
            what: "it is cut short".to_owned(),
        },
        DumpError::Newer { found } => {
            StorageError::Newer { file: file.display().to_string(), found, known: 1 }
        }
        DumpError::Corrupt(what) => {
            StorageError::Corrupt { file: file.display().to_string(), what: what.to_owned() }
        }
    }
}
