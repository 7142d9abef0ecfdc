use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::LeaseId;

/// A lease that was not renewed for this share of its time is most likely left alone: clients renew
/// after a third. Before that a checkpoint would only have to be taken back.
const FIRST_CHECKPOINT: f64 = 0.4;
/// Further checkpoints come after this share.
const NEXT_CHECKPOINT: f64 = 0.1;
/// Leases that were put off and now get their places, before anybody else may go on.
const MOVED_AT_ONCE: usize = 1000;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// When each lease expires, by the clock of the leader; empty on every other member.
///
/// Time is given as the duration since some fixed start of the caller's choice.
#[derive(Debug, Clone, Default)]
pub struct Deadlines {
    leading: bool,
    deadlines: BTreeMap<LeaseId, Deadline>,
    /// The leases by the end of their time.
    ends: Queue,
    /// The leases by the time of their next checkpoint.
    checkpoints: Queue,
}

#[derive(Debug, Clone, Copy)]
struct Deadline {
    ttl_seconds: i64,
    end: Due,
    checkpoint: Due,
    /// Whether the others know that less than all of the time is left.
    checkpointed: bool,
    /// It was given out as expired, so its end may stand in the log already.
    ending: bool,
}

/// When something is due, and the time at which its queue has it: the same or an earlier one.
#[derive(Debug, Clone, Copy)]
struct Due {
    at: Duration,
    queued: Duration,
}

/// Leases by a time, soonest first. One that was put off stays in its place until somebody comes to it there: most
/// leases are renewed many times before one of their times would have come, and that costs no search.
#[derive(Debug, Clone, Default)]
struct Queue(BTreeSet<(Duration, LeaseId)>);

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
            self.place(id, ttl_seconds, at, checkpoint_at, checkpointed);
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
            self.ends.remove(id, deadline.end);
            self.checkpoints.remove(id, deadline.checkpoint);
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
    /// From then on a renewal has to take that back. `None`: ask again.
    pub fn take_checkpoints(&mut self, now: Duration, limit: usize) -> Option<Vec<Checkpoint>> {
        let due = self.checkpoints.due(&mut self.deadlines, |it| &mut it.checkpoint, now, limit)?;
        Some(due.into_iter().filter_map(|id| self.checkpoint(id, now)).collect())
    }

    /// The same for all leases: what a leader tells before it hands over.
    pub fn take_all_checkpoints(&mut self, now: Duration) -> Vec<Checkpoint> {
        let all: Vec<LeaseId> = self.deadlines.keys().copied().collect();
        all.into_iter().filter_map(|id| self.checkpoint(id, now)).collect()
    }

    fn checkpoint(&mut self, id: LeaseId, now: Duration) -> Option<Checkpoint> {
        let deadline = self.deadlines.get_mut(&id)?;
        let next = now + share(deadline.ttl_seconds, NEXT_CHECKPOINT);
        self.checkpoints.put(id, &mut deadline.checkpoint, next);
        // One that has run out is about to be revoked.
        let left = deadline.end.at.saturating_sub(now).max(SHORTEST);
        let left = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let remaining_seconds = i64::try_from(left).unwrap_or(i64::MAX);
        // What an election has added is not to be told as less than all.
        let told = remaining_seconds < deadline.ttl_seconds;
        deadline.checkpointed |= told;
        told.then_some(Checkpoint { id, remaining_seconds })
    }

    /// Whole seconds left, negative when overdue, and the granted seconds; `None` when unknown.
    pub fn remaining(&self, id: LeaseId, now: Duration) -> Option<(i64, i64)> {
        let deadline = self.deadlines.get(&id)?;
        let seconds = |left: Duration| i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
        let left = match deadline.end.at.checked_sub(now) {
            Some(left) => seconds(left),
            None => -seconds(now - deadline.end.at),
        };
        Some((left, deadline.ttl_seconds))
    }

    /// Up to `limit` leases that have run out, the most overdue first. They stay until revoked, and are not
    /// renewed any more. `None`: ask again.
    pub fn expired(&mut self, now: Duration, limit: usize) -> Option<Vec<LeaseId>> {
        let expired = self.ends.due(&mut self.deadlines, |it| &mut it.end, now, limit)?;
        for id in &expired {
            if let Some(deadline) = self.deadlines.get_mut(id) {
                deadline.ending = true;
            }
        }
        Some(expired)
    }

    /// Whether [`Self::expired`] or [`Self::take_checkpoints`] would give something. `None`: ask again.
    pub fn is_due(&mut self, now: Duration) -> Option<bool> {
        let Self { deadlines, ends, checkpoints, .. } = self;
        let ended = !ends.due(deadlines, |it| &mut it.end, now, 1)?.is_empty();
        Some(ended || !checkpoints.due(deadlines, |it| &mut it.checkpoint, now, 1)?.is_empty())
    }

    /// When the next lease runs out.
    #[cfg(test)]
    pub fn next(&self) -> Option<Duration> {
        self.deadlines.values().map(|deadline| deadline.end.at).min()
    }

    /// All leases, soonest to expire first.
    pub fn by_expiry(&self) -> Vec<LeaseId> {
        let ends = self.deadlines.iter().map(|(id, deadline)| (deadline.end.at, *id));
        let mut ends: Vec<(Duration, LeaseId)> = ends.collect();
        ends.sort_unstable();
        ends.into_iter().map(|(_, id)| id).collect()
    }

    fn fill(&mut self, id: LeaseId, ttl_seconds: i64, now: Duration, checkpointed: bool) {
        let at = now + seconds(ttl_seconds);
        let checkpoint_at = now + share(ttl_seconds, FIRST_CHECKPOINT);
        self.place(id, ttl_seconds, at, checkpoint_at, checkpointed);
    }

    fn place(
        &mut self,
        id: LeaseId,
        ttl_seconds: i64,
        at: Duration,
        checkpoint_at: Duration,
        checkpointed: bool,
    ) {
        let Self { deadlines, ends, checkpoints, .. } = self;
        let deadline = deadlines.entry(id).or_insert_with(|| Deadline {
            ttl_seconds,
            end: ends.add(id, at),
            checkpoint: checkpoints.add(id, checkpoint_at),
            checkpointed,
            ending: false,
        });
        ends.put(id, &mut deadline.end, at);
        checkpoints.put(id, &mut deadline.checkpoint, checkpoint_at);
        (deadline.ttl_seconds, deadline.checkpointed) = (ttl_seconds, checkpointed);
        deadline.ending = false;
    }
}

