use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::LeaseId;

/// When each lease expires, by the clock of the leader; empty on every other member.
///
/// Time is given as the duration since some fixed start of the caller's choice.
#[derive(Debug, Clone, Default)]
pub struct Deadlines {
    leading: bool,
    deadlines: BTreeMap<LeaseId, Deadline>,
    /// The same, soonest first.
    queue: BTreeSet<(Duration, LeaseId)>,
}

#[derive(Debug, Clone, Copy)]
struct Deadline {
    ttl_seconds: i64,
    at: Duration,
}

impl Deadlines {
    /// Starts the clock of every lease afresh; `extend` makes up for the time without a leader.
    pub fn promote(
        &mut self,
        leases: impl IntoIterator<Item = (LeaseId, i64)>,
        now: Duration,
        extend: Duration,
    ) {
        self.demote();
        self.leading = true;
        for (id, ttl_seconds) in leases {
            self.set(id, ttl_seconds, now + extend);
        }
    }

    /// Stops all clocks: another member leads, or none.
    pub fn demote(&mut self) {
        self.leading = false;
        self.deadlines.clear();
        self.queue.clear();
    }

    /// Whether the clocks run here.
    pub fn leading(&self) -> bool {
        self.leading
    }

    /// Starts the clock of a new lease; nothing happens on a member that does not lead.
    pub fn grant(&mut self, id: LeaseId, ttl_seconds: i64, now: Duration) {
        if self.leading {
            self.set(id, ttl_seconds, now);
        }
    }

    /// Forgets a lease.
    pub fn revoke(&mut self, id: LeaseId) {
        if let Some(deadline) = self.deadlines.remove(&id) {
            self.queue.remove(&(deadline.at, id));
        }
    }

    /// Gives a lease its full time again: the granted seconds, `None` when unknown.
    ///
    /// A lease that has run out is renewed as well, as long as it is not revoked.
    pub fn renew(&mut self, id: LeaseId, now: Duration) -> Option<i64> {
        let ttl_seconds = self.deadlines.get(&id)?.ttl_seconds;
        self.set(id, ttl_seconds, now);
        Some(ttl_seconds)
    }

    /// Whole seconds left, negative when overdue, and the granted seconds; `None` when unknown.
    pub fn remaining(&self, id: LeaseId, now: Duration) -> Option<(i64, i64)> {
        let deadline = self.deadlines.get(&id)?;
        let seconds = |left: Duration| i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
        let left = match deadline.at.checked_sub(now) {
            Some(left) => seconds(left),
            None => -seconds(now - deadline.at),
        };
        Some((left, deadline.ttl_seconds))
    }

    /// Up to `limit` leases that have run out, the most overdue first. They stay until revoked.
    pub fn expired(&self, now: Duration, limit: usize) -> Vec<LeaseId> {
        let overdue = self.queue.iter().take_while(|(at, _)| *at <= now);
        overdue.take(limit).map(|(_, id)| *id).collect()
    }

    /// When the next lease runs out.
    pub fn next(&self) -> Option<Duration> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// All leases, soonest to expire first.
    pub fn by_expiry(&self) -> impl Iterator<Item = LeaseId> {
        self.queue.iter().map(|(_, id)| *id)
    }

    fn set(&mut self, id: LeaseId, ttl_seconds: i64, from: Duration) {
        let at = from + Duration::from_secs(u64::try_from(ttl_seconds).unwrap_or(0));
        if let Some(old) = self.deadlines.insert(id, Deadline { ttl_seconds, at }) {
            self.queue.remove(&(old.at, id));
        }
        self.queue.insert((at, id));
    }
}
