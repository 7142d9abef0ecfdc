use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::State;
use super::flusher::Flusher;
use super::metrics::ApplyTimes;
use super::shared::{Done, Shared};
use super::work::ApplyWork;
use crate::apply::{self, LeaseChange};
use crate::membership::Roster;
use crate::mvcc::{self, StorageError};
use crate::proto::etcdserverpb::AlarmType;
use crate::proto::quorate::replica::MembershipChange;
use crate::proto::quorate::replica::membership_change::Kind;
use crate::raft::{Index, Role, SnapshotMeta};
use crate::replica::{Committed, Event, MembershipError};
use crate::snap;

/// Entries applied under one write lock; readers get their turn in between.
const SLICE: usize = 128;

/// The thread that owns the state machine: applies committed entries in order and answers those
/// who wait.
pub(super) struct ApplyLoop {
    pub(super) shared: Arc<Shared>,
    pub(super) work: mpsc::Receiver<ApplyWork>,
    pub(super) flusher: Flusher,
    pub(super) times: ApplyTimes,
}

/// Why this replica cannot go on.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Apply(#[from] apply::Fatal),
}

/// What happened under the write lock and is made known after it.
struct Applied {
    id: u64,
    answer: super::shared::Answer,
    revision: i64,
    events: Vec<mvcc::Event>,
    /// Refused for want of room when nobody had raised the alarm yet.
    found_no_room: bool,
}

