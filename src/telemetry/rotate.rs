use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::time;

/// When a log file is put aside, and how long those are kept that were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// No file becomes larger, but for one line that alone is.
    pub max_bytes: u64,
    /// Older files go; `None` keeps them.
    pub max_age: Option<Duration>,
    /// Of more files the oldest go; `None` keeps them.
    pub max_backups: Option<usize>,
}

/// A log file that is put aside when it is full, as `name-2026-11-22T02-19-53.123.log`: the names of
/// lumberjack, with which etcd rotates. Their order is that of time.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    bytes: u64,
}

impl RotatingFile {
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let file = append(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), rotation, file, bytes })
    }

    pub(super) fn write_line(&mut self, line: &[u8], now: SystemTime) -> io::Result<()> {
        let bytes = line.len() as u64;
        if self.bytes > 0 && self.bytes + bytes > self.rotation.max_bytes {
            // What cannot be put aside is written on, and tried again after as much.
            if let Ok(file) = self.put_aside(now) {
                self.file = file;
                self.clean(now);
            }
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.file.write_all(line)
    }

    fn put_aside(&self, now: SystemTime) -> io::Result<File> {
        fs::rename(&self.path, self.aside(&stamp(now)))?;
        append(&self.path)
    }

    fn aside(&self, stamp: &str) -> PathBuf {
        let (stem, extension) = self.names();
        self.path.with_file_name(format!("{stem}-{stamp}{extension}"))
    }

    /// The name without its extension, and the extension with its dot.
    fn names(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let extension = text(self.path.extension());
        let dot = if extension.is_empty() { "" } else { "." };
        (text(self.path.file_stem()), format!("{dot}{extension}"))
    }

    /// Removes what is too old or too much; a file that stays is tried again the next time.
    fn clean(&self, now: SystemTime) {
        let (stem, extension) = self.names();
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let Ok(entries) = fs::read_dir(dir.unwrap_or_else(|| Path::new("."))) else { return };
        let mut stamps: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| {
                let rest = name.strip_prefix(&stem)?.strip_prefix('-')?;
                let found = rest.strip_suffix(&extension)?;
                is_stamp(found).then(|| found.to_owned())
            })
            .collect();
        stamps.sort();
        let surplus = self.rotation.max_backups.map_or(0, |most| stamps.len().saturating_sub(most));
        let oldest = self.rotation.max_age.and_then(|age| now.checked_sub(age)).map(stamp);
        for (place, found) in stamps.iter().enumerate() {
            if place < surplus || oldest.as_ref().is_some_and(|oldest| found < oldest) {
                drop(fs::remove_file(self.aside(found)));
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// `2026-11-22T02-19-53.123`
fn stamp(at: SystemTime) -> String {
    let text = time::rfc3339(at);
    text[..LENGTH].replace(':', "-")
}

const LENGTH: usize = "2026-11-22T02-19-53.123".len();

/// Whether that text is such a stamp, and not the rest of some other file's name.
fn is_stamp(text: &str) -> bool {
    let pattern = "0000-00-00T00-00-00.000";
    let fits = |(found, wanted): (char, char)| match wanted {
        '0' => found.is_ascii_digit(),
        wanted => found == wanted,
    };
    text.len() == LENGTH && text.chars().zip(pattern.chars()).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn full_files_are_put_aside_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.log");
        for other in ["node-notes.log", "node.log.gz", "other-2020-01-01T00-00-00.000.log"] {
            fs::write(dir.path().join(other), "kept").unwrap();
        }
        let day = Duration::from_secs(86_400);
        let rotation = Rotation { max_bytes: 10, max_age: Some(3 * day), max_backups: Some(2) };
        let start = SystemTime::UNIX_EPOCH + 20_000 * day;
        let mut log = RotatingFile::open(&path, rotation).unwrap();
        for (line, days) in [("one\n", 0), ("two\n", 0), ("three\n", 1), ("longer than ten\n", 2)] {
            log.write_line(line.as_bytes(), start + days * day).unwrap();
        }
        drop(log);
        assert_eq!(fs::read_to_string(&path).unwrap(), "longer than ten\n");
        let aside: Vec<String> =
            names(dir.path()).into_iter().filter(|name| name.starts_with("node-2")).collect();
        assert_eq!(aside, ["node-2024-10-05T00-00-00.000.log", "node-2024-10-06T00-00-00.000.log"]);
        assert_eq!(fs::read_to_string(dir.path().join(&aside[0])).unwrap(), "one\ntwo\n");

        // It goes on where it was, three are more than two, and four days later nothing is young enough.
        let mut log = RotatingFile::open(&path, rotation).unwrap();
        log.write_line(b"five\n", start + 3 * day).unwrap();
        log.write_line(b"six seven\n", start + 9 * day).unwrap();
        let left = names(dir.path());
        assert_eq!(left.iter().filter(|name| name.starts_with("node-2")).count(), 1, "{left:?}");
        assert_eq!(left.len(), 5, "{left:?}");
    }
}
