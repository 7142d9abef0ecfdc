//! Names of received snapshots: whole or absent, never half.
//!
//! A leader streams the state to a member that is too far behind for the log. What arrives is built
//! into a store beside its name, synced, and given that name, `<term, 16 hex>-<index, 16 hex>.snap`,
//! only when it is complete and its checksum fits. The name is what consensus then carries around
//! (`SnapshotMeta.data` of a message), and what the member installs its state from, after a crash too.
//!
//! Deliberately absent: what is in the file and how it comes about (`store` knows), and when it is no
//! longer needed (the node says [`remove_before`]).
//!
//! All of this blocks on the disk: call it from a thread that may.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::raft::{Index, Mark, Term};

#[cfg(test)]
mod tests;

const SUFFIX: &str = ".snap";

/// Why snapshots cannot be listed or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{}`: cannot {op}", path.display())]
    Io { path: PathBuf, op: &'static str, source: io::Error },
}

impl Error {
    fn io(path: &Path, op: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), op, source }
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

/// Removes the snapshot at this mark if it is there.
pub fn discard(dir: &Path, mark: Mark) -> Result<(), Error> {
    if list(dir)?.contains(&mark) { remove(&path(dir, mark)) } else { Ok(()) }
}

/// Removes what a crash left half-built. To be called before anything is received.
pub fn remove_unfinished(dir: &Path) -> Result<(), Error> {
    // Files in the making have the name they will get, and more.
    let unfinished = |name: &&String| {
        name.split_once(SUFFIX).is_some_and(|(mark, more)| {
            !more.is_empty() && parse(&format!("{mark}{SUFFIX}")).is_some()
        })
    };
    for name in names(dir)?.iter().filter(unfinished) {
        remove(&dir.join(name))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Error> {
    fs::remove_file(path).map_err(|error| Error::io(path, "remove an old snapshot", error))
}
