use bytes::Bytes;

use crate::membership::{MemberId, Roster};
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

/// A position in the log together with the term of the entry there, which together name the whole log
/// up to it (Raft §5.3, log matching).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    pub index: Index,
    pub term: Term,
}

impl ConfState {
    /// The configuration of a cluster with these members.
    pub fn of(roster: &Roster) -> Self {
        Self { voters: roster.voters().collect(), learners: roster.learners().collect() }
    }
}

impl SnapshotMeta {
    /// The mark of a snapshot of the state at `mark`, when `roster` held.
    pub fn at(mark: Mark, roster: &Roster) -> Self {
        Self { index: mark.index, term: mark.term, conf: ConfState::of(roster) }
    }

    /// Where a new cluster starts: as though each founder had been added by one entry of term 1.
    ///
    /// The log thus begins behind these entries, so that a member who joins later must be sent a snapshot,
    /// which tells it the members; and the first leader has term 2, both as with etcd.
    pub fn founding(roster: &Roster) -> Self {
        let index = Index(roster.members.len() as u64);
        Self::at(Mark { index, term: FOUNDING_TERM }, roster)
    }

    pub fn mark(&self) -> Mark {
        Mark { index: self.index, term: self.term }
    }
}

/// The term of the entries that a founding mark stands for; no leader ever has it.
pub const FOUNDING_TERM: Term = Term(1);

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
