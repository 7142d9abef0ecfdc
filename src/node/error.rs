use std::path::PathBuf;

use super::tokens::JwtError;
use crate::mvcc::StorageError;
use crate::replica::{self, MembershipError};
use crate::{apply, auth, snap, wal};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("directory `{}`", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("log")]
    Wal(#[from] wal::Error),
    #[error("store")]
    Store(#[from] StorageError),
    #[error("received snapshots")]
    Snap(#[from] snap::Error),
    #[error("DNS resolver for peers")]
    Resolver(#[source] std::io::Error),
    #[error("thread")]
    Thread(#[source] std::io::Error),
    #[error("metrics")]
    Metrics(#[from] prometheus::Error),
    #[error("log and store do not belong together")]
    Replica(#[from] replica::ConfigError),
    #[error(
        "{}; a new member needs an empty data directory and `member add`",
        crate::transport::REMOVED
    )]
    Removed,
    #[error("the data directory holds no log and nothing says which cluster to found")]
    NotFounded,
}

/// Why a node did not do what a client asked. The API has etcd's code and text for each.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The state machine refused; every member would have.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    #[error(transparent)]
    Membership(#[from] MembershipError),
    #[error("the request was not applied in time")]
    Timeout,
    #[error("the request was not applied in time; the leader was lost shortly before")]
    TimeoutLeaderLost,
    #[error("the request was not applied in time; members that are needed were out of reach")]
    TimeoutConnectionLost,
    #[error("the request was not applied in time; there was no leader")]
    TimeoutNoLeader,
    #[error("the request may have been applied in what this member got as a snapshot")]
    FateUnknown,
    #[error("no leader is known")]
    NoLeader,
    #[error("the leader changed while the read waited")]
    LeaderChanged,
    #[error("this member does not lead")]
    NotLeader,
    #[error("too many requests wait to be applied")]
    TooManyRequests,
    #[error("the request has {size} bytes, the limit is {limit}")]
    RequestTooLarge { size: usize, limit: usize },
    #[error("too few members have started for this change")]
    NotEnoughStarted,
    #[error("too few members are connected for this change")]
    Unhealthy,
    #[error("this member is a learner")]
    Learner,
    #[error("the learner does not hold nearly all of the leader's log yet")]
    LearnerNotReady,
    #[error("that member cannot take over the leadership")]
    BadTransferee,
    #[error("the password is longer than 72 bytes")]
    PasswordTooLong,
    /// This member cannot give out the token that was earned.
    #[error(transparent)]
    Token(#[from] JwtError),
    #[error("the node is stopping")]
    Stopped,
}

impl From<auth::Error> for Error {
    fn from(error: auth::Error) -> Self {
        Self::Apply(error.into())
    }
}
