use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::LeaseId;

/// A lease that was not renewed for this share of its time is most likely left alone: clients renew
/// after a third. Before that a checkpoint would only have to be taken back.
const FIRST_CHECKPOINT: f64 = 0.4;
/// Further checkpoints come after this share.
const NEXT_CHECKPOINT: f64 = 0.1;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// When each lease expires, by the clock of the leader; empty on every other member.
///
/// Time is given as the duration since some fixed start of the caller's choice.
#[derive(Debug, Clone, Default)]
pub struct Deadlines {
    leading: bool,
    deadlines: BTreeMap<LeaseId, Deadline>,
    /// The same, soonest first.
    queue: BTreeSet<(Duration, LeaseId)>,
    /// When the next checkpoint of each is due, soonest first.
    checkpoints: BTreeSet<(Duration, LeaseId)>,
}

#[derive(Debug, Clone, Copy)]
struct Deadline {
    ttl_seconds: i64,
    at: Duration,
    checkpoint_at: Duration,
    /// Whether the others know that less than all of the time is left.
    checkpointed: bool,
    /// It was given out as expired, so its end may stand in the log already.
    ending: bool,
}

/// A lease that was given its full time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    pub ttl_seconds: i64,
    /// The others know less of it: that must be refilled before the renewal is acknowledged.
    pub refill: bool,
}

/// What is left of a lease, to be made known to all members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    pub id: LeaseId,
    /// Rounded up.
    pub remaining_seconds: i64,
}

impl Deadlines {
    /// Starts the clock of every lease: given are the seconds granted and those left at the last
    /// checkpoint, 0 for all. `extend` makes up for the time without a leader.
    pub fn promote(
        &mut self,
        leases: impl IntoIterator<Item = (LeaseId, i64, i64)>,
        now: Duration,
        extend: Duration,
    ) {
        self.demote();
        self.leading = true;
        for (id, ttl_seconds, remaining_seconds) in leases {
            let checkpointed = remaining_seconds != 0;
            let left = if checkpointed { remaining_seconds } else { ttl_seconds };
            let at = now + extend + seconds(left);
            let checkpoint_at = now + share(ttl_seconds, NEXT_CHECKPOINT);
            let ending = false;
            self.insert(id, Deadline { ttl_seconds, at, checkpoint_at, checkpointed, ending });
        }
    }

    /// Stops all clocks: another member leads, or none.
    pub fn demote(&mut self) {
        *self = Self::default();
    }

    /// Whether the clocks run here.
    pub fn leading(&self) -> bool {
        self.leading
    }

    /// Starts the clock of a new lease; nothing happens on a member that does not lead.
    pub fn grant(&mut self, id: LeaseId, ttl_seconds: i64, now: Duration) {
        if self.leading {
            self.fill(id, ttl_seconds, now, false);
        }
    }

    /// Forgets a lease.
    pub fn revoke(&mut self, id: LeaseId) {
        if let Some(deadline) = self.deadlines.remove(&id) {
            self.queue.remove(&(deadline.at, id));
            self.checkpoints.remove(&(deadline.checkpoint_at, id));
        }
    }

    /// Gives a lease its full time again; `None` when it is unknown.
    ///
    /// A lease that has run out is renewed as well, as long as it was not given out as expired: see
    /// [`Self::is_ending`].
    pub fn renew(&mut self, id: LeaseId, now: Duration) -> Option<Renewal> {
        let Deadline { ttl_seconds, checkpointed, .. } = *self.deadlines.get(&id)?;
        self.fill(id, ttl_seconds, now, checkpointed);
        Some(Renewal { ttl_seconds, refill: checkpointed })
    }

    /// Whether a lease was given out as expired. It must not be renewed: whoever was told of that renewal would lose
    /// the lease in the next moment.
    pub fn is_ending(&self, id: LeaseId) -> bool {
        self.deadlines.get(&id).is_some_and(|deadline| deadline.ending)
    }

    /// A checkpoint was applied that may be of an earlier leader: the others know that less is left.
    pub fn told(&mut self, id: LeaseId) {
        if let Some(deadline) = self.deadlines.get_mut(&id) {
            deadline.checkpointed = true;
        }
    }

