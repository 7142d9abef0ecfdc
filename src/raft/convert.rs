//! The wrapped crate's protobuf types to ours and back. Nobody else sees them.

use ::raft::eraftpb::{self, EntryType, MessageType};
use bytes::Bytes;

use super::{ConfState, Entry, HardState, Index, Message, Payload, SnapshotMeta, Term};
use crate::membership::MemberId;
use crate::proto::quorate::peer;

/// The numbers of `Entry.kind` and `Message.kind` on the wire; `wal` uses those of entries too.
///
/// They are part of the protocol: a number is never given a second meaning.
pub mod kind {
    /// A request, or nothing at all for the entry that opens a term.
    pub const ENTRY_REQUEST: u32 = 0;
    /// A membership change.
    pub const ENTRY_MEMBERSHIP: u32 = 1;

    pub const PROPOSE: u32 = 2;
    pub const APPEND: u32 = 3;
    pub const APPEND_RESPONSE: u32 = 4;
    pub const VOTE: u32 = 5;
    pub const VOTE_RESPONSE: u32 = 6;
    pub const SNAPSHOT: u32 = 7;
    pub const HEARTBEAT: u32 = 8;
    pub const HEARTBEAT_RESPONSE: u32 = 9;
    pub const TRANSFER_LEADER: u32 = 13;
    pub const TIMEOUT_NOW: u32 = 14;
    pub const READ_INDEX: u32 = 15;
    pub const READ_INDEX_RESPONSE: u32 = 16;
    pub const PRE_VOTE: u32 = 17;
    pub const PRE_VOTE_RESPONSE: u32 = 18;

    /// The name of a message kind, for logs and tests.
    pub fn name(kind: u32) -> &'static str {
        match kind {
            PROPOSE => "propose",
            APPEND => "append",
            APPEND_RESPONSE => "append_response",
            VOTE => "vote",
            VOTE_RESPONSE => "vote_response",
            SNAPSHOT => "snapshot",
            HEARTBEAT => "heartbeat",
            HEARTBEAT_RESPONSE => "heartbeat_response",
            TRANSFER_LEADER => "transfer_leader",
            TIMEOUT_NOW => "timeout_now",
            READ_INDEX => "read_index",
            READ_INDEX_RESPONSE => "read_index_response",
            PRE_VOTE => "pre_vote",
            PRE_VOTE_RESPONSE => "pre_vote_response",
            _ => "unknown",
        }
    }
}

/// The crate's type for a kind that may cross the wire; `None` for unknown and for local ones.
pub(super) fn message_type(kind: u32) -> Option<MessageType> {
    Some(match kind {
        kind::PROPOSE => MessageType::MsgPropose,
        kind::APPEND => MessageType::MsgAppend,
        kind::APPEND_RESPONSE => MessageType::MsgAppendResponse,
        kind::VOTE => MessageType::MsgRequestVote,
        kind::VOTE_RESPONSE => MessageType::MsgRequestVoteResponse,
        kind::SNAPSHOT => MessageType::MsgSnapshot,
        kind::HEARTBEAT => MessageType::MsgHeartbeat,
        kind::HEARTBEAT_RESPONSE => MessageType::MsgHeartbeatResponse,
        kind::TRANSFER_LEADER => MessageType::MsgTransferLeader,
        kind::TIMEOUT_NOW => MessageType::MsgTimeoutNow,
        kind::READ_INDEX => MessageType::MsgReadIndex,
        kind::READ_INDEX_RESPONSE => MessageType::MsgReadIndexResp,
        kind::PRE_VOTE => MessageType::MsgRequestPreVote,
        kind::PRE_VOTE_RESPONSE => MessageType::MsgRequestPreVoteResponse,
        _ => return None,
    })
}

fn kind_of(message_type: MessageType) -> u32 {
    match message_type {
        MessageType::MsgPropose => kind::PROPOSE,
        MessageType::MsgAppend => kind::APPEND,
        MessageType::MsgAppendResponse => kind::APPEND_RESPONSE,
        MessageType::MsgRequestVote => kind::VOTE,
        MessageType::MsgRequestVoteResponse => kind::VOTE_RESPONSE,
        MessageType::MsgSnapshot => kind::SNAPSHOT,
        MessageType::MsgHeartbeat => kind::HEARTBEAT,
        MessageType::MsgHeartbeatResponse => kind::HEARTBEAT_RESPONSE,
        MessageType::MsgTransferLeader => kind::TRANSFER_LEADER,
        MessageType::MsgTimeoutNow => kind::TIMEOUT_NOW,
        MessageType::MsgReadIndex => kind::READ_INDEX,
        MessageType::MsgReadIndexResp => kind::READ_INDEX_RESPONSE,
        MessageType::MsgRequestPreVote => kind::PRE_VOTE,
        MessageType::MsgRequestPreVoteResponse => kind::PRE_VOTE_RESPONSE,
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum => {
            unreachable!("a local message is stepped, never sent: {message_type:?}")
        }
    }
}

pub(super) fn entry_to_crate(entry: Entry) -> eraftpb::Entry {
    let mut out = payload_to_crate(entry.payload);
    out.term = entry.term.0;
    out.index = entry.index.0;
    out
}

