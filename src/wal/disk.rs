use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, SeekFrom};

use super::Error;

/// What a file holds. Behind `bytes` everything up to `size` reads as zero: room that was taken and not written
/// since is most of a young segment, and need not be in memory.
#[derive(Debug)]
pub struct Image {
    pub bytes: Vec<u8>,
    pub size: usize,
}

impl Image {
    /// Has the bytes up to `end` in memory, as far as the file goes.
    pub(super) fn cover(&mut self, end: usize) {
        let end = end.min(self.size);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
    }
}

/// A directory of files on some disk. Two kinds exist: real ones, and the simulator's.
///
/// What is written survives a crash only after [`Disk::sync`] of the file, what is created, renamed or removed
/// only after [`Disk::sync_names`].
pub trait Disk {
    type File: std::fmt::Debug;

    /// All names, in no order.
    fn names(&self) -> io::Result<Vec<String>>;
    fn read(&self, name: &str) -> io::Result<Image>;
    /// An empty file with room for `size` bytes, which read as zeros. Replaces one of that name.
    fn create(&self, name: &str, size: u64) -> io::Result<Self::File>;
    fn open(&self, name: &str) -> io::Result<Self::File>;
    fn write_at(&self, file: &mut Self::File, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file at `offset` and makes room for `size` bytes again, which read as zeros.
    fn cut(&self, file: &mut Self::File, offset: u64, size: u64) -> io::Result<()>;
    fn sync(&self, file: &mut Self::File) -> io::Result<()>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    fn sync_names(&self) -> io::Result<()>;
    /// The name as messages show it.
    fn path(&self, name: &str) -> PathBuf;
}

/// Files in a directory of the operating system.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
}

/// A file whose room was reserved. Reserved blocks that were never written make each sync that follows a write to them
/// wait for the file system's journal, too, so that it takes twice as long. So zeros are written ahead.
#[derive(Debug)]
pub struct Reserved {
    file: File,
    size: u64,
    /// Up to here the blocks were written, be it with zeros.
    written: u64,
}

/// How much is written ahead at once; that takes as long as three syncs.
const AHEAD: u64 = 256 << 10;

impl Reserved {
    fn new(file: File, size: u64, written: u64) -> Self {
        Self { file, size, written }
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        let end = offset + bytes.len() as u64;
        if end > self.written {
            self.written = end.next_multiple_of(AHEAD).min(self.size).max(end);
            let zeros = vec![0; to_usize(self.written - end)?];
            self.file.write_all_at(&zeros, end)?;
        }
        Ok(())
    }
}

impl Files {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Makes the directory and sees to it that its name survives a crash.
    pub(super) fn create_dir(dir: &Path) -> Result<Self, Error> {
        let failed = |error| Error::io(dir.to_owned(), "create the directory of the log", error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        }
        Ok(Self::new(dir))
    }

    pub(super) fn names_in(dir: &Path) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        fs::read_dir(dir)?.map(name).collect()
    }
}

impl Disk for Files {
    type File = Reserved;

    fn names(&self) -> io::Result<Vec<String>> {
        Self::names_in(&self.dir)
    }

    fn read(&self, name: &str) -> io::Result<Image> {
        let file = File::open(self.dir.join(name))?;
        let size = file.metadata()?.len();
        // What grows is copied, and for that moment there twice.
        let mut bytes = Vec::with_capacity(to_usize(size)?);
        while let Some((from, to)) = written(&file, bytes.len() as u64, size)? {
            let (from, to) = (to_usize(from)?, to_usize(to)?);
            bytes.resize(to, 0);
            file.read_exact_at(&mut bytes[from..], from as u64)?;
        }
        Ok(Image { bytes, size: to_usize(size)? })
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Reserved> {
        let path = self.dir.join(name);
        let file =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        reserve(&file, 0, size)?;
        Ok(Reserved::new(file, size, 0))
    }

    fn open(&self, name: &str) -> io::Result<Reserved> {
        let file = File::options().write(true).open(self.dir.join(name))?;
        let size = file.metadata()?.len();
        Ok(Reserved::new(file, size, 0))
    }

    fn write_at(&self, file: &mut Reserved, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_at(offset, bytes)
    }

    fn cut(&self, reserved: &mut Reserved, offset: u64, size: u64) -> io::Result<()> {
        reserved.file.set_len(offset)?;
        reserve(&reserved.file, offset, size)?;
        (reserved.size, reserved.written) = (size, offset);
        Ok(())
    }

    fn sync(&self, file: &mut Reserved) -> io::Result<()> {
        file.file.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// The next part of a file, from `offset` on, of which the file system does not know that it was never written.
fn written(file: &File, offset: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    if offset >= size {
        return Ok(None);
    }
    match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(from) => Ok(Some((from, rustix::fs::seek(file, SeekFrom::Hole(from))?.min(size)))),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        // Some file systems do not say.
        Err(_) => Ok(Some((offset, size))),
    }
}

fn to_usize(size: u64) -> io::Result<usize> {
    usize::try_from(size).map_err(|_too_large| io::ErrorKind::FileTooLarge.into())
}

/// Takes the room from the device now, so that a full disk is noticed when a segment begins and not amid an
/// acknowledgment, and so that a sync need not write the file's length each time.
fn reserve(file: &File, from: u64, size: u64) -> io::Result<()> {
    let Some(missing) = size.checked_sub(from).filter(|missing| *missing > 0) else {
        return Ok(());
    };
    match rustix::fs::fallocate(file, FallocateFlags::empty(), from, missing) {
        // Some file systems cannot; then the room is taken as it is written.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(size),
        reserved => reserved.map_err(io::Error::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = AHEAD + 4096;

    /// How far the file system knows the file as written.
    fn known(file: &Reserved) -> u64 {
        written(&file.file, 0, SIZE).unwrap().map_or(0, |(_, to)| to)
    }

    #[test]
    fn blocks_are_written_ahead_as_far_as_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        let mut file = files.create("log", SIZE).unwrap();
        files.write_at(&mut file, 0, b"one").unwrap();
        assert!(known(&file) >= AHEAD);
        files.write_at(&mut file, 3, b"two").unwrap();
        files.write_at(&mut file, AHEAD - 1, b"three").unwrap();
        assert_eq!(known(&file), SIZE);
        let Image { bytes, size } = files.read("log").unwrap();
        assert_eq!((size as u64, &bytes[..7]), (SIZE, b"onetwo\0".as_slice()));
        let there = usize::try_from(AHEAD).unwrap() - 1;
        assert_eq!(&bytes[there..there + 6], b"three\0");
        // A frame larger than the room that is left makes the file longer, as before.
        files.write_at(&mut file, SIZE - 1, b"four").unwrap();
        assert_eq!(files.read("log").unwrap().size as u64, SIZE + 3);
        files.cut(&mut file, 3, SIZE).unwrap();
        assert!(known(&file) < AHEAD, "what was cut off is unwritten again");
        files.write_at(&mut file, 3, b"six").unwrap();
        assert_eq!(known(&file), AHEAD);
        assert_eq!(&files.read("log").unwrap().bytes[..7], b"onesix\0");
    }
}
