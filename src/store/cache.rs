use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::mvcc::{Event, KeyValue, Revision};

/// How many shards there are, so that readers seldom meet.
const SHARDS: usize = 16;
/// What a record takes beyond its key and value.
const OVERHEAD: usize = 200;

/// Records lately written or read, so that a hot one costs no walk through the tree on disk.
///
/// Each shard has two generations. New records and those found in the old one go to the young one;
/// when that is half of the budget it becomes the old one, and what was old is forgotten.
#[derive(Debug)]
pub(super) struct Cache {
    shards: [Mutex<Shard>; SHARDS],
    /// Of one generation of one shard.
    budget_bytes: usize,
}

#[derive(Debug, Default)]
struct Shard {
    young: HashMap<Revision, Event>,
    old: HashMap<Revision, Event>,
    young_bytes: usize,
}

impl Cache {
    pub(super) fn new(budget_bytes: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            budget_bytes: budget_bytes / SHARDS / 2,
        }
    }

    pub(super) fn get(&self, at: Revision) -> Option<Event> {
        let mut shard = self.shard(at).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = shard.young.get(&at) {
            return Some(record.clone());
        }
        let record = shard.old.remove(&at)?;
        shard.insert(at, record.clone(), self.budget_bytes);
        Some(record)
    }

    /// Keeps a record that owns its bytes alone: a slice would keep all of its buffer.
    pub(super) fn insert(&self, at: Revision, record: &Event) {
        let mut shard = self.shard(at).lock().unwrap_or_else(PoisonError::into_inner);
        shard.insert(at, record.clone(), self.budget_bytes);
    }

    /// Keeps a copy of a record.
    pub(super) fn insert_copy(&self, at: Revision, record: &Event) {
        let kv = KeyValue {
            key: Bytes::copy_from_slice(&record.kv.key),
            value: Bytes::copy_from_slice(&record.kv.value),
            ..record.kv
        };
        self.insert(at, &Event { kv, deleted: record.deleted });
    }

    fn shard(&self, at: Revision) -> &Mutex<Shard> {
        let main = usize::try_from(at.main).unwrap_or_default();
        &self.shards[(main + at.sub as usize) % SHARDS]
    }
}

impl Shard {
    fn insert(&mut self, at: Revision, record: Event, budget_bytes: usize) {
        self.young_bytes += record.kv.key.len() + record.kv.value.len() + OVERHEAD;
        self.young.insert(at, record);
        if self.young_bytes >= budget_bytes {
            self.old = mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}
