use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use super::Handle;
use crate::lease::{Deadlines, LeaseId};
use crate::proto::etcdserverpb::LeaseRevokeRequest;
use crate::proto::quorate::replica::request::Op;

/// How often the leader looks for expired leases.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// Leases revoked per check, so that a flood of them leaves room for clients.
const REVOKE_AT_ONCE: usize = 500;

/// The leader's clock over the replicated leases. Only the leader has deadlines: followers' clocks
/// decide nothing.
#[derive(Debug)]
pub(super) struct LeaseClock {
    started: Instant,
    deadlines: Mutex<Deadlines>,
}

impl LeaseClock {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), deadlines: Mutex::new(Deadlines::default()) }
    }

    /// This member leads now: every lease gets its full time again, and `extend` on top, because
    /// nobody knows how much of it was left.
    pub(super) fn promote(
        &self,
        leases: impl IntoIterator<Item = (LeaseId, i64)>,
        extend: Duration,
    ) {
        let now = self.now();
        self.lock().promote(leases, now, extend);
    }

    /// Another member leads.
    pub(super) fn demote(&self) {
        self.lock().demote();
    }

    /// A lease was granted; no effect unless this member leads.
    pub(super) fn granted(&self, id: LeaseId, ttl: i64) {
        let now = self.now();
        self.lock().grant(id, ttl, now);
    }

    /// A lease is gone.
    pub(super) fn revoked(&self, id: LeaseId) {
        self.lock().revoke(id);
    }

    /// Gives a lease its full time again: its granted seconds, or `None` when it is unknown here.
    pub(super) fn renew(&self, id: LeaseId) -> Option<i64> {
        let now = self.now();
        self.lock().renew(id, now)
    }

    /// The seconds a lease has left, and those it was granted.
    pub(super) fn remaining(&self, id: LeaseId) -> Option<(i64, i64)> {
        let now = self.now();
        self.lock().remaining(id, now)
    }

    /// Leases whose time is up; empty unless this member leads.
    pub(super) fn expired(&self) -> Vec<LeaseId> {
        let now = self.now();
        self.lock().expired(now, REVOKE_AT_ONCE)
    }

    /// All leases, soonest to expire first; empty unless this member leads.
    pub(super) fn by_expiry(&self) -> Vec<LeaseId> {
        self.lock().by_expiry().collect()
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Deadlines> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Revokes leases whose time is up, as long as this member leads.
pub(super) async fn expire(handle: Handle) {
    let mut tick = interval(CHECK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let handle = Arc::new(handle);
    loop {
        tick.tick().await;
        let mut revocations = JoinSet::new();
        for id in handle.expired_leases() {
            let handle = Arc::clone(&handle);
            revocations.spawn(async move {
                let revoke = Op::LeaseRevoke(LeaseRevokeRequest { id: id.0 });
                match handle.propose(revoke).await {
                    Ok(_) => handle.counts().leases_expired.inc(),
                    // It stays expired: the next check tries again.
                    Err(error) => {
                        debug!(lease.id = id.0, error = %error, "lease was not revoked");
                    }
                }
            });
        }
        while revocations.join_next().await.is_some() {}
    }
}
