use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, RwLock};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use super::{Error, Handle};
use crate::auth::Caller;
use crate::lease::{Checkpoint, Deadlines, LeaseId, Renewal, until_known};
use crate::proto::etcdserverpb::{LeaseCheckpoint, LeaseCheckpointRequest, LeaseRevokeRequest};
use crate::proto::quorate::replica::request::Op;
use crate::raft::{Role, Term};

/// How often the leader looks for expired leases.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// Revocations under way together, so that a flood of them leaves room for clients.
const REVOKE_AT_ONCE: usize = 500;
/// Leases in one entry of checkpoints (etcd's `maxLeaseCheckpointBatchSize`).
const CHECKPOINTS: usize = 1000;

/// The leader's clock over the replicated leases. Only the leader has deadlines: followers' clocks
/// decide nothing.
#[derive(Debug)]
pub(super) struct LeaseClock {
    started: Instant,
    deadlines: Mutex<Deadlines>,
    /// Held for writing while checkpoints are on their way into the log and for reading while
    /// refills are: a refill that overtook an older checkpoint would be undone by it.
    order: RwLock<()>,
    /// In which term, and when, this member asked whether it leads and has applied all that came before, and was told so.
    confirmed: Mutex<Option<(Term, Duration)>>,
    /// A lease is gone, or the leadership.
    ended: Notify,
}

/// What comes of a renewal.
enum Turn {
    Unknown,
    Renewed(Renewal),
    /// It is being revoked: what comes of that has to be waited for.
    Ending,
    NotLeading,
}

impl LeaseClock {
    pub(super) fn new() -> Self {
        let (started, deadlines) = (Instant::now(), Mutex::default());
        let (order, confirmed, ended) = (RwLock::default(), Mutex::default(), Notify::new());
        Self { started, deadlines, order, confirmed, ended }
    }

    /// This member leads now: given are the seconds granted and those left at the last checkpoint;
    /// `extend` comes on top for the time without a leader.
    pub(super) fn promote(
        &self,
        leases: impl IntoIterator<Item = (LeaseId, i64, i64)>,
        extend: Duration,
    ) {
        let now = self.now();
        self.deadlines.lock().promote(leases, now, extend);
    }

    /// Another member leads.
    pub(super) fn demote(&self) {
        self.deadlines.lock().demote();
        self.ended.notify_waiters();
    }

    /// A lease was granted; no effect unless this member leads.
    pub(super) fn granted(&self, id: LeaseId, ttl: i64) {
        let now = self.now();
        self.deadlines.lock().grant(id, ttl, now);
    }

    /// A lease is gone.
    pub(super) fn revoked(&self, id: LeaseId) {
        self.deadlines.lock().revoke(id);
        self.ended.notify_waiters();
    }

    /// All members know that so many seconds are left of these leases, 0 for all.
    pub(super) fn checkpointed(&self, left: &[(LeaseId, i64)]) {
        let now = self.now();
        let mut deadlines = self.deadlines.lock();
        for (id, seconds) in left {
            match seconds {
                0 => deadlines.refilled(*id, now),
                _ => deadlines.told(*id),
            }
        }
    }

    /// An error where the clocks do not run: not any more, or not yet.
    fn remaining(&self, id: LeaseId) -> Result<Option<(i64, i64)>, Error> {
        let now = self.now();
        let deadlines = self.deadlines.lock();
        if !deadlines.leading() {
            return Err(Error::NoLeader);
        }
        Ok(deadlines.remaining(id, now))
    }

    /// All leases, soonest to expire first; empty unless this member leads.
    pub(super) fn by_expiry(&self) -> Vec<LeaseId> {
        self.deadlines.lock().by_expiry()
    }

    fn renew(&self, id: LeaseId) -> Turn {
        let now = self.now();
        let mut deadlines = self.deadlines.lock();
        if !deadlines.leading() {
            return Turn::NotLeading;
        }
        if deadlines.is_ending(id) {
            return Turn::Ending;
        }
        deadlines.renew(id, now).map_or(Turn::Unknown, Turn::Renewed)
    }

    /// Waits until a lease that is ending is gone, or the leadership.
    async fn end_of(&self, id: LeaseId) {
        let mut ended = pin!(self.ended.notified());
        ended.as_mut().enable();
        // It may have gone before this listened.
        if self.deadlines.lock().is_ending(id) {
            ended.await;
        }
    }

    fn is_due(&self) -> bool {
        self.ask(Deadlines::is_due)
    }

    fn expired(&self) -> Vec<LeaseId> {
        self.ask(|deadlines, now| deadlines.expired(now, REVOKE_AT_ONCE))
    }

    fn take_checkpoints(&self) -> Vec<Checkpoint> {
        self.ask(|deadlines, now| deadlines.take_checkpoints(now, CHECKPOINTS))
    }

    /// Asks until that is known; between two times others may go on.
    fn ask<T>(&self, question: impl Fn(&mut Deadlines, Duration) -> Option<T>) -> T {
        let now = self.now();
        until_known(|| question(&mut self.deadlines.lock(), now))
    }

