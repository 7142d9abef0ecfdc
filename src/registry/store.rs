use std::fmt;

use super::etcd::{self, Cluster};
use super::group::Group;
use super::outcome::{Heard, NotWritten, Ready, Written};
use super::sqlite::{self, Sqlite};
use super::{OpenError, WriterFailed};

/// Where the writer keeps the registry.
#[derive(Debug)]
pub(super) enum Store {
    Sqlite(Sqlite),
    Cluster(Cluster),
}

impl Store {
    /// How many commands one transaction takes.
    pub(super) fn group_limit(&self) -> usize {
        match self {
            Self::Sqlite(_) => sqlite::GROUP,
            Self::Cluster(_) => etcd::GROUP,
        }
    }

    /// How many tokens one sweep takes; the next one goes on.
    pub(super) fn sweep_limit(&self) -> usize {
        match self {
            Self::Sqlite(_) => sqlite::SWEPT,
            Self::Cluster(_) => etcd::SWEPT,
        }
    }

    pub(super) async fn ready(&mut self) -> Result<Ready, WriterFailed> {
        match self {
            Self::Sqlite(sqlite) => sqlite.ready().await,
            Self::Cluster(cluster) => cluster.ready().await,
        }
    }

    /// Writes a group; `Done` when it is durable and everything it rested on was true.
    pub(super) async fn commit(&mut self, group: &Group) -> Result<Written, NotWritten> {
        match self {
            Self::Sqlite(sqlite) => {
                sqlite.commit(&group.batch, group.head).await.map(|()| Written::Done)
            }
            Self::Cluster(cluster) => cluster.commit(group).await,
        }
    }

    /// Whether memory shows everything that was written; nobody else writes to SQLite.
    pub(super) async fn is_current(&mut self) -> Result<Written, NotWritten> {
        match self {
            Self::Sqlite(_) => Ok(Written::Done),
            Self::Cluster(cluster) => cluster.is_current().await,
        }
    }

    /// What other services wrote. Can be given up at any point without losing anything.
    pub(super) async fn hear(&mut self) -> Result<Heard, OpenError> {
        match self {
            Self::Sqlite(_) => std::future::pending().await,
            Self::Cluster(cluster) => cluster.hear().await,
        }
    }

    /// What other services wrote before a write that was overtaken.
    pub(super) async fn hear_soon(&mut self) -> Result<Heard, OpenError> {
        match self {
            Self::Sqlite(_) => std::future::pending().await,
            Self::Cluster(cluster) => cluster.hear_soon().await,
        }
    }

    /// What an operator can do about one that cannot be written.
    pub(super) fn cure(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "look after the disk of --data-dir",
            Self::Cluster(_) => {
                "start its members, let this machine reach them, or correct --store"
            }
        }
    }

    pub(super) async fn close(self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.close().await,
            Self::Cluster(_) => {}
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(sqlite) => sqlite.path().display().fmt(f),
            Self::Cluster(cluster) => f.write_str(cluster.url()),
        }
    }
}
