use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::ops::{Bound, ControlFlow};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadOnlyTable, ReadableDatabase, ReadableTable,
    TableDefinition, TableError,
};

use super::Durability;
use super::background::{Background, in_turns};
use super::pending::Pending;
use crate::mvcc::{Applied, Event, EventRef, Revision, StorageError};

/// Version of what the tables below hold.
///
/// | table | key | value |
/// | --- | --- | --- |
/// | `records` | 12 bytes: revision, see [`Revision::to_bytes`] | a record, see [`EventRef`] |
/// | `meta` | text and ids | `format`: 4 bytes, this version; `applied`: 8 bytes index, 8 bytes term; `record-bytes`: 8 bytes, how much `records` holds; what the state machine keeps |
///
/// All numbers in `meta` are big-endian.
const FORMAT: u32 = 1;
const RECORDS: TableDefinition<'_, [u8; 12], &[u8]> = TableDefinition::new("records");
const META: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
const FORMAT_KEY: &[u8] = b"format";
const APPLIED_KEY: &[u8] = b"applied";
const RECORD_BYTES_KEY: &[u8] = b"record-bytes";
/// The operating system caches the file as well; this one saves it system calls.
const PAGE_CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Pages that are filled one after the other need not be kept.
const FILL_CACHE_BYTES: usize = 8 * 1024 * 1024;

/// The file.
pub(super) struct Disk {
    file: String,
    handle: File,
    database: Database,
    /// Bytes of all records.
    record_bytes: AtomicU64,
    /// Bytes the file takes; its length says less, since it grows by doubling, with a hole.
    size: AtomicU64,
}

/// What the file held at some moment; commits after it do not show.
pub(super) struct View {
    file: String,
    records: ReadOnlyTable<[u8; 12], &'static [u8]>,
    meta: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl Disk {
    /// Opens the file, makes it if there is none, and refuses one that is newer or not ours.
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        Self::open_with(path, File::options().create(true), PAGE_CACHE_BYTES)
    }

    /// The same for a file that is only filled and not read.
    pub(super) fn open_to_fill(path: &Path) -> Result<Self, StorageError> {
        Self::open_with(path, File::options().create(true), FILL_CACHE_BYTES)
    }

    /// The same with a file that must be there.
    pub(super) fn open_existing(path: &Path) -> Result<Self, StorageError> {
        Self::open_with(path, &mut File::options(), PAGE_CACHE_BYTES)
    }

    fn open_with(
        path: &Path,
        options: &mut OpenOptions,
        cache_bytes: usize,
    ) -> Result<Self, StorageError> {
        let file = path.display().to_string();
        let io = |error| failed(&file, "open", redb::Error::Io(error));
        let opened = options.read(true).write(true).truncate(false).mode(0o600).open(path);
        let handle = opened.map_err(io)?;
        let opened = handle.try_clone().map_err(io)?;
        let opened = FileBackend::new(opened).and_then(|backend| {
            let mut builder = Builder::new();
            builder.set_cache_size(cache_bytes).create_with_backend(Background(backend))
        });
        let database = opened.map_err(|error| open_error(&file, error))?;
        let (record_bytes, size) = (AtomicU64::new(0), AtomicU64::new(0));
        let disk = Self { file, handle, database, record_bytes, size };
        disk.prepare()?;
        let bytes = disk.view()?.meta(RECORD_BYTES_KEY)?;
        let bytes = bytes.and_then(|bytes| Some(u64::from_be_bytes(*bytes.first_chunk()?)));
        disk.record_bytes.store(bytes.unwrap_or(0), Ordering::Relaxed);
        disk.measure()?;
        Ok(disk)
    }

    fn prepare(&self) -> Result<(), StorageError> {
        let transaction = self.database.begin_read().map_err(|error| self.failed("open", error))?;
        match transaction.open_table(META) {
            Ok(meta) => self.check_format(&meta),
            Err(TableError::TableDoesNotExist(_)) => self.make_tables(),
            Err(error) => Err(self.failed("open", error)),
        }
    }

