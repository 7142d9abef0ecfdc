use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Notify, watch};

use super::database::Loaded;
use crate::admission::{Founding, State, UnixMillis};
use crate::token::TokenPath;

/// How many groups the waiters are split into. A change wakes one group, most of which goes back to
/// sleep; a signal of its own for every token would cost more memory than the token.
const WAITER_GROUPS: usize = 256;

/// What the writer publishes and readers see.
pub(super) struct Shared {
    tokens: RwLock<HashMap<TokenPath, Arc<Founding>>>,
    index: AtomicU64,
    commits: AtomicU64,
    writable: AtomicBool,
    cluster_id: String,
    waiters: Vec<Notify>,
    hasher: RandomState,
    milestones: watch::Sender<u64>,
}

/// How many tokens are in each state, and how often the database was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub open: u64,
    pub full: u64,
    pub expired: u64,
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
            index: AtomicU64::new(loaded.last_index),
            commits: AtomicU64::new(0),
            writable: AtomicBool::new(true),
            cluster_id: loaded.cluster_id,
            waiters: (0..WAITER_GROUPS).map(|_| Notify::new()).collect(),
            hasher: RandomState::new(),
            milestones: watch::Sender::new(0),
        }
    }

    pub(super) fn founding(&self, path: &TokenPath) -> Option<Arc<Founding>> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    pub(super) fn changes_of(&self, path: &TokenPath) -> &Notify {
        let group = self.hasher.hash_one(path) % WAITER_GROUPS as u64;
        let group = usize::try_from(group).expect("a remainder of 256 fits everywhere");
        &self.waiters[group]
    }

    /// Shows committed states, then wakes whoever waits for them.
    pub(super) fn publish(&self, changed: HashMap<TokenPath, Arc<Founding>>, last_index: u64) {
        let passed = |held: &Arc<Founding>| {
            held.is_full() || (held.label.is_some() && held.founders.is_empty())
        };
        let milestone = changed.values().any(passed);
        let paths: Vec<TokenPath> = changed.keys().cloned().collect();
        self.tokens.write().unwrap_or_else(PoisonError::into_inner).extend(changed);
        self.index.store(last_index, Ordering::Release);
        self.commits.fetch_add(1, Ordering::Relaxed);
        for path in &paths {
            self.changes_of(path).notify_waiters();
        }
        if milestone {
            self.milestones.send_modify(|count| *count += 1);
        }
    }

    /// Takes tokens away that nobody may ask for any more.
    pub(super) fn forget(&self, paths: &[TokenPath]) {
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        for path in paths {
            tokens.remove(path);
        }
        drop(tokens);
        for path in paths {
            self.changes_of(path).notify_waiters();
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.milestones.send_modify(|count| *count += 1);
    }

    /// Shows what the database holds instead of everything shown before.
    pub(super) fn replace(&self, loaded: Loaded) {
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = loaded.tokens;
        self.index.store(loaded.last_index, Ordering::Release);
        for group in &self.waiters {
            group.notify_waiters();
        }
        self.milestones.send_modify(|count| *count += 1);
    }

    /// The tokens for which `wanted` holds, oldest first.
    pub(super) fn select(&self, wanted: impl Fn(&Founding) -> bool) -> Vec<Arc<Founding>> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = tokens.values().filter(|held| wanted(held)).cloned().collect();
        drop(tokens);
        found.sort_unstable_by_key(|founding| founding.created_index);
        found
    }

    pub(super) fn full(&self, now: UnixMillis) -> Vec<Arc<Founding>> {
        self.select(|founding| founding.state(now) == State::Full)
    }

    pub(super) fn milestones(&self) -> watch::Receiver<u64> {
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
        for founding in self.tokens.read().unwrap_or_else(PoisonError::into_inner).values() {
            match founding.state(now) {
                State::Open => counts.open += 1,
                State::Full => counts.full += 1,
                State::Expired => counts.expired += 1,
            }
        }
        counts
    }
}