/// An entry without position. A membership change travels in the context; the crate's own description of
/// the change stays empty because only our roster decides what a change means.
pub(super) fn payload_to_crate(payload: Payload) -> eraftpb::Entry {
    let mut out = eraftpb::Entry::default();
    match payload {
        Payload::Empty => {}
        Payload::Request(data) => out.data = data,
        Payload::Membership(change) => {
            out.entry_type = EntryType::EntryConfChange;
            out.context = change;
        }
    }
    out
}

pub(super) fn entry_from_crate(entry: eraftpb::Entry) -> Entry {
    let payload = match entry.entry_type {
        EntryType::EntryNormal if entry.data.is_empty() => Payload::Empty,
        EntryType::EntryNormal => Payload::Request(entry.data),
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
            Payload::Membership(entry.context)
        }
    };
    Entry { term: Term(entry.term), index: Index(entry.index), payload }
}

fn entry_to_wire(entry: eraftpb::Entry) -> peer::Entry {
    let (kind, data) = match entry.entry_type {
        EntryType::EntryNormal => (kind::ENTRY_REQUEST, entry.data),
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
            (kind::ENTRY_MEMBERSHIP, entry.context)
        }
    };
    peer::Entry { kind, term: entry.term, index: entry.index, data }
}

/// `None` when the kind is unknown.
pub(super) fn payload_from_wire(entry: peer::Entry) -> Option<Payload> {
    match entry.kind {
        kind::ENTRY_REQUEST => Some(Payload::Request(entry.data)),
        kind::ENTRY_MEMBERSHIP => Some(Payload::Membership(entry.data)),
        _ => None,
    }
}

fn entry_from_wire(entry: peer::Entry) -> Option<eraftpb::Entry> {
    let (term, index) = (entry.term, entry.index);
    let mut out = payload_to_crate(payload_from_wire(entry)?);
    out.term = term;
    out.index = index;
    Some(out)
}

pub(super) fn message_to_wire(mut message: eraftpb::Message) -> Message {
    let snapshot = message.snapshot.take().map(|snapshot| {
        let (meta, data) = snapshot_from_crate(snapshot);
        peer::SnapshotMeta {
            index: meta.index.0,
            term: meta.term.0,
            voters: meta.conf.voters.iter().map(|id| id.0).collect(),
            learners: meta.conf.learners.iter().map(|id| id.0).collect(),
            data,
        }
    });
    Message {
        kind: kind_of(message.msg_type),
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.take_entries().into_iter().map(entry_to_wire).collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        snapshot,
        request_snapshot: message.request_snapshot,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context,
        priority: message.priority,
    }
}

/// `None` when the message or one of its entries is of a kind that does not cross the wire.
pub(super) fn message_from_wire(message: Message) -> Option<eraftpb::Message> {
    let mut out = eraftpb::Message {
        msg_type: message_type(message.kind)?,
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        commit: message.commit,
        commit_term: message.commit_term,
        request_snapshot: message.request_snapshot,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context,
        priority: message.priority,
        ..eraftpb::Message::default()
    };
    let entries: Option<Vec<eraftpb::Entry>> =
        message.entries.into_iter().map(entry_from_wire).collect();
    out.set_entries(entries?.into());
    if let Some(snapshot) = message.snapshot {
        let mut to_crate = eraftpb::Snapshot { data: snapshot.data, ..Default::default() };
        let meta = to_crate.mut_metadata();
        meta.index = snapshot.index;
        meta.term = snapshot.term;
        meta.mut_conf_state().voters = snapshot.voters;
        meta.mut_conf_state().learners = snapshot.learners;
        out.set_snapshot(to_crate);
    }
    Some(out)
}

pub(super) fn snapshot_from_crate(mut snapshot: eraftpb::Snapshot) -> (SnapshotMeta, Bytes) {
    let meta = snapshot.take_metadata();
    let conf = conf_from_crate(meta.get_conf_state());
    (SnapshotMeta { index: Index(meta.index), term: Term(meta.term), conf }, snapshot.data)
}

pub(super) fn snapshot_to_crate(meta: &SnapshotMeta, data: Bytes) -> eraftpb::Snapshot {
    let mut snapshot = eraftpb::Snapshot { data, ..Default::default() };
    let to_crate = snapshot.mut_metadata();
    to_crate.index = meta.index.0;
    to_crate.term = meta.term.0;
    to_crate.set_conf_state(conf_to_crate(&meta.conf));
    snapshot
}

/// The crate lists members in no order; ours are ascending.
fn conf_from_crate(conf: &eraftpb::ConfState) -> ConfState {
    let sorted = |ids: &[u64]| {
        let mut ids: Vec<MemberId> = ids.iter().copied().map(MemberId).collect();
        ids.sort_unstable();
        ids
    };
    ConfState { voters: sorted(&conf.voters), learners: sorted(&conf.learners) }
}

pub(super) fn conf_to_crate(conf: &ConfState) -> eraftpb::ConfState {
    eraftpb::ConfState {
        voters: conf.voters.iter().map(|id| id.0).collect(),
        learners: conf.learners.iter().map(|id| id.0).collect(),
        ..Default::default()
    }
}

pub(super) fn hard_state_from_crate(state: &eraftpb::HardState) -> HardState {
    let vote = (state.vote != 0).then_some(MemberId(state.vote));
    HardState { term: Term(state.term), vote, commit: Index(state.commit) }
}

pub(super) fn hard_state_to_crate(state: HardState) -> eraftpb::HardState {
    eraftpb::HardState {
        term: state.term.0,
        vote: state.vote.map_or(0, |id| id.0),
        commit: state.commit.0,
        ..Default::default()
    }
}
