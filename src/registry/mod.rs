//! Tokens and their members, kept in SQLite (`sqlite`, the only place with SQL) or in an etcd v3
//! cluster that several services share ([`etcd`], whose essay has what differs there).
//!
//! One writer owns the store. It takes whatever is queued, decides about all of it with
//! [`admission`](crate::admission), and writes the outcome in one transaction, which costs one
//! fsync however many asked. Only then are the new states published and the askers answered.
//!
//! Readers never touch the store: every token that still means something is in memory, packed while
//! it rests (`packed`, `tokens`), and handed out as an immutable [`Founding`].
//!
//! Invariants:
//!
//! 1. What was answered is on disk (`synchronous=full`), and what is published was committed.
//! 2. Indexes are given in commit order, once, and never go back; the last one is stored.
//! 3. A token's state is published before its waiters are woken, and shows all of its changes up to
//!    its own index. A waiter that reads it and then asks for the next index misses nothing.
//! 4. After a failed commit, whose outcome nobody knows, memory is rebuilt from the database before
//!    the next write.
//! 5. Every decision is in the timeline, in the transaction that made it so. An entry's hash covers
//!    the one before; what was once read of it cannot be changed unnoticed.
//!
//! What is deliberately absent: the clock of a decision. Every question brings its own `now`, which
//! [`now()`] takes from a clock that nobody can set.

mod clock;
mod command;
mod error;
pub mod etcd;
mod group;
mod operate;
mod outcome;
mod pace;
mod packed;
mod sqlite;
mod state;
mod store;
mod timeline;
mod tokens;
mod writer;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prometheus::Histogram;
use tokio::sync::{broadcast, mpsc, oneshot};

pub use clock::now;
pub use error::{BackupError, Error, OpenError, SyncFailed, VerifyError, WriterFailed};
pub use sqlite::{Backup, BackupHead, inspect, restore};
pub use state::{Counts, Milestone};
pub use timeline::{Broken, Entry, Verified, What};
pub use writer::Writer;

use crate::admission::{
    Application, ClusterSize, Founding, Label, Refusal, Registered, State, Ttl, UnixMillis,
};
use crate::token::{PublicId, Token, TokenPath};
use command::Command;
use etcd::Cluster;
use packed::Packed;
use sqlite::{Directory, Sqlite};
use state::Shared;
use store::Store;

/// How many writes may wait for the writer. Whoever finds the queue full waits for a place; the
/// service above gives up after its own limit and answers 503.
const QUEUED_WRITES: usize = 1024;

/// What a registry needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Created with mode 0700 if missing; holds the database, or remembers which cluster has it.
    pub data_dir: PathBuf,
    /// A cluster that keeps the registry, so that several services share it.
    pub cluster: Option<etcd::Config>,
    /// How long a token waits for its founders.
    pub token_ttl: Ttl,
    /// How long a full token is kept.
    pub sealed_ttl: Ttl,
    /// How many late registrations of a token are recorded.
    pub max_surplus: usize,
}

/// The registry as services hold it; clones are cheap.
#[derive(Debug, Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    kept: Kept,
}

/// Where those read who read past memory.
#[derive(Debug, Clone)]
enum Kept {
    Sqlite(Arc<Path>),
    Cluster(Arc<etcd::Reader>),
}

/// A token that somebody asks for.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub path: TokenPath,
    pub size: ClusterSize,
    pub label: Option<Label>,
    /// Instead of the registry's own life span.
    pub ttl: Option<Ttl>,
    /// Where members will serve clients.
    pub client_port: Option<u16>,
    /// The address of whoever asks, for the timeline.
    pub from: Option<IpAddr>,
}

/// What an operator may want with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Makes it unknown to everybody; those who wait for it are woken.
    Revoke,
    /// Adds to its life.
    Extend(Ttl),
}

/// A registration that was refused, for the timeline.
#[derive(Debug, Clone)]
pub struct RefusedAttempt {
    path: TokenPath,
    member: String,
    value: String,
    code: &'static str,
    text: String,
    from: Option<IpAddr>,
    now: UnixMillis,
}

