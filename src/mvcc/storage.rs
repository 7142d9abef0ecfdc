use std::fmt::Debug;
use std::io;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::{Event, EventRef, Revision};

/// Where records live: `Memory` in simulation and tests, `store::Store` on disk.
///
/// Writes take effect at once for reads through the same value and cannot fail; that they reach
/// the disk, all together up to some applied index, is the storage's own business. Reads can fail,
/// and such a failure is this replica's alone: it must stop the process and never become an answer.
pub trait Storage: Debug {
    /// Keeps the record of a change; revisions come in ascending order.
    fn put(&mut self, at: Revision, record: &Event);

    /// The record at exactly this revision, which was put and not deleted: its absence is corruption.
    fn get(&self, at: Revision) -> Result<Event, StorageError>;

    /// The records from `from` on in order, until `visit` breaks.
    fn scan(
        &self,
        from: Revision,
        visit: &mut dyn FnMut(Revision, EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError>;

    /// Drops a record that compaction has made unreachable.
    fn delete(&mut self, at: Revision);

    /// What entry of the log the writes so far belong to.
    fn set_applied(&mut self, applied: Applied);

    /// The last value of [`Self::set_applied`].
    fn applied(&self) -> Applied;

    /// Keeps or, for `None`, removes a small value beside the records.
    fn set_meta(&mut self, key: &[u8], value: Option<Bytes>);

    /// One small value.
    fn meta(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// All small values whose key starts with `prefix`, in key order.
    fn scan_meta(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, StorageError>;

    /// What errors call it: the file's path.
    fn name(&self) -> String;

    /// Bytes the storage takes, free room included.
    fn size_on_disk(&self) -> u64;

    /// Bytes of that which hold records.
    fn size_in_use(&self) -> u64;

    /// Bytes that wait to be added to [`Self::size_on_disk`].
    fn size_pending(&self) -> u64 {
        0
    }

    /// Shows several records, in the order asked for and without a copy where that is possible, until
    /// `visit` breaks.
    fn visit(
        &self,
        at: &[Revision],
        visit: &mut dyn FnMut(EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        for at in at {
            if visit(self.get(*at)?.as_ref()).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// The last entry of the log that a state contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Applied {
    pub index: u64,
    pub term: u64,
}

/// A storage that cannot be read or written. Plain text, because every waiter gets a copy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    #[error("store `{file}`: {op}: {cause}")]
    Io { file: String, op: &'static str, cause: String },
    #[error("store `{file}`: no space left on the device to {op}; make room and start again")]
    NoSpace { file: String, op: &'static str },
    #[error("store `{file}` is corrupt: {what}")]
    Corrupt { file: String, what: String },
    #[error("store `{file}` is in use by another process")]
    InUse { file: String },
    #[error(
        "store `{file}` has format version {found}, this program reads up to {known}: it was written by a newer version, start that one"
    )]
    Newer { file: String, found: u32, known: u32 },
}

impl StorageError {
    pub(crate) fn io(file: String, op: &'static str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { file, op },
            _ => Self::Io { file, op, cause: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_a_sentence_of_its_own() {
        let told = |kind: io::ErrorKind| StorageError::io("s".into(), "commit", &kind.into());
        let full = "store `s`: no space left on the device to commit; make room and start again";
        assert_eq!(told(io::ErrorKind::StorageFull).to_string(), full);
        assert_eq!(told(io::ErrorKind::QuotaExceeded).to_string(), full);
        assert!(matches!(told(io::ErrorKind::NotFound), StorageError::Io { .. }));
    }
}
