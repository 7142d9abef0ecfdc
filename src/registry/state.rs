use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use prometheus::{Histogram, HistogramOpts};
use tokio::sync::{Notify, broadcast};

use super::packed::Packed;
use super::timeline::Head;
use super::tokens::Tokens;
use crate::admission::{Founding, State, UnixMillis};
use crate::token::{PublicId, TokenPath};

/// How many groups the waiters are split into. A change wakes one group, most of which goes back to
/// sleep; a signal of its own for every token would cost more memory than the token.
const WAITER_GROUPS: usize = 256;

/// What the writer publishes and readers see.
pub(super) struct Shared {
    tokens: RwLock<Tokens>,
    /// Seconds that transactions took.
    commit_time: Histogram,
    index: AtomicU64,
    commits: AtomicU64,
    writable: AtomicBool,
    cluster_id: String,
    waiters: Vec<Notify>,
    hasher: RandomState,
    milestones: broadcast::Sender<Milestone>,
}

/// What those hear who show tokens elsewhere.
#[derive(Debug, Clone)]
pub enum Milestone {
    /// This token has all its founders, was made with a label, was revoked, or is forgotten.
    Token(Arc<Founding>),
    /// Anything may be different.
    Everything,
}

/// Who falls behind by so many misses some, hears that, and looks at everything.
const MILESTONES: usize = 1024;

/// Everything a registry holds.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) tokens: Tokens,
    pub(super) last_index: u64,
    pub(super) cluster_id: String,
    /// The end of the timeline.
    pub(super) head: Head,
}

/// What another service wrote.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) changed: HashMap<TokenPath, Arc<Founding>>,
    pub(super) forgotten: Vec<TokenPath>,
    /// The last index and the end of the timeline from then on.
    pub(super) head: Option<(u64, Head)>,
}

