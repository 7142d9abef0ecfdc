use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use crate::raft::Draw;
use crate::wal::{Disk, Image};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A disk that forgets what was not synced, tears what was being written, and fails on request.
#[derive(Debug, Default)]
pub(crate) struct SimDisk {
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<u64, File>,
    last_file: u64,
    names: BTreeMap<String, u64>,
    /// The names a crash leaves.
    durable_names: BTreeMap<String, u64>,
    /// Changes of names since they were synced, in order.
    name_changes: Vec<NameChange>,
    /// Writing operations until all fail.
    operations_left: Option<u64>,
    /// Bytes that still fit.
    free_bytes: Option<u64>,
}

#[derive(Debug, Default, Clone)]
struct File {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync.
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Set(String, u64),
    Rename(String, String),
    Remove(String),
}

impl SimDisk {
    /// From now on this many writing operations succeed, and then none.
    pub(crate) fn fail_after(&self, operations: u64) {
        self.inner.borrow_mut().operations_left = Some(operations);
    }

    /// From now on only this many bytes fit.
    #[cfg(test)]
    pub(crate) fn fill_up_after(&self, bytes: u64) {
        self.inner.borrow_mut().free_bytes = Some(bytes);
    }

    /// The machine loses power: unsynced writes survive sector by sector as `draw` wills.
    pub(crate) fn crash(&self, draw: &mut Draw) {
        let inner = &mut *self.inner.borrow_mut();
        let survivors = draw.below(inner.name_changes.len() as u64 + 1);
        let survivors = usize::try_from(survivors).expect("fewer than changes");
        for change in inner.name_changes.drain(..).take(survivors) {
            apply(&mut inner.durable_names, change);
        }
        inner.names = inner.durable_names.clone();
        inner.files.retain(|id, _| inner.durable_names.values().any(|held| held == id));
        for file in inner.files.values_mut() {
            for (offset, bytes) in file.unsynced.drain(..) {
                tear(&mut file.durable, offset, &bytes, draw);
            }
            file.current = file.durable.clone();
        }
        inner.operations_left = None;
    }

    /// Changes a byte of a file, synced or not.
    #[cfg(test)]
    pub(crate) fn damage(&self, name: &str, offset: usize, mask: u8) {
        let inner = &mut *self.inner.borrow_mut();
        let file = inner.files.get_mut(&inner.names[name]).expect("the file exists");
        file.current[offset] ^= mask;
        file.durable[offset] ^= mask;
    }

    /// Writes as though by somebody else, synced at once.
    #[cfg(test)]
    pub(crate) fn overwrite(&self, name: &str, offset: usize, bytes: &[u8]) {
        let inner = &mut *self.inner.borrow_mut();
        let file = inner.files.get_mut(&inner.names[name]).expect("the file exists");
        put(&mut file.current, offset, bytes);
        put(&mut file.durable, offset, bytes);
    }
}

impl Inner {
    fn operation(&mut self, bytes: u64) -> io::Result<()> {
        if let Some(left) = &mut self.operations_left {
            *left = left.checked_sub(1).ok_or_else(|| io::Error::other("the disk failed"))?;
        }
        if let Some(free) = &mut self.free_bytes {
            *free = free.checked_sub(bytes).ok_or(io::ErrorKind::StorageFull)?;
        }
        Ok(())
    }

    fn id(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, change: NameChange) {
        apply(&mut self.names, change.clone());
        self.name_changes.push(change);
    }
}

fn apply(names: &mut BTreeMap<String, u64>, change: NameChange) {
    match change {
        NameChange::Set(name, id) => {
            names.insert(name, id);
        }
        NameChange::Rename(from, to) => {
            if let Some(id) = names.remove(&from) {
                names.insert(to, id);
            }
        }
        NameChange::Remove(name) => {
            names.remove(&name);
        }
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

fn tear(file: &mut Vec<u8>, offset: usize, bytes: &[u8], draw: &mut Draw) {
    let end = offset + bytes.len();
    let mut at = offset;
    while at < end {
        let boundary = ((at / SECTOR + 1) * SECTOR).min(end);
        if draw.chance(500) {
            put(file, at, &bytes[at - offset..boundary - offset]);
        }
        at = boundary;
    }
}

fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated files are small")
}

impl Disk for SimDisk {
    type File = u64;

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.inner.borrow().names.keys().cloned().collect())
    }

    /// Without any of the zeros at the end, whether they were written or not.
    fn read(&self, name: &str) -> io::Result<Image> {
        let inner = self.inner.borrow();
        let current = &inner.files[&inner.id(name)?].current;
        let end = current.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Ok(Image { bytes: current[..end].to_vec(), size: current.len() })
    }

    fn create(&self, name: &str, size: u64) -> io::Result<u64> {
        let inner = &mut *self.inner.borrow_mut();
        inner.operation(size)?;
        inner.last_file += 1;
        let zeros = vec![0; to_usize(size)];
        let file = File { current: zeros.clone(), durable: zeros, unsynced: Vec::new() };
        inner.files.insert(inner.last_file, file);
        inner.change(NameChange::Set(name.to_owned(), inner.last_file));
        Ok(inner.last_file)
    }

    fn open(&self, name: &str) -> io::Result<u64> {
        self.inner.borrow().id(name)
    }

    fn write_at(&self, file: &mut u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let inner = &mut *self.inner.borrow_mut();
        inner.operation(0)?;
        let file = inner.files.get_mut(file).ok_or(io::ErrorKind::NotFound)?;
        put(&mut file.current, to_usize(offset), bytes);
        file.unsynced.push((to_usize(offset), bytes.to_vec()));
        Ok(())
    }

    fn cut(&self, file: &mut u64, offset: u64, size: u64) -> io::Result<()> {
        let inner = &mut *self.inner.borrow_mut();
        inner.operation(0)?;
        let file = inner.files.get_mut(file).ok_or(io::ErrorKind::NotFound)?;
        file.unsynced.clear();
        file.current.truncate(to_usize(offset));
        file.current.resize(to_usize(size.max(offset)), 0);
        file.durable = file.current.clone();
        Ok(())
    }

    fn sync(&self, file: &mut u64) -> io::Result<()> {
        let inner = &mut *self.inner.borrow_mut();
        inner.operation(0)?;
        let file = inner.files.get_mut(file).ok_or(io::ErrorKind::NotFound)?;
        for (offset, bytes) in file.unsynced.drain(..) {
            put(&mut file.durable, offset, &bytes);
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let inner = &mut *self.inner.borrow_mut();
        inner.operation(0)?;
        inner.id(from)?;
        inner.change(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let inner = &mut *self.inner.borrow_mut();
        inner.operation(0)?;
        inner.id(name)?;
        inner.change(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let inner = &mut *self.inner.borrow_mut();
        inner.operation(0)?;
        for change in inner.name_changes.drain(..) {
            apply(&mut inner.durable_names, change);
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("sim").join(name)
    }
}
