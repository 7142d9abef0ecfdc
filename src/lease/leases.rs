use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::LeaseId;

/// The leases there are, and the keys attached to them.
///
/// Invariant: `owner[key] == id` exactly when `granted[id].keys` holds `key`.
#[derive(Debug, Clone, Default)]
pub struct Leases {
    granted: BTreeMap<LeaseId, Lease>,
    owner: BTreeMap<Arc<[u8]>, LeaseId>,
}

#[derive(Debug, Clone, Default)]
struct Lease {
    ttl_seconds: i64,
    /// Left at the last checkpoint; 0: all of them.
    remaining_seconds: i64,
    keys: BTreeSet<Arc<[u8]>>,
}

impl Leases {
    /// Adds a lease; false, and no change, when there is one with this id.
    pub fn grant(&mut self, id: LeaseId, ttl_seconds: i64) -> bool {
        if self.granted.contains_key(&id) {
            return false;
        }
        self.granted.insert(id, Lease { ttl_seconds, ..Lease::default() });
        true
    }

    /// Removes a lease and hands out its keys, ascending; `None` when there is no such lease.
    pub fn revoke(&mut self, id: LeaseId) -> Option<Vec<Arc<[u8]>>> {
        let lease = self.granted.remove(&id)?;
        for key in &lease.keys {
            self.owner.remove(key);
        }
        Some(lease.keys.into_iter().collect())
    }

    /// The seconds a lease was granted.
    pub fn ttl(&self, id: LeaseId) -> Option<i64> {
        self.granted.get(&id).map(|lease| lease.ttl_seconds)
    }

    /// Notes how many seconds a lease has left, 0 for all of them; false when there is no such lease.
    pub fn checkpoint(&mut self, id: LeaseId, remaining_seconds: i64) -> bool {
        let Some(lease) = self.granted.get_mut(&id) else { return false };
        lease.remaining_seconds = remaining_seconds;
        true
    }

    /// The seconds a lease had left at its last checkpoint; 0: all of them.
    pub fn remaining(&self, id: LeaseId) -> i64 {
        self.granted.get(&id).map_or(0, |lease| lease.remaining_seconds)
    }

    /// The keys of a lease, ascending.
    pub fn keys(&self, id: LeaseId) -> Option<impl Iterator<Item = &[u8]>> {
        self.granted.get(&id).map(|lease| lease.keys.iter().map(|key| &key[..]))
    }

    /// All leases with the seconds they were granted and those left at their last checkpoint,
    /// ascending by id.
    pub fn iter(&self) -> impl Iterator<Item = (LeaseId, i64, i64)> {
        let entry =
            |(id, lease): (&LeaseId, &Lease)| (*id, lease.ttl_seconds, lease.remaining_seconds);
        self.granted.iter().map(entry)
    }

    /// Moves a key to this lease; 0 takes it off any. An unknown lease keeps no keys.
    pub fn attach(&mut self, key: &[u8], lease: i64) {
        if !self.owner.is_empty()
            && let Some((key, id)) = self.owner.remove_entry(key)
            && let Some(lease) = self.granted.get_mut(&id)
        {
            lease.keys.remove(&key);
        }
        if lease == 0 {
            return;
        }
        if let Some(granted) = self.granted.get_mut(&LeaseId(lease)) {
            let key: Arc<[u8]> = key.into();
            granted.keys.insert(Arc::clone(&key));
            self.owner.insert(key, LeaseId(lease));
        }
    }

    /// Takes a key off its lease.
    pub fn detach(&mut self, key: &[u8]) {
        self.attach(key, 0);
    }

    /// The lease a key hangs on.
    pub fn owner(&self, key: &[u8]) -> Option<LeaseId> {
        self.owner.get(key).copied()
    }
}
