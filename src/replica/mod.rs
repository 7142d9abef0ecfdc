//! One member's replica: consensus and membership as one machine, [`Event`] in, [`Effects`] out.
//!
//! The shell owns clock, disk, sockets and state machine. It feeds whatever is queued through
//! [`Replica::step`], then carries out [`Replica::effects`] until they are empty, and starts again:
//!
//! ```text
//!            Tick, Propose, Read, Receive             Persisted, Applied, Installed
//!                        |                                   ^
//!                        v                                   |
//!                     Replica --persist--> log thread --then_send--> peers
//!                        |  \---send-----------------------------> peers
//!                        \---committed--> apply thread
//! ```
//!
//! What makes this safe (Raft figure 2 and §5.4), and what a shell must keep:
//!
//! 1. Batches reach the disk in order, and [`Event::Persisted`] is said only after the sync that covers them.
//! 2. Nothing in [`Persist::then_send`] leaves before that sync.
//! 3. [`Effects::send`] may leave at once: a leader replicates while its own disk still writes (Raft
//!    dissertation §10.2.1), because its own copy counts towards the quorum only when persisted.
//! 4. [`Effects::committed`] is applied in order, each entry once, and acknowledged by [`Event::Applied`].
//!    It may be acknowledged to clients at once: it is on the disks of a quorum, and on this one.
//! 5. After a crash the replica starts from what the log holds, and from an applied index and roster that were
//!    stored in one transaction. Entries above the applied index come again.
//!
//! A request that is lost with its leader is proposed again, and never applied twice (`proposals` says why).
//!
//! Deliberately absent: who waits for which request.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod catch_up;
mod config;
mod machine;
mod proposals;
mod reads;
mod roster;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

pub use config::{Config, ConfigError};
pub use machine::{MAX_COMMIT_LEAD, Replica};

use bytes::Bytes;

use crate::membership::{MemberId, Roster};
use crate::proto::quorate::replica::MembershipChange;
use crate::raft::{Entry, HardState, Index, Message, Role, SnapshotMeta, Term};

/// Everything that can happen to a replica.
#[derive(Debug)]
pub enum Event {
    /// One tick of the logical clock has passed.
    Tick,
    /// A client of this member wants this request in the log (an encoded `quorate.replica.Request`).
    Propose(Bytes),
    /// An operator wants to change the membership.
    ProposeMembership(MembershipChange),
    /// Reads wait for a commit index that no later leader can precede (Raft dissertation §6.4).
    Read { context: u64 },
    /// A peer sent this.
    Receive(Message),
    /// All batches up to this one are on disk.
    Persisted { batch: u64 },
    /// The state machine has applied everything up to here and will never ask for it again.
    Applied { index: Index },
    /// The state of [`Committed::Snapshot`] is in place; `roster` is what it says about the members.
    ///
    /// Entries behind the snapshot are held back until then. Implies [`Event::Applied`].
    Installed { index: Index, roster: Roster },
    /// Entries up to here are no longer needed by this member: they are in the durable store.
    Compact { index: Index },
    /// The state that [`Effects::snapshot_wanted`] asked for.
    SnapshotReady { meta: SnapshotMeta, data: Bytes },
    /// The snapshot sent to this peer arrived, or did not.
    SnapshotSent { to: MemberId, delivered: bool },
    /// A message to this peer was lost.
    Unreachable(MemberId),
    /// An operator wants this member to lead.
    TransferLeadership(MemberId),
}

/// What the shell must do after an event.
#[derive(Debug, Default)]
pub struct Effects {
    /// Goes to the log, in order. May be written while `send` is already under way.
    pub persist: Option<Persist>,
    /// May be sent at once, before anything of `persist` is on disk.
    ///
    /// Any message may be lost, late or out of order. One of kind propose must not arrive twice, since the request
    /// would be applied twice: whoever sends does not send again what may have arrived.
    ///
    /// A message of kind snapshot carries in `snapshot.data` what [`Event::SnapshotReady`] gave; its fate must be
    /// told by [`Event::SnapshotSent`], or the peer gets nothing more.
    pub send: Vec<Message>,
    /// Chosen by a quorum and durable here; to be applied strictly in this order. Need not wait for
    /// `persist` of the same effects, which is about later entries.
    pub committed: Vec<Committed>,
    /// Reads that may be served as soon as `index` is applied.
    pub reads: Vec<ReadReady>,
    /// Read contexts that were dropped because the leader changed; ask again.
    pub reads_lost: Vec<u64>,
    /// Present when leader, term or role changed.
    pub status: Option<Status>,
    /// A peer is too far behind for the log: make a snapshot of the applied state, with the members of that
    /// state, and say [`Event::SnapshotReady`]. Asked once, and again if no snapshot comes for long.
    pub snapshot_wanted: bool,
    /// Requests that found no room: answered with `too many requests`.
    pub refused: Vec<Bytes>,
    /// Ids of requests that may be part of a snapshot that replaces the state, so that nothing more will be
    /// heard of them: answered with a time-out.
    pub unknown: Vec<u64>,
}