impl Queue {
    fn add(&mut self, id: LeaseId, at: Duration) -> Due {
        self.0.insert((at, id));
        Due { at, queued: at }
    }

    fn remove(&mut self, id: LeaseId, due: Due) {
        self.0.remove(&(due.queued, id));
    }

    /// Moves a lease to another time: at once to an earlier one, to a later one when somebody comes to it.
    fn put(&mut self, id: LeaseId, due: &mut Due, at: Duration) {
        due.at = at;
        if at < due.queued {
            self.remove(id, *due);
            *due = self.add(id, at);
        }
    }

    /// Up to `limit` leases whose time has come, the most overdue first; `of` finds the time of this queue. `None`
    /// when so many were put off that others should have their turn before the rest is looked at.
    fn due(
        &mut self,
        deadlines: &mut BTreeMap<LeaseId, Deadline>,
        of: impl Fn(&mut Deadline) -> &mut Due,
        now: Duration,
        limit: usize,
    ) -> Option<Vec<LeaseId>> {
        let (mut come, mut put_off) = (Vec::new(), Vec::new());
        for (queued, id) in self.0.iter().take_while(|(queued, _)| *queued <= now) {
            let due = of(deadlines.get_mut(id).expect("a queue has leases that there are"));
            if due.at == *queued {
                come.push(*id);
            } else {
                put_off.push(*id);
            }
            if come.len() == limit || put_off.len() == MOVED_AT_ONCE {
                break;
            }
        }
        if put_off.is_empty() {
            return Some(come);
        }
        for id in put_off {
            let due = of(deadlines.get_mut(&id).expect("it was there just now"));
            self.remove(id, *due);
            *due = self.add(id, due.at);
        }
        None
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
