//! What a peer may say. The wrapped crate asserts much of this; a peer must not be able to stop us.

use std::collections::BTreeSet;

use ::raft::eraftpb::MessageType;

use super::convert::{self, kind};
use super::{Index, Message, Role};
use crate::membership::MemberId;
use crate::proto::quorate::peer;

/// Terms and indexes stay far below the end of their range, so that adding one never overflows.
const LARGEST: u64 = 1 << 62;

/// Why a message was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("unknown or local-only message or entry kind {kind}")]
    Kind { kind: u32 },
    #[error("sent to member `{0}`")]
    NotForUs(MemberId),
    #[error("sender `{0}` cannot be")]
    Sender(MemberId),
    #[error("a field is out of range or missing")]
    Malformed,
    #[error("entries do not follow each other")]
    Entries,
    #[error("commit index {} is beyond our last entry {}; was the log of this member lost?", commit.0, last.0)]
    CommitBeyondLog { commit: Index, last: Index },
    #[error("acknowledges entry {} beyond our last entry {}", index.0, last.0)]
    AcknowledgesTooMuch { index: Index, last: Index },
    #[error("only a leader can use it")]
    NotLeader,
    #[error("the wrapped machine refused it")]
    Refused,
}

/// What the checks need to know of the receiver.
pub(super) struct Receiver {
    pub(super) id: u64,
    pub(super) term: u64,
    pub(super) role: Role,
    pub(super) last: u64,
}

/// Refuses what no correct peer sends.
pub(super) fn check(message: &Message, receiver: &Receiver) -> Result<(), Rejected> {
    let unknown = Rejected::Kind { kind: message.kind };
    let message_type = convert::message_type(message.kind).ok_or(unknown)?;
    if message.to != receiver.id {
        return Err(Rejected::NotForUs(MemberId(message.to)));
    }
    if message.from == 0 || message.from == receiver.id {
        return Err(Rejected::Sender(MemberId(message.from)));
    }
    check_ranges(message, message_type)?;
    let current = message.term >= receiver.term;
    match message_type {
        MessageType::MsgPropose if message.entries.is_empty() => Err(Rejected::Malformed),
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp if message.entries.len() != 1 => {
            Err(Rejected::Malformed)
        }
        MessageType::MsgTransferLeader if receiver.role != Role::Leader => Err(Rejected::NotLeader),
        MessageType::MsgAppend if current => check_append(message),
        MessageType::MsgHeartbeat if current && message.commit > receiver.last => {
            let (commit, last) = (Index(message.commit), Index(receiver.last));
            Err(Rejected::CommitBeyondLog { commit, last })
        }
        MessageType::MsgAppendResponse
            if message.term == receiver.term
                && !message.reject
                && receiver.role == Role::Leader
                && message.index > receiver.last =>
        {
            let (index, last) = (Index(message.index), Index(receiver.last));
            Err(Rejected::AcknowledgesTooMuch { index, last })
        }
        MessageType::MsgSnapshot => check_snapshot(message.snapshot.as_ref()),
        _ => Ok(()),
    }
}

fn check_ranges(message: &Message, message_type: MessageType) -> Result<(), Rejected> {
    let numbers = [
        message.term,
        message.log_term,
        message.index,
        message.commit,
        message.commit_term,
        message.reject_hint,
    ];
    // Forwarded messages have no term and everything else has one: the wrapped crate takes term zero for
    // a message from the member itself, which skips all checks of terms.
    let forwarded = matches!(message_type, MessageType::MsgPropose | MessageType::MsgReadIndex);
    let entry_in_range = |entry: &peer::Entry| entry.index < LARGEST && entry.term < LARGEST;
    if numbers.iter().any(|number| *number >= LARGEST)
        || forwarded != (message.term == 0)
        || message.request_snapshot != 0
        || !message.entries.iter().all(entry_in_range)
    {
        return Err(Rejected::Malformed);
    }
    let strange =
        |entry: &&peer::Entry| !matches!(entry.kind, kind::ENTRY_REQUEST | kind::ENTRY_MEMBERSHIP);
    match message.entries.iter().find(strange) {
        Some(entry) => Err(Rejected::Kind { kind: entry.kind }),
        None => Ok(()),
    }
}

/// Entries follow `index` one by one with terms that never fall. Only index zero, before the log, has term
/// zero: the wrapped crate gives that term to every entry it lacks, and so would take one for known.
fn check_append(message: &Message) -> Result<(), Rejected> {
    if (message.index == 0) != (message.log_term == 0) || message.log_term > message.term {
        return Err(Rejected::Malformed);
    }
    let mut before = (message.index, message.log_term);
    for entry in &message.entries {
        if entry.index != before.0 + 1 || entry.term < before.1 || entry.term > message.term {
            return Err(Rejected::Entries);
        }
        before = (entry.index, entry.term);
    }
    Ok(())
}

fn check_snapshot(snapshot: Option<&peer::SnapshotMeta>) -> Result<(), Rejected> {
    let Some(snapshot) = snapshot else { return Err(Rejected::Malformed) };
    let mut seen = BTreeSet::new();
    let distinct = snapshot.voters.iter().chain(&snapshot.learners).all(|id| seen.insert(*id));
    let position = 1..LARGEST;
    if distinct
        && !seen.contains(&0)
        && !snapshot.voters.is_empty()
        && position.contains(&snapshot.index)
        && position.contains(&snapshot.term)
    {
        Ok(())
    } else {
        Err(Rejected::Malformed)
    }
}
