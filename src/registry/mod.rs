//! Tokens and their members on disk: the only place with SQL.
//!
//! One writer owns the database. It takes whatever is queued, decides about all of it with
//! [`admission`](crate::admission), and writes the outcome in one transaction, which costs one
//! fsync however many asked. Only then are the new states published and the askers answered.
//!
//! Readers never touch the database: every token that still means something is in memory, as an
//! immutable [`Founding`] that is replaced when it changes.
//!
//! Invariants:
//!
//! 1. What was answered is on disk (`synchronous=full`), and what is published was committed.
//! 2. Indexes are given in commit order, once, and never go back; the last one is stored.
//! 3. A token's state is published before its waiters are woken, and shows all of its changes up to
//!    its own index. A waiter that reads it and then asks for the next index misses nothing.
//! 4. After a failed commit, whose outcome nobody knows, memory is rebuilt from the database before
//!    the next write.
//!
//! What is deliberately absent: the clock. Every question brings its own `now`.

mod database;
mod directory;
mod error;
mod state;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};

pub use error::{Error, OpenError, SyncFailed};
pub use state::Counts;
pub use writer::Writer;

use crate::admission::{
    Application, ClusterSize, Founding, Label, Registered, State, Ttl, UnixMillis,
};
use crate::token::TokenPath;
use state::Shared;
use writer::Command;

/// How many writes may wait for the writer. Whoever finds the queue full waits for a place; the
/// service above gives up after its own limit and answers 503.
const QUEUED_WRITES: usize = 1024;

/// What a registry needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Created with mode 0700 if missing.
    pub data_dir: PathBuf,
    /// How long a token waits for its founders.
    pub token_ttl: Ttl,
    /// How long a full token is kept.
    pub sealed_ttl: Ttl,
}

/// The registry as services hold it; clones are cheap.
#[derive(Debug, Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// A token that somebody asks for.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub path: TokenPath,
    pub size: ClusterSize,
    pub label: Option<Label>,
    /// Instead of the registry's own life span.
    pub ttl: Option<Ttl>,
}

/// The answer to a [`NewToken`].
#[derive(Debug, Clone)]
pub struct Created {
    pub founding: Arc<Founding>,
    /// The token existed, with the same size.
    pub existed: bool,
}

/// The answer to an application.
#[derive(Debug, Clone)]
pub struct Registration {
    pub registered: Arc<Registered>,
    /// The token as it was when the application was decided.
    pub founding: Arc<Founding>,
    pub outcome: Outcome,
}

/// What became of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Founded,
    /// Founded, and nobody is missing any more.
    Sealed,
    Resumed,
    Surplus,
}

/// The wall clock, for callers outside of tests.
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Registry {
    /// Opens or creates the registry in its directory and reads what is stored.
    ///
    /// Nothing is written until somebody runs the [`Writer`]. It ends when all clones of the
    /// registry are gone.
    pub async fn open(config: Config) -> Result<(Self, Writer), OpenError> {
        let directory = directory::Directory::claim(&config.data_dir)?;
        let (database, loaded) = database::Database::open(directory.database()).await?;
        let shared = Arc::new(Shared::new(loaded));
        let (commands, queue) = mpsc::channel(QUEUED_WRITES);
        let writer = Writer::new(config, directory, database, Arc::clone(&shared), queue);
        Ok((Self { shared, commands }, writer))
    }

    /// Makes a token; one that exists with the same size is left alone.
    pub async fn create(&self, token: NewToken, now: UnixMillis) -> Result<Created, Error> {
        self.ask(|reply| Command::Create { token, now, reply }).await
    }

    /// Registers a node with the token at `path`.
    pub async fn register(
        &self,
        path: TokenPath,
        application: Application,
        now: UnixMillis,
    ) -> Result<Registration, Error> {
        self.ask(|reply| Command::Register { path, application, now, reply }).await
    }

    /// Forgets tokens that expired long ago.
    pub async fn sweep(&self, now: UnixMillis) -> Result<(), Error> {
        self.ask(|reply| Command::Sweep { now, reply }).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_closed| Error::Unavailable)?;
        answer.await.map_err(|_closed| Error::Unavailable)?
    }

    /// The token at `path`, also when it has expired lately; nothing if it is unknown.
    pub fn founding(&self, path: &TokenPath) -> Option<Arc<Founding>> {
        self.shared.founding(path)
    }

    /// Waits until `check` makes something of the token at `path`, looking again at each change.
    ///
    /// Ends with `None` when the token is gone. Never ends by itself otherwise: the caller brings
    /// the limit.
    pub async fn wait<T>(
        &self,
        path: &TokenPath,
        mut check: impl FnMut(&Founding) -> Option<T>,
    ) -> Option<T> {
        loop {
            // Listening starts before looking, so that no change falls in between.
            let mut changed = std::pin::pin!(self.shared.changes_of(path).notified());
            changed.as_mut().enable();
            let founding = self.founding(path)?;
            if let Some(found) = check(&founding) {
                return Some(found);
            }
            drop(founding);
            changed.await;
        }
    }

    /// The tokens that are full, in the order they were made.
    pub fn full(&self, now: UnixMillis) -> Vec<Arc<Founding>> {
        self.shared.full(now)
    }

    /// The labels of tokens that still wait for founders.
    pub fn expected(&self, now: UnixMillis) -> Vec<Label> {
        let waits = |held: &Founding| held.label.is_some() && held.state(now) == State::Open;
        self.shared.select(waits).iter().filter_map(|held| held.label.clone()).collect()
    }

    /// Changes whenever a token becomes full, a labelled one is made, or tokens are forgotten.
    pub fn milestones(&self) -> watch::Receiver<u64> {
        self.shared.milestones()
    }

    /// The index of the last change of any token.
    pub fn index(&self) -> u64 {
        self.shared.index()
    }

    /// Whether the last write found the database in order.
    pub fn is_writable(&self) -> bool {
        self.shared.is_writable()
    }

    /// The id that v2 answers carry, in hexadecimal.
    pub fn cluster_id(&self) -> &str {
        self.shared.cluster_id()
    }

    /// How many tokens are in each state, and how often the database was written.
    pub fn counts(&self, now: UnixMillis) -> Counts {
        self.shared.counts(now)
    }
}

#[cfg(test)]
mod tests;
