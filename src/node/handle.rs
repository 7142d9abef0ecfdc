use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::RwLockReadGuard;
use prost::Message as _;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::metrics::{Counts, Durations, Gauges, Labelled};
use super::shared::{Answer, Done, Shared};
use super::{Config, Error, Limits, State, watch};
use crate::apply::{self, Command};
use crate::auth::Caller;
use crate::lease::LeaseId;
use crate::membership::{ClusterId, Member, MemberId};
use crate::proto::etcdserverpb::{AlarmType, ResponseHeader};
use crate::proto::quorate::replica::membership_change::Kind;
use crate::proto::quorate::replica::{MembershipChange, Request, request::Op};
use crate::raft::{Index, Role, Term};
use crate::replica::{Event, MAX_COMMIT_LEAD, MembershipError};

/// What services hold of a node.
#[derive(Debug, Clone)]
pub struct Handle(pub(super) Arc<Shared>);

/// How a node stands right now.
#[derive(Debug, Clone, Default)]
pub struct Status {
    pub leader: Option<MemberId>,
    pub term: Term,
    pub role: Role,
    pub commit: Index,
    pub applied: Index,
    /// Bytes the store takes on disk, and bytes of it in use.
    pub db_size: i64,
    pub db_size_in_use: i64,
    pub learner: bool,
}

impl Handle {
    /// Puts one request into the log and waits until this member has applied it.
    ///
    /// The caller is checked when it is applied, against the users as of then.
    pub async fn propose<C: Command>(
        &self,
        caller: Caller,
        command: C,
    ) -> Result<C::Response, Error> {
        let response = self.propose_in(Term::default(), caller, command.into_op()).await?;
        Ok(C::response(response).expect("a request is answered in its own kind"))
    }

    /// The same for what holds only if it is appended in this term, or in any if that is zero.
    pub(super) async fn propose_in(
        &self,
        term: Term,
        caller: Caller,
        op: Op,
    ) -> Result<apply::Response, Error> {
        let (id, answer) = self.admit()?;
        let request = Request { id, op: Some(op), caller: caller.into(), term: term.0 };
        let request = request.encode_to_vec();
        let limit = self.0.config.limits.max_request_bytes;
        if request.len() > limit {
            drop(self.0.waiters.take(id));
            return Err(Error::RequestTooLarge { size: request.len(), limit });
        }
        match self.wait(id, Event::Propose(request.into()), answer).await? {
            Done::Request(response) => Ok(response),
            Done::Membership(_) => Err(Error::Stopped),
        }
    }

    /// Changes the membership and waits until this member has applied it; the members afterwards.
    pub async fn change_membership(
        &self,
        mut change: MembershipChange,
    ) -> Result<Vec<Member>, Error> {
        let target = MemberId(change.member_id);
        if change.kind() == Kind::Promote {
            // Asked whoever it is: a promotion is for the leader to judge, and without one there is none.
            let in_sync = super::leader_client::learner_in_sync(self, target).await?;
            let roster = self.0.roster.load();
            match roster.members.get(&target) {
                // As in etcd, who is none of the leader's members need not be asked of the cluster.
                None if !in_sync => return Err(MembershipError::NotFound(target).into()),
                Some(entry) if !in_sync && entry.learner => return Err(Error::LearnerNotReady),
                _ => {}
            }
        }
        super::reconfigure::check(&self.0, &change)?;
        let (id, answer) = self.admit()?;
        change.id = id;
        change.max_learners = Some(self.0.config.max_learners as u64);
        match self.wait(id, Event::ProposeMembership(change), answer).await? {
            Done::Membership(members) => Ok(members),
            Done::Request(_) => Err(Error::Stopped),
        }
    }