impl RefusedAttempt {
    fn new(path: &TokenPath, applied: &Application, refusal: &Refusal, now: UnixMillis) -> Self {
        let (member, value) = (applied.key.to_string(), applied.value.clone());
        Self::before(path, &member, &value, refusal, applied.from, now)
    }

    /// One that was refused before the registry was asked.
    pub fn before(
        path: &TokenPath,
        member: &str,
        value: &str,
        refusal: &Refusal,
        from: Option<IpAddr>,
        now: UnixMillis,
    ) -> Self {
        /// Strangers choose these texts, and the timeline keeps them for good.
        const KEPT_CHARACTERS: usize = 256;
        let kept = |text: &str| text.chars().take(KEPT_CHARACTERS).collect::<String>();
        Self {
            path: path.clone(),
            member: kept(&path.redact(member)),
            value: kept(&path.redact(value)),
            code: refusal.code(),
            text: path.redact(&refusal.to_string()),
            from,
            now,
        }
    }
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

impl Registry {
    /// Opens or creates the registry in its directory and reads what is stored.
    ///
    /// Nothing is written until somebody runs the [`Writer`]. It ends when all clones of the
    /// registry are gone.
    pub async fn open(config: Config) -> Result<(Self, Writer), OpenError> {
        let directory = Directory::claim(&config.data_dir)?;
        let (store, kept, loaded) = match &config.cluster {
            None => {
                let path = directory.database();
                let (sqlite, loaded) = Sqlite::open(path.clone()).await?;
                (Store::Sqlite(sqlite), Kept::Sqlite(path.into()), loaded)
            }
            Some(cluster) => {
                let (cluster, loaded) = Cluster::open(cluster.clone(), &config.data_dir).await?;
                let reader = Kept::Cluster(Arc::new(cluster.reader()));
                (Store::Cluster(cluster), reader, loaded)
            }
        };
        let head = loaded.head;
        let shared = Arc::new(Shared::new(loaded));
        let (commands, queue) = mpsc::channel(QUEUED_WRITES);
        let writer = Writer::new(config, directory, store, head, Arc::clone(&shared), queue);
        Ok((Self { shared, commands, kept }, writer))
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

    /// Writes a refusal into the timeline, unless that has enough of its token.
    pub async fn record_refusal(&self, refused: RefusedAttempt) -> Result<(), Error> {
        self.ask(|reply| Command::RecordRefusal { refused, reply }).await
    }

    /// Does what the operator whose key has the name `by` orders. Returns the token as it is then.
    pub async fn operate(
        &self,
        path: TokenPath,
        order: Order,
        by: &str,
        now: UnixMillis,
    ) -> Result<Arc<Founding>, Error> {
        let by = by.to_owned();
        self.ask(|reply| Command::Operate { path, order, by, now, reply }).await
    }

    /// Writes down that tokens expired, and forgets those that did so long ago. Tries to write even
    /// without them while writing does not work.
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

    /// The token at `path`, also when it has expired lately; nothing if it is unknown or revoked.
    pub fn founding(&self, path: &TokenPath) -> Option<Arc<Founding>> {
        self.shared.founding(path)
    }

    /// Makes sure that a token is in memory if another service made it a moment ago.
    ///
    /// When none of the paths is known, a store that others write to as well is asked once.
    pub async fn ensure_known<'a>(&self, paths: impl IntoIterator<Item = &'a TokenPath>) {
        if matches!(self.kept, Kept::Sqlite(_)) {
            return;
        }
        let mut paths = paths.into_iter().peekable();
        if paths.peek().is_some() && paths.all(|path| self.shared.held(path).is_none()) {
            self.catch_up().await;
        }
    }

    /// Makes sure that everything is in memory that other services have made so far.
    pub async fn catch_up(&self) {
        if matches!(self.kept, Kept::Cluster(_)) {
            // Without the store, what is in memory is the best answer there is.
            let _ = self.ask(|reply| Command::CatchUp { reply }).await;
        }
    }

    /// The token that an operator means: a public id, a path, or a bare token; a revoked one too.
    ///
    /// Who names a bare token may mean the one that was made by hand below some path.
    pub fn find(&self, name: &str) -> Option<Arc<Founding>> {
        if let Ok(id) = name.parse::<PublicId>() {
            return self.shared.by_id(&id).or_else(|| self.one_ending_in(&id));
        }
        let path = if name.starts_with('/') { name.to_owned() } else { format!("/{name}") };
        let held = self.shared.held(&TokenPath::stored(path));
        held.or_else(|| self.one_ending_in(&name.parse::<Token>().ok()?.public_id()))
    }