    /// A refill was applied, and only now the others know of the full time. One that an earlier
    /// leader has acknowledged counts here as well.
    pub fn refilled(&mut self, id: LeaseId, now: Duration) {
        if let Some(deadline) = self.deadlines.get(&id).copied()
            && deadline.checkpointed
            && !deadline.ending
        {
            self.fill(id, deadline.ttl_seconds, now, false);
        }
    }

    /// Up to `limit` leases whose time left the others should know by now, the most overdue first.
    /// From then on a renewal has to take that back.
    pub fn take_checkpoints(&mut self, now: Duration, limit: usize) -> Vec<Checkpoint> {
        let due = self.checkpoints.iter().take_while(|(at, _)| *at <= now).take(limit);
        let due: Vec<LeaseId> = due.map(|(_, id)| *id).collect();
        due.into_iter().filter_map(|id| self.checkpoint(id, now)).collect()
    }

    /// The same for all leases: what a leader tells before it hands over.
    pub fn take_all_checkpoints(&mut self, now: Duration) -> Vec<Checkpoint> {
        let all: Vec<LeaseId> = self.deadlines.keys().copied().collect();
        all.into_iter().filter_map(|id| self.checkpoint(id, now)).collect()
    }

    fn checkpoint(&mut self, id: LeaseId, now: Duration) -> Option<Checkpoint> {
        let mut deadline = self.deadlines.get(&id).copied()?;
        deadline.checkpoint_at = now + share(deadline.ttl_seconds, NEXT_CHECKPOINT);
        // One that has run out is about to be revoked.
        let left = deadline.at.saturating_sub(now).max(SHORTEST);
        let left = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let remaining_seconds = i64::try_from(left).unwrap_or(i64::MAX);
        // What an election has added is not to be told as less than all.
        let told = remaining_seconds < deadline.ttl_seconds;
        deadline.checkpointed |= told;
        self.insert(id, deadline);
        told.then_some(Checkpoint { id, remaining_seconds })
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

    /// Up to `limit` leases that have run out, the most overdue first. They stay until revoked, and are not
    /// renewed any more.
    pub fn expired(&mut self, now: Duration, limit: usize) -> Vec<LeaseId> {
        let overdue = self.queue.iter().take_while(|(at, _)| *at <= now);
        let expired: Vec<LeaseId> = overdue.take(limit).map(|(_, id)| *id).collect();
        for id in &expired {
            if let Some(deadline) = self.deadlines.get_mut(id) {
                deadline.ending = true;
            }
        }
        expired
    }

    /// Whether [`Self::expired`] or [`Self::take_checkpoints`] would give something.
    pub fn is_due(&self, now: Duration) -> bool {
        let due =
            |queue: &BTreeSet<(Duration, LeaseId)>| queue.first().is_some_and(|(at, _)| *at <= now);
        due(&self.queue) || due(&self.checkpoints)
    }

    /// When the next lease runs out.
    #[cfg(test)]
    pub fn next(&self) -> Option<Duration> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// All leases, soonest to expire first.
    pub fn by_expiry(&self) -> impl Iterator<Item = LeaseId> {
        self.queue.iter().map(|(_, id)| *id)
    }

    fn fill(&mut self, id: LeaseId, ttl_seconds: i64, now: Duration, checkpointed: bool) {
        let at = now + seconds(ttl_seconds);
        let checkpoint_at = now + share(ttl_seconds, FIRST_CHECKPOINT);
        let ending = false;
        self.insert(id, Deadline { ttl_seconds, at, checkpoint_at, checkpointed, ending });
    }

    fn insert(&mut self, id: LeaseId, deadline: Deadline) {
        self.revoke(id);
        self.queue.insert((deadline.at, id));
        self.checkpoints.insert((deadline.checkpoint_at, id));
        self.deadlines.insert(id, deadline);
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn share(ttl_seconds: i64, share: f64) -> Duration {
    // Longer times are all alike: the bound is far below.
    let ttl = seconds(ttl_seconds.min(1_000_000));
    ttl.mul_f64(share).clamp(SHORTEST, LONGEST)
}
