//! What SQLite says of a failure, and what it means.

use std::path::PathBuf;

use crate::registry::OpenError;

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody knows what is on disk; only a restart helps.
    FailedSync,
    /// What is on disk is not what was written.
    Damaged,
    /// There is no room; nothing was changed.
    Full,
    Other,
}

impl Trouble {
    pub(super) fn of(failure: &sqlx::Error) -> Self {
        const SQLITE_IOERR: i32 = 10;
        const SQLITE_CORRUPT: i32 = 11;
        const SQLITE_FULL: i32 = 13;
        const SQLITE_NOTADB: i32 = 26;
        const SQLITE_IOERR_FSYNC: i32 = SQLITE_IOERR | (4 << 8);
        const SQLITE_IOERR_DIR_FSYNC: i32 = SQLITE_IOERR | (5 << 8);
        // The index of the log, which is in a file of its own, could not grow.
        const SQLITE_IOERR_SHMSIZE: i32 = SQLITE_IOERR | (19 << 8);
        let Some(extended) = extended_code(failure) else { return Self::Other };
        match (extended, extended & 0xff) {
            // The kernel may have dropped what we wrote. Nothing written after that can be trusted
            // either, as the log's checksums run through the part that is lost.
            (SQLITE_IOERR_FSYNC | SQLITE_IOERR_DIR_FSYNC, _) => Self::FailedSync,
            (SQLITE_IOERR_SHMSIZE, _) | (_, SQLITE_FULL) => Self::Full,
            (_, SQLITE_CORRUPT | SQLITE_NOTADB) => Self::Damaged,
            _ => Self::Other,
        }
    }
}

/// Tells damage from other trouble.
pub(super) fn failure(path: PathBuf, op: &'static str, source: sqlx::Error) -> OpenError {
    match Trouble::of(&source) {
        Trouble::Damaged => OpenError::Damaged { path, finding: source.to_string() },
        _ => OpenError::Database { path, op, source },
    }
}

fn extended_code(failure: &sqlx::Error) -> Option<i32> {
    failure.as_database_error()?.code()?.parse().ok()
}