    /// The token by hand that ends so, if there are not several.
    fn one_ending_in(&self, id: &PublicId) -> Option<Arc<Founding>> {
        let mut found = self.shared.by_end(id);
        let one = found.pop()?;
        found.is_empty().then(|| Arc::new(one))
    }

    /// A living token that was made under another path than somebody asked for who knows this, the
    /// secret at the end of both.
    pub fn elsewhere(&self, token: &Token, now: UnixMillis) -> Option<TokenPath> {
        let lives = |held: &Founding| matches!(held.state(now), State::Open | State::Full);
        let short = self.founding(&TokenPath::short(token)).filter(|held| lives(held));
        let by_hand = || {
            let mut found = self.shared.by_end(&token.public_id()).into_iter();
            found.find(|held| lives(held) && held.path.end().as_ref() == Some(token))
        };
        short.map(|held| held.path.clone()).or_else(|| by_hand().map(|held| held.path))
    }

    /// At most `limit` tokens in this state and with this label, or any, made after index `after`;
    /// oldest first.
    pub fn list(
        &self,
        state: Option<State>,
        label: Option<&str>,
        after: u64,
        limit: usize,
        now: UnixMillis,
    ) -> Vec<Arc<Founding>> {
        let likely = |token: &Packed| {
            state.is_none_or(|state| token.state(now) == state)
                && (label.is_none() || token.is_labelled)
        };
        self.shared.page(after, limit, likely, |held| {
            label.is_none_or(|label| held.label.as_ref().is_some_and(|it| it.as_str() == label))
        })
    }

    /// At most `limit` entries of the timeline after entry `after`, of one token or of all.
    pub async fn timeline(
        &self,
        of: Option<&PublicId>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, VerifyError> {
        // What was before the token need not be read.
        let first = of.and_then(|id| self.shared.by_id(id)).map_or(0, |held| held.first_entry);
        let after = after.max(first.saturating_sub(1));
        match &self.kept {
            Kept::Sqlite(path) => sqlite::timeline(path, of, after, limit).await,
            Kept::Cluster(reader) => reader.timeline(of, after, limit).await,
        }
    }

    /// Whether the registry is kept in a cluster, with others who look after it.
    pub fn is_shared(&self) -> bool {
        matches!(self.kept, Kept::Cluster(_))
    }

    /// Follows the whole chain of the timeline.
    pub async fn verify(&self) -> Result<Verified, VerifyError> {
        match &self.kept {
            Kept::Sqlite(path) => sqlite::verify(path).await,
            Kept::Cluster(reader) => reader.verify().await,
        }
    }

    /// All of the registry as it is at one moment, to be given to [`restore()`].
    pub async fn backup(&self) -> Result<Backup, BackupError> {
        match &self.kept {
            Kept::Sqlite(path) => sqlite::backup(path).await,
            Kept::Cluster(reader) => Err(BackupError::Elsewhere { url: reader.url().to_owned() }),
        }
    }

    /// Reads everything that is stored and looks for damage.
    pub async fn check(&self) -> Result<(), OpenError> {
        match &self.kept {
            Kept::Sqlite(path) => sqlite::check(path).await,
            Kept::Cluster(reader) => reader.check().await,
        }
    }

    /// How long transactions took.
    pub fn commit_time(&self) -> &Histogram {
        self.shared.commit_time()
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

    /// Tells whenever a token becomes full, a labelled one is made, or one goes; perhaps repeatedly.
    pub fn milestones(&self) -> broadcast::Receiver<Milestone> {
        self.shared.milestones()
    }

    /// The index of the last change of any token.
    pub fn index(&self) -> u64 {
        self.shared.index()
    }

    /// Whether the last write found the store in order, and one that others share has answered since.
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
#[cfg(test)]
mod tests_operators;
#[cfg(test)]
mod tests_shared;
#[cfg(test)]
mod tests_upgrade;
