use std::collections::HashMap;
use std::mem;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use rustc_hash::FxBuildHasher;

use crate::mvcc::{EventRef, Revision};

/// How many shards there are, so that readers seldom meet.
const SHARDS: usize = 16;
/// What a record takes beyond its bytes.
const OVERHEAD: usize = 128;

/// Records lately written or read, as they lie on disk, so that a hot one costs no walk through the tree there.
///
/// Each shard has two generations. New records and those found in the old one go to the young one;
/// when that is half of the budget it becomes the old one, and what was old is forgotten.
#[derive(Debug)]
pub(super) struct Cache {
    shards: [Mutex<Shard>; SHARDS],
    /// Of one generation of one shard.
    budget_bytes: usize,
}

/// Nobody outside chooses a revision.
type Records = HashMap<Revision, Bytes, FxBuildHasher>;

#[derive(Debug, Default)]
struct Shard {
    young: Records,
    old: Records,
    young_bytes: usize,
}

impl Cache {
    pub(super) fn new(budget_bytes: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            budget_bytes: budget_bytes / SHARDS / 2,
        }
    }

    pub(super) fn get(&self, at: Revision) -> Option<Bytes> {
        self.shard(at).find(at, self.budget_bytes).cloned()
    }

    /// Shows a record where it lies, if it is here.
    pub(super) fn visit<T>(
        &self,
        at: Revision,
        visit: impl FnOnce(EventRef<'_>) -> T,
    ) -> Option<T> {
        let mut shard = self.shard(at);
        let record = shard.find(at, self.budget_bytes)?;
        EventRef::decode(at, record).map(visit)
    }

    /// Keeps a record, whose bytes should be its alone: a slice would keep all of its buffer.
    pub(super) fn insert(&self, at: Revision, record: Bytes) {
        self.shard(at).insert(at, record, self.budget_bytes);
    }

    fn shard(&self, at: Revision) -> MutexGuard<'_, Shard> {
        let main = usize::try_from(at.main).unwrap_or_default();
        let shard = &self.shards[(main + at.sub as usize) % SHARDS];
        shard.lock()
    }
}

impl Shard {
    fn find(&mut self, at: Revision, budget_bytes: usize) -> Option<&Bytes> {
        if !self.young.contains_key(&at)
            && let Some(record) = self.old.remove(&at)
        {
            self.insert(at, record, budget_bytes);
        }
        self.young.get(&at).or_else(|| self.old.get(&at))
    }

    fn insert(&mut self, at: Revision, record: Bytes, budget_bytes: usize) {
        self.young_bytes += record.len() + OVERHEAD;
        self.young.insert(at, record);
        if self.young_bytes >= budget_bytes {
            self.old = mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}
