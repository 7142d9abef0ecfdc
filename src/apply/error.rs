use crate::auth;
use crate::mvcc::{self, StorageError};

/// A refusal that every replica gives alike. The texts are etcd's, as clients see and parse them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    #[error("etcdserver: key not found")]
    KeyNotFound,
    #[error("etcdserver: value is provided")]
    ValueProvided,
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    #[error("etcdserver: corrupt cluster")]
    Corrupt,
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    /// A leader's own judgment got into the log after its term.
    #[error("etcdserver: leader changed")]
    LeaderChanged,
    /// The caller is unknown or may not.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// Of reads only, and this replica's alone: log it and stop; applying gives [`Fatal`] instead.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why this replica cannot go on: its state would differ from the others'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(
        "entry {index} of the log holds a request this version does not know: update this member"
    )]
    UnknownRequest { index: u64 },
}

impl From<mvcc::Error> for Error {
    fn from(error: mvcc::Error) -> Self {
        match error {
            mvcc::Error::Compacted => Self::Compacted,
            mvcc::Error::Future => Self::FutureRevision,
            mvcc::Error::Storage(error) => Self::Storage(error),
        }
    }
}