/// A batch for the log.
///
/// Within a batch the order is: snapshot, entries, hard state. All of it becomes durable together or, torn by
/// a crash, not at all; a prefix of the batches is what a restart may find.
#[derive(Debug, Default)]
pub struct Persist {
    /// Ascending without gaps from 1; acknowledged by [`Event::Persisted`].
    pub batch: u64,
    /// Term, vote and commit index. Term and vote must be durable before any later message of that term leaves
    /// (a forgotten vote elects two leaders); the commit index need not be, it is learned again.
    pub hard_state: Option<HardState>,
    /// Replaces whatever the log holds from the first of these on. Must be durable before the
    /// acknowledgment to the leader, which is in `then_send`.
    pub entries: Vec<Entry>,
    /// Replaces log and state up to its index; the data was received by the transport, and is on disk and
    /// synced before this is written. [`Committed::Snapshot`] follows after [`Event::Persisted`].
    pub snapshot: Option<(SnapshotMeta, Bytes)>,
    /// Must not leave this member before the batch is on disk: votes and append answers (Raft §5.1).
    pub then_send: Vec<Message>,
    /// Whether the disk must have it before the acknowledgment; false for messages that only wait for an
    /// earlier batch. (A mere commit index makes no batch of its own; it goes with the next.)
    pub sync: bool,
}

/// One step of the state machine.
#[derive(Debug, Clone)]
pub enum Committed {
    /// An encoded `quorate.replica.Request`, or nothing for the entry that opens a term. Applied at
    /// most once: the state stores `index` with its effect.
    Request { index: Index, term: Term, data: Bytes },
    /// A membership change took effect or was refused; `roster` is what holds from here on. To be stored in
    /// one transaction with `index`: a restart gives both back to [`Config`].
    Membership {
        index: Index,
        term: Term,
        change: MembershipChange,
        outcome: Result<(), MembershipError>,
        roster: Roster,
    },
    /// The whole state is replaced by this durable snapshot; entries before `meta.index` will not come.
    /// Answered by [`Event::Installed`].
    Snapshot { meta: SnapshotMeta, data: Bytes },
}

/// Why a membership change had no effect. The API has etcd's text for each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    #[error("member `{0}` exists already")]
    IdExists(MemberId),
    #[error("peer URL `{0}` belongs to another member")]
    PeerUrlExists(String),
    /// Also for a member that was removed: its id never comes back.
    #[error("member `{0}` is not in the cluster")]
    NotFound(MemberId),
    #[error("member `{0}` is no learner")]
    NotLearner(MemberId),
    #[error("the cluster has as many learners as it may")]
    TooManyLearners,
    #[error("member `{0}` is the last that votes")]
    LastVoter(MemberId),
    #[error("the change cannot be understood")]
    Malformed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadReady {
    pub context: u64,
    pub index: Index,
}

/// What others want to know about a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    pub leader: Option<MemberId>,
    pub term: Term,
    pub role: Role,
    pub commit: Index,
    /// It leads and is a majority by itself, so that nobody has committed anything that it has not.
    pub alone: bool,
}

impl Effects {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.persist.is_none()
            && self.send.is_empty()
            && self.committed.is_empty()
            && self.reads.is_empty()
            && self.reads_lost.is_empty()
            && self.status.is_none()
            && !self.snapshot_wanted
            && self.refused.is_empty()
            && self.unknown.is_empty()
    }
}

impl Committed {
    /// The index that counts as applied once this is done.
    pub fn index(&self) -> Index {
        match self {
            Self::Request { index, .. } | Self::Membership { index, .. } => *index,
            Self::Snapshot { meta, .. } => meta.index,
        }
    }

    /// The term of the entry at [`Committed::index`].
    pub fn term(&self) -> Term {
        match self {
            Self::Request { term, .. } | Self::Membership { term, .. } => *term,
            Self::Snapshot { meta, .. } => meta.term,
        }
    }
}