/// How many tokens are in each state, and how often the database was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub open: u64,
    pub full: u64,
    pub expired: u64,
    pub revoked: u64,
    /// Transactions since the start, each with one fsync.
    pub commits: u64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(loaded: Loaded) -> Self {
        Self {
            tokens: RwLock::new(loaded.tokens),
            commit_time: commit_time(),
            index: AtomicU64::new(loaded.last_index),
            commits: AtomicU64::new(0),
            writable: AtomicBool::new(true),
            cluster_id: loaded.cluster_id,
            waiters: (0..WAITER_GROUPS).map(|_| Notify::new()).collect(),
            hasher: RandomState::new(),
            milestones: broadcast::Sender::new(MILESTONES),
        }
    }

    pub(super) fn founding(&self, path: &TokenPath) -> Option<Arc<Founding>> {
        self.held(path).filter(|held| held.revoked_at.is_none())
    }

    /// The token at `path`, even a revoked one.
    pub(super) fn held(&self, path: &TokenPath) -> Option<Arc<Founding>> {
        self.tokens.read().get(path)
    }

    /// The token with this public id, even a revoked one.
    pub(super) fn by_id(&self, id: &PublicId) -> Option<Arc<Founding>> {
        self.tokens.read().by_id(id.bits())
    }

    /// The tokens made by hand whose paths end in one with this public id, the last one first.
    pub(super) fn by_end(&self, id: &PublicId) -> Vec<Founding> {
        self.tokens.read().by_end(id.bits()).collect()
    }

    /// At most `limit` tokens made after `after`, oldest first, for which `likely` holds, which looks at
    /// what is cheap to see, and then `wanted`.
    pub(super) fn page(
        &self,
        after: u64,
        limit: usize,
        likely: impl Fn(&Packed) -> bool,
        wanted: impl Fn(&Founding) -> bool,
    ) -> Vec<Arc<Founding>> {
        let tokens = self.tokens.read();
        let later = tokens.later(after).filter(|(_, token)| likely(token));
        let found = later.map(|(created, token)| token.unpack(created));
        found.filter(|held| wanted(held)).take(limit).map(Arc::new).collect()
    }

    pub(super) fn commit_time(&self) -> &Histogram {
        &self.commit_time
    }

    pub(super) fn committed(&self, took: Duration) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commit_time.observe(took.as_secs_f64());
    }

    pub(super) fn changes_of(&self, path: &TokenPath) -> &Notify {
        let group = self.hasher.hash_one(path) % WAITER_GROUPS as u64;
        let group = usize::try_from(group).expect("a remainder of 256 fits everywhere");
        &self.waiters[group]
    }

    /// Shows committed states, then wakes whoever waits for them.
    pub(super) fn publish(&self, changed: HashMap<TokenPath, Arc<Founding>>, last_index: u64) {
        let milestones: Vec<Milestone> = changed.values().filter_map(milestone).collect();
        let paths: Vec<TokenPath> = changed.keys().cloned().collect();
        let mut tokens = self.tokens.write();
        changed.into_values().for_each(|founding| tokens.put(founding));
        drop(tokens);
        self.index.store(last_index, Ordering::Release);
        for path in &paths {
            self.changes_of(path).notify_waiters();
        }
        milestones.into_iter().for_each(|milestone| self.tell(milestone));
    }

    /// Takes tokens away that nobody may ask for any more.
    pub(super) fn forget(&self, paths: &[TokenPath]) {
        let mut tokens = self.tokens.write();
        let gone: Vec<_> = paths.iter().filter_map(|path| tokens.remove(path)).collect();
        drop(tokens);
        for path in paths {
            self.changes_of(path).notify_waiters();
        }
        gone.into_iter().for_each(|founding| self.tell(Milestone::Token(founding)));
    }

    /// Shows what the database holds instead of everything shown before.
    pub(super) fn replace(&self, loaded: Loaded) {
        *self.tokens.write() = loaded.tokens;
        self.index.store(loaded.last_index, Ordering::Release);
        for group in &self.waiters {
            group.notify_waiters();
        }
        self.tell(Milestone::Everything);
    }

    fn tell(&self, milestone: Milestone) {
        // Nobody may be there to hear it.
        let _ = self.milestones.send(milestone);
    }

    /// The tokens for which `wanted` holds, oldest first.
    pub(super) fn select(&self, wanted: impl Fn(&Packed) -> bool) -> Vec<Arc<Founding>> {
        self.page(0, usize::MAX, wanted, |_| true)
    }

    pub(super) fn full(&self, now: UnixMillis) -> Vec<Arc<Founding>> {
        self.select(|token| token.state(now) == State::Full)
    }

    pub(super) fn milestones(&self) -> broadcast::Receiver<Milestone> {
        self.milestones.subscribe()
    }

    pub(super) fn index(&self) -> u64 {
        self.index.load(Ordering::Acquire)
    }

    pub(super) fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }

    pub(super) fn set_writable(&self, writable: bool) {
        self.writable.store(writable, Ordering::Relaxed);
    }

    pub(super) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    pub(super) fn counts(&self, now: UnixMillis) -> Counts {
        let commits = self.commits.load(Ordering::Relaxed);
        let mut counts = Counts { commits, ..Counts::default() };
        let tokens = self.tokens.read();
        for (_, token) in tokens.later(0) {
            match token.state(now) {
                State::Open => counts.open += 1,
                State::Full => counts.full += 1,
                State::Expired => counts.expired += 1,
                State::Revoked => counts.revoked += 1,
            }
        }
        counts
    }
}

fn milestone(held: &Arc<Founding>) -> Option<Milestone> {
    let expected = held.label.is_some() && held.founders.is_empty();
    let reached = held.revoked_at.is_some() || expected || held.is_full();
    reached.then(|| Milestone::Token(Arc::clone(held)))
}

fn commit_time() -> Histogram {
    let options = HistogramOpts::new(
        "quorate_registry_commit_duration_seconds",
        "Time of a transaction of the registry, fsync included.",
    )
    .buckets(vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0]);
    Histogram::with_opts(options).expect("the name and the buckets are well-formed")
}