    fn check_format(
        &self,
        meta: &impl ReadableTable<&'static [u8], &'static [u8]>,
    ) -> Result<(), StorageError> {
        let found = meta.get(FORMAT_KEY).map_err(|error| self.failed("open", error))?;
        let found =
            found.and_then(|guard| Some(u32::from_be_bytes(guard.value().try_into().ok()?)));
        match found {
            Some(found) if found <= FORMAT => Ok(()),
            Some(found) => {
                Err(StorageError::Newer { file: self.file.clone(), found, known: FORMAT })
            }
            None => Err(corrupt(&self.file, "it does not say its format")),
        }
    }

    fn make_tables(&self) -> Result<(), StorageError> {
        let make = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            transaction.open_table(RECORDS)?;
            let mut meta = transaction.open_table(META)?;
            meta.insert(FORMAT_KEY, &FORMAT.to_be_bytes()[..])?;
            drop(meta);
            transaction.commit()?;
            Ok(())
        };
        make().map_err(|error| self.failed("create", error))
    }

    /// Says from now on that it is this file.
    pub(super) fn renamed(&mut self, path: &Path) {
        self.file = path.display().to_string();
    }

    pub(super) fn view(&self) -> Result<View, StorageError> {
        let open = || -> Result<View, redb::Error> {
            let transaction = self.database.begin_read()?;
            Ok(View {
                file: self.file.clone(),
                records: transaction.open_table(RECORDS)?,
                meta: transaction.open_table(META)?,
            })
        };
        open().map_err(|error| self.failed("read", error))
    }

    /// Commits an overlay, all or nothing.
    pub(super) fn commit(
        &self,
        pending: &Pending,
        durability: Durability,
    ) -> Result<(), StorageError> {
        let mut encoded = Vec::new();
        self.write(pending, durability, &mut |table| {
            let mut added = 0;
            let last = table.last()?.map(|(at, _)| at.value());
            let known =
                |(at, _): &(Revision, Event)| last.is_some_and(|last| at.to_bytes() <= last);
            let (again, new) = pending.records().split_at(pending.records().partition_point(known));
            for (at, record) in again {
                encoded.clear();
                record.as_ref().encode(&mut encoded);
                // A batch that is committed twice counts once.
                if table.insert(at.to_bytes(), &encoded[..])?.is_none() {
                    added += stored_len(&encoded);
                }
            }
            // Leaves are filled in memory and written once: a third of the work of single inserts.
            let mut end = table.upper_bound_mut(Bound::<[u8; 12]>::Unbounded)?;
            for (at, record) in in_turns(new) {
                encoded.clear();
                record.as_ref().encode(&mut encoded);
                added += stored_len(&encoded);
                end.insert_before(at.to_bytes(), &encoded[..])?;
            }
            end.close()?;
            Ok(added)
        })
    }

    /// Commits records as they come from `fill`, which says how many bytes they have, and then
    /// everything else of the overlay.
    fn write(
        &self,
        pending: &Pending,
        durability: Durability,
        fill: &mut dyn FnMut(&mut Table<'_>) -> Result<u64, redb::Error>,
    ) -> Result<(), StorageError> {
        let mut transaction =
            self.database.begin_write().map_err(|error| self.failed("write", error))?;
        let mut write = || -> Result<u64, redb::Error> {
            match durability {
                Durability::Deferred => transaction.set_durability(redb::Durability::None)?,
                // Keeps the list of free pages as well: after a crash nothing has to be walked.
                Durability::Immediate => transaction.set_quick_repair(true),
            }
            let mut table = transaction.open_table(RECORDS)?;
            let added = fill(&mut table)?;
            let mut removed = 0;
            for at in pending.deleted() {
                if let Some(old) = table.remove(at.to_bytes())? {
                    removed += stored_len(old.value());
                }
            }
            drop(table);
            let mut meta = transaction.open_table(META)?;
            for (key, value) in pending.all_meta() {
                match value {
                    Some(value) => meta.insert(&key[..], &value[..])?,
                    None => meta.remove(&key[..])?,
                };
            }
            meta.insert(APPLIED_KEY, &applied_bytes(pending.applied())[..])?;
            let record_bytes = self.record_bytes() + added - removed;
            meta.insert(RECORD_BYTES_KEY, &record_bytes.to_be_bytes()[..])?;
            drop(meta);
            Ok(record_bytes)
        };
        let record_bytes = write().map_err(|error| self.failed("write", error))?;
        transaction.commit().map_err(|error| self.failed("commit", error))?;
        // Only one transaction writes at a time.
        self.record_bytes.store(record_bytes, Ordering::Relaxed);
        self.measure()
    }

    /// Commits records that come encoded and in order, behind all that there are.
    pub(super) fn load(
        &self,
        records: &[(Revision, Bytes)],
        rest: &Pending,
    ) -> Result<(), StorageError> {
        self.write(rest, Durability::Deferred, &mut |table| {
            let mut added = 0;
            // As in `commit`.
            let mut end = table.upper_bound_mut(Bound::<[u8; 12]>::Unbounded)?;
            for (at, encoded) in records {
                added += stored_len(encoded);
                end.insert_before(at.to_bytes(), &encoded[..])?;
            }
            end.close()?;
            Ok(added)
        })
    }

    /// Has the device write what was committed so far. No commit is durable by that.
    pub(super) fn write_out(&self) -> Result<(), StorageError> {
        self.write_out_elsewhere()?()
    }

    /// The same to be done on another thread, while commits go on.
    pub(super) fn write_out_elsewhere(
        &self,
    ) -> Result<impl FnOnce() -> Result<(), StorageError> + Send + use<>, StorageError> {
        let (file, handle) = (self.file.clone(), self.handle.try_clone());
        let io = move |error| failed(&file, "write out", redb::Error::Io(error));
        match handle {
            Ok(handle) => Ok(move || handle.sync_data().map_err(io)),
            Err(error) => Err(io(error)),
        }
    }

    fn measure(&self) -> Result<(), StorageError> {
        const BLOCK: u64 = 512;
        let metadata = self.handle.metadata();
        let metadata = metadata.map_err(|error| self.failed("measure", redb::Error::Io(error)))?;
        self.size.store(metadata.blocks() * BLOCK, Ordering::Relaxed);
        Ok(())
    }

    /// Bytes the file took after the last commit.
    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    pub(super) fn record_bytes(&self) -> u64 {
        self.record_bytes.load(Ordering::Relaxed)
    }

    fn failed(&self, op: &'static str, error: impl Into<redb::Error>) -> StorageError {
        failed(&self.file, op, error)
    }
}