impl ApplyLoop {
    /// Runs until the replica is gone. An error that other replicas need not have ends the node.
    pub(super) fn run(mut self) {
        while let Some(work) = self.work.blocking_recv() {
            let done = match work {
                ApplyWork::Committed(entries) => self.apply(entries),
                ApplyWork::MakeSnapshot => self.make_snapshot(),
            };
            match done {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.shared.fail(format!("state: {}", crate::transport::chain(&error)));
                    break;
                }
            }
        }
        self.flusher.stop();
    }

    fn apply(&mut self, entries: Vec<Committed>) -> Result<bool, Failure> {
        let mut entries = entries.into_iter().peekable();
        let mut index = self.shared.applied_index();
        let mut applied = Vec::with_capacity(SLICE);
        let mut leave = false;
        while entries.peek().is_some() {
            self.flusher.wait_for_room();
            let mut state = self.shared.write();
            for entry in entries.by_ref().take(SLICE) {
                match entry {
                    Committed::Request { index: at, term, data } => {
                        index = at;
                        let began = Instant::now();
                        let Some(outcome) = state.apply(at, term, &data)? else { continue };
                        let took = began.elapsed();
                        self.times.observe(&outcome, took);
                        self.warn_if_slow(at, data.len(), took);
                        applied.push(self.follow(&state, outcome));
                    }
                    Committed::Membership { index: at, term, change, outcome, roster } => {
                        index = at;
                        state.apply_membership(at, term, &roster);
                        let own = change.member_id == self.shared.identity.member.0;
                        leave |= own && change.kind() == Kind::Remove && outcome.is_ok();
                        applied.push(self.follow_members(&state, &change, outcome, roster));
                    }
                    Committed::Snapshot { meta, .. } => {
                        index = meta.index;
                        drop(state);
                        if !self.install(&meta)? {
                            return Ok(false);
                        }
                        state = self.shared.write();
                    }
                }
            }
            drop(state);
            applied.drain(..).for_each(|done| self.make_known(done));
        }
        self.shared.applied.send_replace(index);
        self.shared.arrivals.forget_until(&self.shared.config.snap_dir(), index);
        if leave {
            self.shared.leave();
        }
        Ok(self.shared.acknowledge(Event::Applied { index }).is_ok())
    }

    /// Follows a request that is in the state.
    fn follow(&self, state: &State, outcome: apply::Outcome) -> Applied {
        self.follow_leases(&outcome);
        self.count(&outcome);
        if let Some(news) = &outcome.auth {
            self.shared.tokens.follow(news);
        }
        let found_no_room = outcome.response == Err(apply::Error::NoSpace)
            && !state.alarms().is_raised(AlarmType::Nospace);
        Applied {
            id: outcome.id,
            answer: outcome.response.map(Done::Request).map_err(Into::into),
            revision: outcome.revision,
            events: outcome.events,
            found_no_room,
        }
    }

    /// Follows a membership change that is in the state.
    fn follow_members(
        &self,
        state: &State,
        change: &MembershipChange,
        outcome: Result<(), MembershipError>,
        roster: Roster,
    ) -> Applied {
        self.shared.peers.update(&roster);
        self.shared.roster.store(Arc::new(roster));
        let leads = self.shared.status.borrow().role == Role::Leader;
        if change.kind() == Kind::Promote && outcome.is_ok() && leads {
            self.shared.metrics.counts().promotions.inc();
        }
        info!(member.id = change.member_id, outcome = ?outcome, "applied a membership change");
        let members = state.members();
        Applied {
            id: change.id,
            answer: outcome.map(|()| Done::Membership(members)).map_err(Into::into),
            revision: 0,
            events: Vec::new(),
            found_no_room: false,
        }
    }

    /// Tells watchers what a request changed, and then whoever asked for it.
    fn make_known(&self, done: Applied) {
        if !done.events.is_empty() {
            self.shared.watches.publish(done.revision, &done.events);
        }
        let waits_for_alarm =
            done.found_no_room && self.shared.found_no_room.try_send(done.id).is_ok();
        if done.id != 0 && !waits_for_alarm {
            self.shared.complete(done.id, done.answer);
        }
    }

    fn warn_if_slow(&self, index: Index, bytes: usize, took: Duration) {
        let expected = self.shared.config.upkeep.warning_apply_duration;
        if took > expected {
            self.shared.metrics.counts().applies_slow.inc();
            warn!(
                took = ?took,
                expected_duration = ?expected,
                entry.index = index.0,
                request.size_bytes = bytes,
                "apply request took too long"
            );
        }
    }

    fn count(&self, outcome: &apply::Outcome) {
        let counts = self.shared.metrics.counts();
        counts.applied(outcome);
        match &outcome.lease {
            Some(LeaseChange::Granted { ttl_seconds, .. }) => counts.leases.granted(*ttl_seconds),
            Some(LeaseChange::Revoked(_)) => counts.leases.revoked.inc(),
            Some(LeaseChange::Checkpointed(_)) | None => {}
        }
    }

    fn follow_leases(&self, outcome: &apply::Outcome) {
        match &outcome.lease {
            Some(LeaseChange::Granted { id, ttl_seconds }) => {
                self.shared.leases.granted(*id, *ttl_seconds);
            }
            Some(LeaseChange::Revoked(id)) => self.shared.leases.revoked(*id),
            Some(LeaseChange::Checkpointed(left)) => self.shared.leases.checkpointed(left),
            None => {}
        }
    }

    /// Replaces the whole state by a received snapshot.
    fn install(&mut self, meta: &SnapshotMeta) -> Result<bool, Failure> {
        let dir = self.shared.config.snap_dir();
        info!(snapshot.index = meta.index.0, "installing a snapshot");
        let installing = &self.shared.metrics.counts().installing;
        let users_before = self.shared.read().auth().revision();
        installing.set(1);
        let installed = self.flusher.install(meta.mark())?;
        installing.set(0);
        if installed.is_none() {
            return Ok(false);
        }
        let (roster, revision) = {
            let state = self.shared.read();
            self.shared.tokens.restored(state.auth(), users_before);
            (state.roster().clone(), state.revision())
        };
        self.shared.peers.update(&roster);
        self.shared.roster.store(Arc::new(roster.clone()));
        self.shared.watches.restored(revision);
        // The store has it durably; a file that stays costs only room.
        if let Err(error) = snap::remove_before(&dir, Index(meta.index.0 + 1)) {
            warn!(error = %error, "a received snapshot was not removed");
        }
        Ok(self.shared.acknowledge(Event::Installed { index: meta.index, roster }).is_ok())
    }

    fn make_snapshot(&mut self) -> Result<bool, Failure> {
        let Some(meta) = self.flusher.offer_snapshot()? else { return Ok(false) };
        debug!(snapshot.index = meta.index.0, "offering a snapshot");
        let ready = Event::SnapshotReady { meta, data: Bytes::new() };
        Ok(self.shared.acknowledge(ready).is_ok())
    }
}
