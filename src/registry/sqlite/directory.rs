use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::registry::OpenError;

/// The data directory, ours until this is dropped.
#[derive(Debug)]
pub(in crate::registry) struct Directory {
    path: PathBuf,
    /// Holds the lock; the kernel lets go of it when the process ends, however it ends.
    _lock: File,
}

impl Directory {
    /// Creates the directory if it is missing, readable by its owner only, and locks it.
    pub(in crate::registry) fn claim(path: &Path) -> Result<Self, OpenError> {
        let failed = |op| move |source| OpenError::DataDir { dir: path.to_owned(), op, source };
        let has = |name| path.join(name).exists();
        if has("member") && !has("registry.db") && !has("store.json") {
            return Err(OpenError::OfMember { dir: path.to_owned() });
        }
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create it"))?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(lock_path)
            .map_err(failed("open its lock file"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // The number only serves the message.
                let _ = lock.read_to_string(&mut pid);
                let pid = pid.trim();
                let holder = if pid.is_empty() { String::new() } else { format!(" (pid {pid})") };
                return Err(OpenError::InUse { dir: path.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock it")(source)),
        }
        let note = |lock: &mut File| {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())
        };
        note(&mut lock).map_err(failed("write its lock file"))?;
        // SQLite syncs the directory of its files; the entry of a new directory is ours to sync.
        if let Some(parent) = fs::canonicalize(path).ok().as_deref().and_then(Path::parent) {
            let synced = File::open(parent).and_then(|parent| parent.sync_all());
            synced.map_err(failed("sync its parent"))?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where the database is.
    pub(in crate::registry) fn database(&self) -> PathBuf {
        self.path.join("registry.db")
    }
}