type Table<'txn> = redb::Table<'txn, [u8; 12], &'static [u8]>;

impl View {
    pub(super) fn applied(&self) -> Result<Applied, StorageError> {
        match self.meta(APPLIED_KEY)? {
            None => Ok(Applied::default()),
            Some(bytes) => applied_from(&bytes)
                .ok_or_else(|| corrupt(&self.file, "the applied index makes no sense")),
        }
    }

    /// A record as it lies on disk.
    pub(super) fn get(&self, at: Revision) -> Result<Option<Bytes>, StorageError> {
        let key = at.to_bytes();
        let found = self.records.get(key).map_err(|error| failed(&self.file, "read", error))?;
        let Some(guard) = found else { return Ok(None) };
        self.checked(at, guard.value()).map(Some)
    }

    fn checked(&self, at: Revision, bytes: &[u8]) -> Result<Bytes, StorageError> {
        self.decode(at, bytes)?;
        Ok(Bytes::copy_from_slice(bytes))
    }

    /// Reads single records, cheaper when they ask for neighbours one after the other.
    pub(super) fn sequence(&self) -> Sequence<'_> {
        Sequence { view: self, last: None, walk: None }
    }

    fn decode<'a>(&self, at: Revision, bytes: &'a [u8]) -> Result<EventRef<'a>, StorageError> {
        EventRef::decode(at, bytes).ok_or_else(|| {
            corrupt(&self.file, &format!("the record of revision {at:?} makes no sense"))
        })
    }

    pub(super) fn scan(
        &self,
        from: Revision,
        visit: &mut dyn FnMut(Revision, EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StorageError> {
        let mut damaged = None;
        let flow = self.scan_encoded(from, &mut |at, encoded| match self.decode(at, encoded) {
            Ok(record) => visit(at, record),
            Err(error) => {
                damaged = Some(error);
                ControlFlow::Break(())
            }
        })?;
        damaged.map_or(Ok(flow), Err)
    }

    /// The records from `from` on as they lie on disk.
    pub(super) fn scan_encoded(
        &self,
        from: Revision,
        visit: &mut dyn FnMut(Revision, &[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StorageError> {
        let unreadable = |error| failed(&self.file, "read", error);
        for found in self.records.range(from.to_bytes()..).map_err(unreadable)? {
            let (key, value) = found.map_err(unreadable)?;
            if visit(Revision::from_bytes(key.value()), value.value()).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    pub(super) fn meta(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let found = self.meta.get(key).map_err(|error| failed(&self.file, "read", error))?;
        Ok(found.map(|guard| Bytes::copy_from_slice(guard.value())))
    }

    pub(super) fn scan_meta(&self, prefix: &[u8]) -> Result<BTreeMap<Bytes, Bytes>, StorageError> {
        let unreadable = |error| failed(&self.file, "read", error);
        let mut all = BTreeMap::new();
        for found in self.meta.range(prefix..).map_err(unreadable)? {
            let (key, value) = found.map_err(unreadable)?;
            if !key.value().starts_with(prefix) {
                break;
            }
            all.insert(Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value()));
        }
        Ok(all)
    }

    /// What a dump carries of `meta`: all but what belongs to this file.
    pub(super) fn meta_for_dump(&self) -> Result<BTreeMap<Bytes, Bytes>, StorageError> {
        let mut all = self.scan_meta(b"")?;
        all.remove(FORMAT_KEY);
        all.remove(APPLIED_KEY);
        all.remove(RECORD_BYTES_KEY);
        Ok(all)
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }
}

/// Single reads that walk along the leaves while each revision asked for is close behind the one
/// before: what was written together is often read together.
pub(super) struct Sequence<'a> {
    view: &'a View,
    last: Option<Revision>,
    walk: Option<redb::Range<'a, [u8; 12], &'static [u8]>>,
}

/// Revisions this close behind are walked to; further ones are looked up.
const CLOSE: i64 = 8;
/// Stepping over this many records costs about as much as to descend the tree. A revision may have
/// any number of them.
const STEPS: usize = 16;

impl Sequence<'_> {
    pub(super) fn get(&mut self, at: Revision) -> Result<Option<Bytes>, StorageError> {
        let close = |last: Revision| last < at && at.main - last.main <= CLOSE;
        if !self.last.replace(at).is_some_and(close) {
            self.walk = None;
            return self.view.get(at);
        }
        let unreadable = |error| failed(&self.view.file, "read", error);
        let walk = match &mut self.walk {
            Some(walk) => walk,
            walk => walk.insert(self.view.records.range(at.to_bytes()..).map_err(unreadable)?),
        };
        for found in walk.take(STEPS) {
            let (key, value) = found.map_err(unreadable)?;
            let place = Revision::from_bytes(key.value());
            if place == at {
                return self.view.checked(at, value.value()).map(Some);
            }
            if place > at {
                break;
            }
        }
        // Too far, or not there.
        self.walk = None;
        self.view.get(at)
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({})", self.file)
    }
}

/// Bytes that a record counts for.
pub(super) fn stored_len(encoded: &[u8]) -> u64 {
    (size_of::<[u8; 12]>() + encoded.len()) as u64
}

fn applied_bytes(applied: Applied) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&applied.index.to_be_bytes());
    bytes[8..].copy_from_slice(&applied.term.to_be_bytes());
    bytes
}

fn applied_from(bytes: &[u8]) -> Option<Applied> {
    let (index, term) = bytes.split_first_chunk()?;
    let term = term.try_into().ok()?;
    Some(Applied { index: u64::from_be_bytes(*index), term: u64::from_be_bytes(term) })
}

fn corrupt(file: &str, what: &str) -> StorageError {
    StorageError::Corrupt { file: file.to_owned(), what: what.to_owned() }
}

fn failed(file: &str, op: &'static str, error: impl Into<redb::Error>) -> StorageError {
    match error.into() {
        redb::Error::Corrupted(what) => corrupt(file, &what),
        redb::Error::UnorderedKey => corrupt(file, "records are out of order"),
        redb::Error::Io(error) => StorageError::io(file.to_owned(), op, &error),
        error => StorageError::Io { file: file.to_owned(), op, cause: error.to_string() },
    }
}

fn open_error(file: &str, error: DatabaseError) -> StorageError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StorageError::InUse { file: file.to_owned() },
        error => failed(file, "open", error),
    }
}