    fn take_all_checkpoints(&self) -> Vec<Checkpoint> {
        let now = self.now();
        self.deadlines.lock().take_all_checkpoints(now)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Makes sure that this member leads and has applied what came before its term, which is then given. Once in an election
/// timeout costs a round of heartbeats, the rest nothing: no later leader gives less than that on top.
///
/// A process that was stopped, or is cut off, believes for a while that it leads (etcd `ensureLeadership`).
async fn confirm(handle: &Handle) -> Result<Term, Error> {
    let clock = &handle.0.leases;
    let leads_in = || {
        let status = *handle.0.status.borrow();
        if status.role == Role::Leader { Ok(status.term) } else { Err(Error::NoLeader) }
    };
    let (term, asked) = (leads_in()?, clock.now());
    let lock = || clock.confirmed.lock();
    let known = *lock();
    if known.is_some_and(|(of, at)| of == term && asked < at + handle.0.config.election) {
        return Ok(term);
    }
    let mut status = handle.0.status.subscribe();
    tokio::select! {
        asked = handle.linearize() => asked?,
        // Another member has to be asked: no need to wait for what this one hears.
        _ = status.wait_for(|status| (status.role, status.term) != (Role::Leader, term)) => {}
    }
    if leads_in()? != term {
        return Err(Error::NoLeader);
    }
    let mut confirmed = lock();
    *confirmed = (*confirmed).max(Some((term, asked)));
    Ok(term)
}

/// Renews a lease on this member, which leads: its granted seconds, or `None` when it is unknown.
pub(super) async fn renew(handle: &Handle, id: LeaseId) -> Result<Option<i64>, Error> {
    confirm(handle).await?;
    let clock = &handle.0.leases;
    let mut current = false;
    let renewal = loop {
        match clock.renew(id) {
            Turn::Renewed(renewal) => break renewal,
            Turn::Unknown if current => return Ok(None),
            // The member that granted it may have applied more than this one.
            Turn::Unknown => {
                handle.linearize().await?;
                current = true;
            }
            Turn::NotLeading => return Err(Error::NoLeader),
            Turn::Ending => {
                let gone = tokio::time::timeout(handle.timeout(), clock.end_of(id)).await;
                gone.map_err(|_elapsed| Error::Timeout)?;
            }
        }
    };
    if renewal.refill {
        let _order = clock.order.read().await;
        let full = [Checkpoint { id, remaining_seconds: 0 }];
        handle.propose(Caller::Cluster, checkpoint(&full)).await?;
    }
    Ok(Some(renewal.ttl_seconds))
}

/// The seconds a lease has left by the clocks of this member, which leads, and those it was granted; `None` when it
/// is unknown.
pub(super) async fn remaining(handle: &Handle, id: LeaseId) -> Result<Option<(i64, i64)>, Error> {
    let clock = &handle.0.leases;
    if let Some(known) = clock.remaining(id)? {
        return Ok(Some(known));
    }
    // As for a renewal: what is not known here yet is not unknown.
    handle.linearize().await?;
    clock.remaining(id)
}

/// Tells all members what is left of every lease, so that the next leader goes on exactly there.
pub(super) async fn tell_all(handle: &Handle) {
    let Ok(term) = confirm(handle).await else { return };
    let _order = handle.0.leases.order.write().await;
    for batch in handle.0.leases.take_all_checkpoints().chunks(CHECKPOINTS) {
        if let Err(error) =
            handle.propose_in(term, Caller::Cluster, Op::LeaseCheckpoint(checkpoint(batch))).await
        {
            // The next leader then goes on from an older checkpoint.
            debug!(error = %error, "leases were not checkpointed before the leadership is handed over");
            return;
        }
    }
}

/// Revokes leases whose time is up and checkpoints those that nobody renews, as long as this
/// member leads.
pub(super) async fn run(handle: Handle) {
    let mut tick = interval(CHECK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let handle = Arc::new(handle);
    loop {
        tick.tick().await;
        while handle.0.leases.is_due()
            && let Ok(term) = confirm(&handle).await
        {
            let more = expire(&handle, term).await;
            if !(checkpoint_due(&handle, term).await || more) {
                break;
            }
        }
    }
}

/// Whether there may be more.
async fn expire(handle: &Arc<Handle>, term: Term) -> bool {
    let expired = handle.0.leases.expired();
    let more = expired.len() == REVOKE_AT_ONCE;
    let mut revocations = JoinSet::new();
    for id in expired {
        let handle = Arc::clone(handle);
        revocations.spawn(async move {
            let revoke = Op::LeaseRevoke(LeaseRevokeRequest { id: id.0 });
            let revoked = handle.propose_in(term, Caller::Cluster, revoke).await;
            match &revoked {
                Ok(_) => handle.counts().leases.expired.inc(),
                // It stays expired: the next check tries again.
                Err(error) => {
                    debug!(lease.id = id.0, error = %error, "lease was not revoked");
                }
            }
            revoked.is_ok()
        });
    }
    let mut all = true;
    while let Some(revoked) = revocations.join_next().await {
        all &= revoked.unwrap_or(false);
    }
    more && all
}

/// Whether there may be more.
async fn checkpoint_due(handle: &Handle, term: Term) -> bool {
    let _order = handle.0.leases.order.write().await;
    let due = handle.0.leases.take_checkpoints();
    if due.is_empty() {
        return false;
    }
    let told =
        handle.propose_in(term, Caller::Cluster, Op::LeaseCheckpoint(checkpoint(&due))).await;
    if let Err(error) = &told {
        debug!(leases = due.len(), error = %error, "leases were not checkpointed");
    }
    told.is_ok() && due.len() == CHECKPOINTS
}

fn checkpoint(leases: &[Checkpoint]) -> LeaseCheckpointRequest {
    let told = |checkpoint: &Checkpoint| LeaseCheckpoint {
        id: checkpoint.id.0,
        remaining_ttl: checkpoint.remaining_seconds,
    };
    LeaseCheckpointRequest { checkpoints: leases.iter().map(told).collect() }
}
