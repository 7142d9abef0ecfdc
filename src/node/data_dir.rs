use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::durable;

/// The layout of a data directory that this release writes, and the newest it can read.
const FORMAT: u32 = 1;

/// A data directory that this process alone uses.
///
/// ```text
/// <data-dir>/lock            held as long as the process lives
///            format          the number of this layout
///            discovery.json  a registration without a log yet
///            member/         log, snapshots and store of a member, or
///            proxy/cluster   the members that a surplus node forwards to
/// ```
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Unlocked when it is closed, also by a crash.
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("data directory `{}` is in use by another process", path.display())]
    InUse { path: PathBuf },
    #[error("data directory `{}` is not a directory", path.display())]
    NotADirectory { path: PathBuf },
    #[error("data directory `{}` is not writable", path.display())]
    NotWritable { path: PathBuf, source: io::Error },
    #[error("data directory `{}` was written by a newer quorate-node (layout {found}, this release reads up to {FORMAT}); use that release or an empty directory", path.display())]
    Newer { path: PathBuf, found: u32 },
    #[error("data directory `{}` does not say which layout it has: `{}` holds `{text}`", path.display(), path.join("format").display())]
    Unreadable { path: PathBuf, text: String },
    #[error(
        "data directory `{}` is one of etcd, whose files this node does not read; bring its contents \
         over with `etcdctl snapshot save` and `quorate-node snapshot restore`, into another directory \
         (members of etcd and of this program cannot form one cluster)",
        path.display()
    )]
    OfEtcd { path: PathBuf },
    #[error("data directory `{}` is that of `quorate serve`; give the node one of its own (--data-dir)", path.display())]
    OfService { path: PathBuf },
    #[error("data directory `{}` has a store and no log in `{}`: the log is lost or --wal-dir points elsewhere; going on would forget votes. To replace this member, remove and add it with `etcdctl member` and start with an empty directory", path.display(), log.display())]
    LogLost { path: PathBuf, log: PathBuf },
    #[error("invalid datadir; both member and proxy directories exist in `{}`", path.display())]
    MemberAndProxy { path: PathBuf },
    #[error("data directory `{}`", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl DataDir {
    /// Makes the directory if it is missing, and takes it for this process.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let owned = || path.to_owned();
        match make_private(path) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
                ) =>
            {
                return Err(DataDirError::NotADirectory { path: owned() });
            }
            Err(source) => return Err(DataDirError::NotWritable { path: owned(), source }),
        }
        if !path.is_dir() {
            return Err(DataDirError::NotADirectory { path: owned() });
        }
        let has = |name| path.join(name).exists();
        if has("registry.db") && !has("format") {
            return Err(DataDirError::OfService { path: owned() });
        }
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(|source| DataDirError::NotWritable { path: owned(), source })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::InUse { path: owned() }),
            Err(TryLockError::Error(source)) => {
                return Err(DataDirError::Io { path: owned(), source });
            }
        }
        if has("member/snap/db") {
            return Err(DataDirError::OfEtcd { path: owned() });
        }
        check_format(path)?;
        Ok(Self { path: owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a directory that only this user may look into; an existing one is left as it is. What is synced in it
/// later is not lost with its name.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        None => return Ok(()),
        Some(parent) if parent == Path::new("") => Path::new("."),
        Some(parent) => parent,
    };
    make_private(parent)?;
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    File::open(parent)?.sync_all()
}

fn check_format(path: &Path) -> Result<(), DataDirError> {
    let file = path.join("format");
    match fs::read_to_string(&file) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(found) if found > FORMAT => {
                Err(DataDirError::Newer { path: path.to_owned(), found })
            }
            Ok(_) => Ok(()),
            Err(_) => {
                let text = text.chars().take(40).collect();
                Err(DataDirError::Unreadable { path: path.to_owned(), text })
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            durable::replace(&file, format!("{FORMAT}\n").as_bytes(), 0o644)
                .map_err(|source| DataDirError::NotWritable { path: path.to_owned(), source })
        }
        Err(source) => Err(DataDirError::Io { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn refused(path: &Path) -> String {
        DataDir::open(path).unwrap_err().to_string().replace(&path.display().to_string(), "DIR")
    }

    #[test]
    fn a_directory_is_made_private_and_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let held = DataDir::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(refused(&path), "data directory `DIR` is in use by another process");
        drop(held);
        drop(DataDir::open(&path).unwrap());
        fs::write(path.join("format"), "7\n").unwrap();
        assert!(
            refused(&path)
                .contains("written by a newer quorate-node (layout 7, this release reads up to 1)")
        );
        fs::write(path.join("format"), "zzz").unwrap();
        assert!(refused(&path).contains("does not say which layout it has"));
    }

    #[test]
    fn what_is_no_data_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(refused(&file), "data directory `DIR` is not a directory");
        assert_eq!(refused(&file.join("below")), "data directory `DIR` is not a directory");
        let etcd = dir.path().join("etcd");
        fs::create_dir_all(etcd.join("member/snap")).unwrap();
        fs::write(etcd.join("member/snap/db"), "").unwrap();
        assert!(refused(&etcd).contains("is one of etcd"));
        let service = dir.path().join("service");
        fs::create_dir(&service).unwrap();
        fs::write(service.join("registry.db"), "").unwrap();
        assert!(
            refused(&service).contains("is that of `quorate serve`; give the node one of its own")
        );
        assert!(!service.join("lock").exists(), "nothing is written there");
    }
}