    /// Waits until everything that was committed before the call is applied here (read index). The only voter
    /// of a cluster needs nobody's word for it.
    pub async fn linearize(&self) -> Result<(), Error> {
        if self.0.status.borrow().alone && self.0.applied_index() >= self.0.commit_index() {
            return Ok(());
        }
        let turn = self.0.reads.wait();
        let outcome = match tokio::time::timeout(self.timeout(), turn).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::Stopped),
            // etcd does not look for a reason here as it does for requests.
            Err(_) => Err(Error::Timeout),
        };
        if outcome.is_err() {
            self.counts().reads_failed.inc();
        }
        outcome
    }

    /// The state machine, for a short look: the guard must not live across an await.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.0.read()
    }

    /// A response header with ids, term and current revision.
    pub fn header(&self) -> ResponseHeader {
        self.header_at(self.state().revision())
    }

    /// A response header with a revision that is known already, without a look at the state.
    pub fn header_at(&self, revision: i64) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.0.identity.cluster.0,
            member_id: self.0.identity.member.0,
            revision,
            raft_term: self.0.status.borrow().term.0,
        }
    }

    pub fn cluster_id(&self) -> ClusterId {
        self.0.identity.cluster
    }

    pub fn member_id(&self) -> MemberId {
        self.0.identity.member
    }

    /// All members, ascending by id.
    pub fn members(&self) -> Vec<Member> {
        self.state().members()
    }

    pub fn status(&self) -> Status {
        let status = *self.0.status.borrow();
        let state = self.state();
        Status {
            leader: status.leader,
            term: status.term,
            role: status.role,
            commit: self.0.commit_index().max(self.0.applied_index()),
            applied: self.0.applied_index(),
            db_size: state.db_size(),
            db_size_in_use: state.db_size_in_use(),
            learner: self.is_learner(),
        }
    }

    /// The leader this member follows, which may be itself.
    pub fn leader(&self) -> Option<MemberId> {
        self.0.status.borrow().leader
    }

    /// Whether this member receives the log without a vote.
    pub fn is_learner(&self) -> bool {
        let roster = self.0.roster.load();
        roster.members.get(&self.member_id()).is_some_and(|entry| entry.learner)
    }

    pub fn limits(&self) -> &Limits {
        &self.0.config.limits
    }

    /// The configuration the node runs with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Passes on what reading the state gave; an error that is this member's own ends the node.
    pub fn check<T>(&self, read: Result<T, apply::Error>) -> Result<T, Error> {
        if let Err(apply::Error::Storage(error)) = &read {
            self.0.fail(format!("state: {error}"));
        }
        read.map_err(Error::from)
    }

    /// Ends when the node begins to stop. Each is made under a lock of all; one that is kept touches nobody else's,
    /// however often it is looked at.
    pub fn stopping(&self) -> WaitForCancellationFutureOwned {
        self.0.stop.child_token().cancelled_owned()
    }

    /// Whether the node has begun to stop.
    pub fn is_stopping(&self) -> bool {
        self.0.stop.is_cancelled()
    }

    /// The watchers of this member.
    pub fn watches(&self) -> &watch::Hub {
        &self.0.watches
    }

    /// Renews a lease on the leader, wherever that is: granted seconds, `None` when unknown.
    pub async fn lease_renew(&self, id: LeaseId) -> Result<Option<i64>, Error> {
        let renewing = async {
            if self.leads() {
                match self.lease_renew_here(id).await {
                    // It leads no longer: somebody else does, or will.
                    Err(Error::NoLeader) => {}
                    renewed => return renewed,
                }
            }
            self.0.renewals.wait(id).await.unwrap_or(Err(Error::Stopped))
        };
        tokio::select! {
            // The leader answers at once: neither the clock nor the stop is looked at.
            biased;
            renewed = tokio::time::timeout(self.timeout(), renewing) => {
                renewed.unwrap_or_else(|_elapsed| Err(self.unanswered()))
            }
            () = self.0.stop.cancelled() => Err(Error::Stopped),
        }
    }

    /// Why the leader did not answer in the time of a request.
    pub(super) fn unanswered(&self) -> Error {
        if self.leader().is_some() { Error::Timeout } else { Error::NoLeader }
    }

    /// Renews a lease on this member, which leads.
    pub(super) async fn lease_renew_here(&self, id: LeaseId) -> Result<Option<i64>, Error> {
        let renewed = super::lease_clock::renew(self, id).await?;
        if renewed.is_some() {
            self.counts().leases.renewed.inc();
        }
        Ok(renewed)
    }

    /// Seconds left and granted, asked of the leader; `None` when unknown.
    pub async fn lease_remaining(&self, id: LeaseId) -> Result<Option<(i64, i64)>, Error> {
        super::leader_client::remaining(self, id).await
    }

    /// All leases: on the leader soonest to expire first, elsewhere ascending by id, since only the
    /// leader knows how long they live.
    pub fn leases(&self) -> Vec<LeaseId> {
        if self.leads() {
            return self.0.leases.by_expiry();
        }
        self.state().leases().iter().map(|(id, _, _)| id).collect()
    }

    /// The smallest TTL a lease may have, in seconds; it follows from the election timeout.
    pub fn min_lease_ttl(&self) -> i64 {
        let ticks = self.0.config.election_ticks();
        let least = self.0.config.heartbeat * (3 * ticks / 2);
        i64::try_from(least.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
    }

    /// Makes that member lead; only the leader can.
    pub async fn transfer_leadership(&self, to: MemberId) -> Result<(), Error> {
        if !self.leads() {
            return Err(Error::NotLeader);
        }
        let voter = self.0.roster.load().members.get(&to).is_some_and(|entry| !entry.learner);
        if !voter {
            return Err(Error::BadTransferee);
        }
        if to == self.member_id() {
            return Ok(());
        }
        super::lease_clock::tell_all(self).await;
        let mut status = self.0.status.subscribe();
        self.send(Event::TransferLeadership(to)).await?;
        let arrived = status.wait_for(|status| status.leader == Some(to));
        match tokio::time::timeout(self.timeout(), arrived).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Error::Stopped),
            Err(_) => Err(Error::Timeout),
        }
    }

    /// The metrics of this process in the Prometheus text format.
    pub fn metrics(&self) -> String {
        let alarms;
        let (revision, compact_revision, keys, auth_revision) = {
            let state = self.state();
            let revisions = (state.revision(), state.compact_revision());
            alarms = state.alarms().list(AlarmType::None);
            (revisions.0, revisions.1, state.key_count(), state.auth().revision())
        };
        let pending = self.0.pending.load(Ordering::Relaxed);
        let quota_bytes = self.limits().quota_bytes;
        let status = self.status();
        let gauges = Gauges {
            status,
            pending,
            revision,
            compact_revision,
            keys,
            auth_revision,
            quota_bytes,
        };
        let members: Vec<String> =
            self.0.roster.load().members.keys().map(ToString::to_string).collect();
        let local = self.member_id().to_string();
        self.counts().refresh(self.0.watches.in_step());
        self.labelled().refresh(&alarms, &local, &members);
        self.0.metrics.text(&gauges)
    }

    /// What the node counts while it works.
    pub fn counts(&self) -> &Counts {
        self.0.metrics.counts()
    }

    /// What happens seldom, by its labels.
    pub fn labelled(&self) -> &Labelled {
        self.0.metrics.labelled()
    }

    /// How long took what happens seldom.
    pub fn durations(&self) -> &Durations {
        self.0.metrics.durations()
    }

    /// Where the services register what they count themselves.
    pub fn registry(&self) -> &prometheus::Registry {
        self.0.metrics.registry()
    }

    pub(super) fn leads(&self) -> bool {
        self.0.status.borrow().role == Role::Leader
    }

    /// How long a request may take.
    pub fn timeout(&self) -> Duration {
        self.0.config.request_timeout()
    }

    fn admit(&self) -> Result<(u64, oneshot::Receiver<Answer>), Error> {
        let (commit, applied) = (self.0.commit_index(), self.0.applied_index());
        if commit.0 > applied.0 + MAX_COMMIT_LEAD {
            return Err(Error::TooManyRequests);
        }
        self.0.waiters.register(self.leader().is_some()).ok_or(Error::Stopped)
    }

    async fn send(&self, event: Event) -> Result<(), Error> {
        self.0.bring([event]).await.map_err(|_stopped| Error::Stopped)
    }

    async fn wait(
        &self,
        id: u64,
        event: Event,
        mut answer: oneshot::Receiver<Answer>,
    ) -> Result<Done, Error> {
        let pending = Pending::new(&self.0, id);
        let sent = match self.0.requests.try_send(event) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(event)) => tokio::select! {
                sent = self.0.requests.send(event) => sent.map_err(|_closed| Error::Stopped),
                done = &mut answer => return done.unwrap_or(Err(Error::Stopped)),
            },
            Err(TrySendError::Closed(_)) => Err(Error::Stopped),
        };
        let done = match sent {
            Ok(()) => answer.await.unwrap_or(Err(Error::Stopped)),
            Err(stopped) => Err(stopped),
        };
        drop(pending);
        done
    }
}

/// A request that is under way; forgets its waiter when the client goes away.
struct Pending<'a> {
    shared: &'a Shared,
    id: u64,
}

impl<'a> Pending<'a> {
    fn new(shared: &'a Shared, id: u64) -> Self {
        shared.pending.fetch_add(1, Ordering::Relaxed);
        Self { shared, id }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.shared.pending.fetch_sub(1, Ordering::Relaxed);
        drop(self.shared.waiters.take(self.id));
    }
}
