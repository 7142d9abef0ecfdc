use bytes::Bytes;

use crate::membership::MemberId;
use crate::proto::quorate::peer;

/// A Raft term (Raft §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(pub u64);

/// A position in the log (Raft §5.3); the first entry is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Index(pub u64);

/// One entry of the replicated log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub term: Term,
    pub index: Index,
    pub payload: Payload,
}

/// What an entry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// The entry with which a leader opens its term.
    Empty,
    /// An encoded `quorate.replica.Request`.
    Request(Bytes),
    /// An encoded `quorate.replica.MembershipChange`.
    Membership(Bytes),
}

/// What must survive a crash besides the entries (Raft figure 2, persistent state).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    pub term: Term,
    pub vote: Option<MemberId>,
    pub commit: Index,
}

/// The members that count at some index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfState {
    pub voters: Vec<MemberId>,
    pub learners: Vec<MemberId>,
}

/// Where a snapshot stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotMeta {
    pub index: Index,
    pub term: Term,
    pub conf: ConfState,
}

/// What a member is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    #[default]
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

/// A message between members, in the form in which it crosses the wire.
pub type Message = peer::Message;
