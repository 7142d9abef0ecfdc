//! One member's replica: consensus and membership as one machine, `Event` in, [`Effects`] out.

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
    /// May be sent at once.
    pub send: Vec<Message>,
    /// Chosen by a quorum; to be applied strictly in this order.
    pub committed: Vec<Committed>,
    /// Reads that may be served as soon as `index` is applied.
    pub reads: Vec<ReadReady>,
    /// Read contexts that were dropped; ask again.
    pub reads_lost: Vec<u64>,
    /// Present when leader, term or role changed.
    pub status: Option<Status>,
    /// A peer is too far behind for the log: make a snapshot of the applied state.
    pub snapshot_wanted: bool,
    /// Requests that found no room: answered with `too many requests`.
    pub refused: Vec<Bytes>,
}

/// A batch for the log.
#[derive(Debug, Default)]
pub struct Persist {
    /// Ascending without gaps; acknowledged by [`Event::Persisted`].
    pub batch: u64,
    pub hard_state: Option<HardState>,
    /// Replaces whatever the log holds from the first of these on.
    pub entries: Vec<Entry>,
    /// Replaces log and state up to its index; the data was received by the transport.
    pub snapshot: Option<(SnapshotMeta, Bytes)>,
    /// Must not leave this member before the batch is on disk: votes and append answers (Raft §5.1).
    pub then_send: Vec<Message>,
    /// Whether the disk must have it before the acknowledgment; false for a mere commit index.
    pub sync: bool,
}

/// One step of the state machine.
#[derive(Debug, Clone)]
pub enum Committed {
    /// An encoded `quorate.replica.Request`, or nothing for the entry that opens a term.
    Request { index: Index, term: Term, data: Bytes },
    /// A membership change took effect or was refused; `roster` is what holds from here on.
    Membership {
        index: Index,
        term: Term,
        change: MembershipChange,
        outcome: Result<(), MembershipError>,
        roster: Roster,
    },
    /// The whole state is replaced; entries before `meta.index` will not come.
    Snapshot { meta: SnapshotMeta, data: Bytes },
}

/// Why a membership change had no effect. The API has etcd's text for each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    #[error("member `{0}` exists already")]
    IdExists(MemberId),
    #[error("peer URL `{0}` belongs to another member")]
    PeerUrlExists(String),
    #[error("member `{0}` is not in the cluster")]
    NotFound(MemberId),
    #[error("member `{0}` is no learner")]
    NotLearner(MemberId),
    #[error("the cluster has as many learners as it may")]
    TooManyLearners,
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
}
