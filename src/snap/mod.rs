//! Received snapshots as files: whole or absent, never half.
//!
//! A leader streams the state to a member that is too far behind for the log. The bytes are written aside, synced,
//! and given their name `<term, 16 hex>-<index, 16 hex>.snap` only when they are complete and their
//! checksum fits; the directory is synced after that. The name is what consensus then carries around
//! (`SnapshotMeta.data` of a message), and what the member installs its state from, after a crash too.
//!
//! Deliberately absent: what is in the file (`store` knows) and when it is no longer needed (the node
//! says [`remove_before`]).
//!
//! All of this blocks on the disk: call it from a thread that may.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::raft::{Index, Mark, Term};

#[cfg(test)]
mod tests;

const SUFFIX: &str = ".snap";
/// The name of files in the making; left behind by a crash only.
const ASIDE_SUFFIX: &str = ".part";

/// Why a snapshot was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{}`: cannot {op}", path.display())]
    Io { path: PathBuf, op: &'static str, source: io::Error },
    #[error("`{}`: no space left on the device to {op}", path.display())]
    NoSpace { path: PathBuf, op: &'static str },
    #[error("the snapshot at entry {} arrived damaged: its checksum does not fit", .0.0)]
    Checksum(Index),
}

impl Error {
    fn io(path: &Path, op: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path, op },
            _ => Self::Io { path, op, source },
        }
    }
}

/// A snapshot that is arriving. Dropped before it is finished, it leaves nothing.
#[derive(Debug)]
pub struct Receiver {
    dir: PathBuf,
    mark: Mark,
    aside: PathBuf,
    file: File,
    hash: Sha256,
    size_bytes: u64,
    finished: bool,
}

impl Receiver {
    /// Begins to take in the state at `mark`. One receiver at a time per mark.
    pub fn begin(dir: &Path, mark: Mark) -> Result<Self, Error> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| Error::io(dir, "create the directory of snapshots", error))?;
        let aside = dir.join(file_name(mark) + ASIDE_SUFFIX);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)
            .map_err(|error| Error::io(&aside, "create a snapshot", error))?;
        let (dir, hash) = (dir.to_owned(), Sha256::new());
        Ok(Self { dir, mark, aside, file, hash, size_bytes: 0, finished: false })
    }

    pub fn write(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.hash.update(chunk);
        self.size_bytes += chunk.len() as u64;
        self.file
            .write_all(chunk)
            .map_err(|error| Error::io(&self.aside, "write a snapshot", error))
    }

    /// How much has arrived.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Checks the whole and gives it its name, durably. The path is that of the finished file.
    pub fn finish(mut self, sha256: &[u8]) -> Result<PathBuf, Error> {
        if self.hash.finalize_reset()[..] != *sha256 {
            return Err(Error::Checksum(self.mark.index));
        }
        let path = path(&self.dir, self.mark);
        let failed = |error| Error::io(&path, "finish a snapshot", error);
        // The file before its name, the directory after it: see `wal`.
        self.file.sync_all().map_err(failed)?;
        fs::rename(&self.aside, &path).map_err(failed)?;
        self.finished = true;
        sync_dir(&self.dir).map_err(failed)?;
        Ok(path)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if !self.finished {
            // What stays behind is removed by `remove_unfinished` at the next start.
            let _ = fs::remove_file(&self.aside);
        }
    }
}

fn file_name(mark: Mark) -> String {
    format!("{:016x}-{:016x}{SUFFIX}", mark.term.0, mark.index.0)
}

/// Where the snapshot at `mark` is, if it is there.
pub fn path(dir: &Path, mark: Mark) -> PathBuf {
    dir.join(file_name(mark))
}

/// The finished snapshots of a directory, ascending by index. A missing directory holds none.
pub fn list(dir: &Path) -> Result<Vec<Mark>, Error> {
    let mut marks: Vec<Mark> = names(dir)?.iter().filter_map(|name| parse(name)).collect();
    marks.sort_unstable_by_key(|mark| (mark.index, mark.term));
    Ok(marks)
}

fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let failed = |error| Error::io(dir, "list snapshots", error);
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let name = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect::<io::Result<_>>().map_err(failed)
}

fn parse(name: &str) -> Option<Mark> {
    let (term, index) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let number = |hex: &str| u64::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 16);
    Some(Mark { index: Index(number(index)?), term: Term(number(term)?) })
}

/// Removes snapshots of states before `index`; the one at `index` stays.
pub fn remove_before(dir: &Path, index: Index) -> Result<(), Error> {
    for mark in list(dir)?.into_iter().filter(|mark| mark.index < index) {
        remove(&path(dir, mark))?;
    }
    Ok(())
}

/// Removes what a crash left half-written. To be called before anything is received.
pub fn remove_unfinished(dir: &Path) -> Result<(), Error> {
    for name in names(dir)?.iter().filter(|name| name.ends_with(ASIDE_SUFFIX)) {
        remove(&dir.join(name))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Error> {
    fs::remove_file(path).map_err(|error| Error::io(path, "remove an old snapshot", error))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
