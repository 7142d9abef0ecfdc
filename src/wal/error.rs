use std::io;
use std::path::PathBuf;

/// Why a log cannot be used. After an error of writing or syncing nothing is known about the disk's
/// contents: the process ends and the next start reads what is there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{}`: cannot {op}", path.display())]
    Io { path: PathBuf, op: &'static str, source: io::Error },
    #[error("`{}`: no space left on the device to {op}; make room and start again", path.display())]
    NoSpace { path: PathBuf, op: &'static str },
    #[error("`{}` holds no log", dir.display())]
    Missing { dir: PathBuf },
    #[error(
        "log segment `{}` is damaged at offset {offset} ({what}): what this member acknowledged is lost; \
         remove it from the cluster and add it again with an empty data directory, or restore a backup",
        segment.display()
    )]
    Corrupt { segment: PathBuf, offset: u64, what: &'static str },
    #[error(
        "log segment `{}` has format {found}, this version knows up to {known}: it was written by a newer version, \
         which is needed to open it",
        segment.display()
    )]
    Newer { segment: PathBuf, found: u32, known: u32 },
    #[error(
        "`{}`: log segment {missing:016x} is missing between others; restore it, or remove this member from \
         the cluster and add it again with an empty data directory",
        dir.display()
    )]
    Gap { dir: PathBuf, missing: u64 },
    #[error("`{}`: an earlier write failed, the log takes no more", dir.display())]
    Failed { dir: PathBuf },
}

impl Error {
    pub(super) fn io(path: PathBuf, op: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path, op },
            _ => Self::Io { path, op, source },
        }
    }
}
