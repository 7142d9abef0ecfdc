use std::sync::{Arc, RwLockReadGuard};

use crate::apply;
use crate::lease::LeaseId;
use crate::membership::{ClusterId, Member, MemberId};
use crate::node::{Error, Limits, State, watch};
use crate::proto::etcdserverpb::ResponseHeader;
use crate::proto::quorate::replica::{MembershipChange, request::Op};
use crate::raft::{Index, Role, Term};

/// What services hold of a node.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {}

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
    pub async fn propose(&self, op: Op) -> Result<apply::Response, Error> {
        todo!()
    }

    /// Changes the membership and waits until this member has applied it; the members afterwards.
    pub async fn change_membership(&self, change: MembershipChange) -> Result<Vec<Member>, Error> {
        todo!()
    }

    /// Waits until everything that was committed before the call is applied here (read index).
    pub async fn linearize(&self) -> Result<(), Error> {
        todo!()
    }

    /// The state machine, for a short look: the guard must not live across an await.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        todo!()
    }

    /// A response header with ids, term and current revision.
    pub fn header(&self) -> ResponseHeader {
        todo!()
    }

    pub fn cluster_id(&self) -> ClusterId {
        todo!()
    }

    pub fn member_id(&self) -> MemberId {
        todo!()
    }

    /// All members, ascending by id.
    pub fn members(&self) -> Vec<Member> {
        todo!()
    }

    pub fn status(&self) -> Status {
        todo!()
    }

    pub fn limits(&self) -> &Limits {
        todo!()
    }

    /// The watchers of this member.
    pub fn watches(&self) -> &watch::Hub {
        todo!()
    }

    /// Renews a lease on the leader, wherever that is: granted seconds, `None` when unknown.
    pub async fn lease_renew(&self, id: LeaseId) -> Result<Option<i64>, Error> {
        todo!()
    }

    /// Seconds left and granted, asked of the leader; `None` when unknown.
    pub async fn lease_remaining(&self, id: LeaseId) -> Result<Option<(i64, i64)>, Error> {
        todo!()
    }

    /// The smallest TTL a lease may have, in seconds; it follows from the election timeout.
    pub fn min_lease_ttl(&self) -> i64 {
        todo!()
    }

    /// Makes that member lead; only the leader can.
    pub async fn transfer_leadership(&self, to: MemberId) -> Result<(), Error> {
        todo!()
    }

    /// The metrics of this process in the Prometheus text format.
    pub fn metrics(&self) -> String {
        todo!()
    }
}
