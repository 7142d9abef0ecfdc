use std::collections::VecDeque;
use std::fmt;

use ::raft::eraftpb::{self, ConfChange, ConfChangeType, MessageType};
use ::raft::{Config, RawNode, SnapshotStatus, StateRole};
use bytes::Bytes;

use super::view::LogView;
use super::{
    ConfState, Draw, Entry, HardState, Index, Mark, Message, Payload, Rejected, Role, SnapshotMeta,
    Term, convert, guard, kind, log,
};
use crate::membership::MemberId;

/// Entries of one append message, in bytes. Large enough to fill a link, small enough that a lost
/// message costs little.
const MAX_BYTES_PER_MESSAGE: u64 = 1 << 20;
/// Append messages on their way to one follower; with none to spare the leader waits for an answer.
const MAX_INFLIGHT_MESSAGES: usize = 512;
/// Committed entries handed out at once; the rest comes with the next [`Machine::ready`].
const MAX_BYTES_PER_COMMIT: u64 = 16 << 20;
/// What a leader may hold uncommitted; beyond it proposals are dropped.
const MAX_UNCOMMITTED_BYTES: u64 = 512 << 20;
/// Vote answers that wait for our own disk; more than members exist are never needed.
const MAX_HELD_VOTES: usize = 64;

/// Where a [`Machine`] starts.
#[derive(Debug)]
pub struct MachineConfig {
    pub id: MemberId,
    pub base: Mark,
    pub entries: Vec<Entry>,
    pub hard_state: HardState,
    /// The configuration at `applied`; empty for a member that waits to be sent a snapshot.
    pub conf: ConfState,
    pub applied: Index,
    pub election_ticks: usize,
    pub heartbeat_ticks: usize,
    pub pre_vote: bool,
    pub seed: u64,
}

/// What came of the last steps. The replica's effects say what must be durable before what is sent.
#[derive(Debug)]
pub struct Ready {
    pub number: u64,
    pub hard_state: Option<HardState>,
    pub entries: Vec<Entry>,
    pub snapshot: Option<(SnapshotMeta, Bytes)>,
    /// Whether anything but the commit index is to be stored.
    pub must_sync: bool,
    pub send: Vec<Message>,
    pub then_send: Vec<Message>,
    pub committed: Vec<Entry>,
    /// Read contexts and the index from which each may be served.
    pub reads: Vec<(Bytes, Index)>,
}

/// A change of one member, decided by the roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfOp {
    Voter(MemberId),
    Learner(MemberId),
    Remove(MemberId),
}

/// How far a peer has come, as its leader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerProgress {
    pub id: MemberId,
    /// The last entry the peer is known to hold durably.
    pub matched: Index,
    /// The snapshot on its way to the peer.
    pub snapshot: Option<Index>,
    /// Whether it was heard of since the leader last checked its quorum.
    pub recently_active: bool,
    pub learner: bool,
}

/// Nobody leads, or the leader hands over: the proposal was not taken and may be offered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proposal was dropped")]
pub struct Dropped;

/// The wrapped crate's node, made deterministic and safe against its peers.
pub struct Machine {
    node: RawNode<LogView>,
    draw: Draw,
    timeout: usize,
    /// Term and role for which `timeout` was drawn.
    drawn_for: (u64, StateRole),
    election_ticks: usize,
    /// Readies that must reach the disk and have not yet.
    outstanding: VecDeque<Outstanding>,
    /// Vote answers that came before our own disk had finished (see [`Machine::receive`]).
    held_votes: VecDeque<eraftpb::Message>,
}

#[derive(Debug)]
struct Outstanding {
    number: u64,
    snapshot: Option<u64>,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("id", &self.node.raft.id)
            .field("term", &self.node.raft.term)
            .field("role", &self.role())
            .finish_non_exhaustive()
    }
}

impl Machine {
    /// Starts from what was recovered. The caller has checked that it is consistent:
    /// `base.index <= applied <= last entry`.
    pub fn new(config: MachineConfig) -> Result<Self, ::raft::Error> {
        let mut view = LogView::new(
            config.base,
            convert::hard_state_to_crate(config.hard_state),
            convert::conf_to_crate(&config.conf),
        );
        view.append(config.entries.into_iter().map(convert::entry_to_crate));
        let settings = Config {
            id: config.id.0,
            election_tick: config.election_ticks,
            heartbeat_tick: config.heartbeat_ticks,
            applied: config.applied.0,
            max_size_per_msg: MAX_BYTES_PER_MESSAGE,
            max_inflight_msgs: MAX_INFLIGHT_MESSAGES,
            check_quorum: true,
            pre_vote: config.pre_vote,
            batch_append: true,
            max_uncommitted_size: MAX_UNCOMMITTED_BYTES,
            max_committed_size_per_ready: MAX_BYTES_PER_COMMIT,
            ..Config::default()
        };
        let node = RawNode::new(&settings, view, &log::logger())?;
        let mut machine = Self {
            drawn_for: (node.raft.term, node.raft.state),
            node,
            draw: Draw::new(config.seed),
            timeout: 0,
            election_ticks: config.election_ticks,
            outstanding: VecDeque::new(),
            held_votes: VecDeque::new(),
        };
        machine.redraw();
        Ok(machine)
    }

    /// One tick of the logical clock.
    pub fn tick(&mut self) {
        // A campaign reads the log behind `applied`, which a snapshot that is still being written has cut
        // off; and a lone voter wins at once, which the crate allows only with all entries on disk.
        if self.role() != Role::Leader && self.campaign_must_wait() {
            return;
        }
        self.node.tick();
        self.pin_timeout();
    }

    /// Refuses a message that no correct peer would send.
    pub fn check(&self, message: &Message) -> Result<(), Rejected> {
        let raft = &self.node.raft;
        let last = raft.raft_log.last_index();
        let receiver = guard::Receiver { id: raft.id, term: raft.term, role: self.role(), last };
        guard::check(message, &receiver)
    }

    /// Takes a message of a peer that passes [`Machine::check`].
    pub fn receive(&mut self, message: Message) -> Result<(), Rejected> {
        self.check(&message)?;
        let kind = message.kind;
        let message = convert::message_from_wire(message).ok_or(Rejected::Kind { kind })?;
        match message.msg_type {
            MessageType::MsgTimeoutNow if self.campaign_must_wait() => return Ok(()),
            // A leader must have its whole log on disk. Peers answer only what left after our sync, but
            // the answer may overtake the news of that sync.
            MessageType::MsgRequestVoteResponse if self.log_unsettled() => {
                if self.held_votes.len() < MAX_HELD_VOTES {
                    self.held_votes.push_back(message);
                }
                return Ok(());
            }
            MessageType::MsgReadIndex if self.leads_with(&message) => {
                self.answer_read(message);
                return Ok(());
            }
            _ => {}
        }
        self.step(message)
    }

    /// Whether who asks for a read index makes a majority together with this leader.
    ///
    /// Before it serves a read, a leader has to hear from a majority that it still led when the read was asked for (Raft
    /// dissertation §6.4). Who asks has just said so: it was in this term when it sent the question, so it had voted
    /// for no later leader, and no later majority is without it and without us. In a cluster of three that
    /// saves the round of heartbeats.
    fn leads_with(&self, question: &eraftpb::Message) -> bool {
        let raft = &self.node.raft;
        let both = [raft.id, question.from].into_iter().collect();
        self.role() == Role::Leader
            && question.log_term == raft.term
            && self.commit_is_current()
            && raft.prs().has_quorum(&both)
    }

    fn answer_read(&mut self, question: eraftpb::Message) {
        let raft = &mut self.node.raft;
        raft.msgs.push(eraftpb::Message {
            msg_type: MessageType::MsgReadIndexResp,
            from: raft.id,
            to: question.from,
            term: raft.term,
            index: raft.raft_log.committed,
            entries: question.entries,
            ..Default::default()
        });
    }

    fn step(&mut self, message: eraftpb::Message) -> Result<(), Rejected> {
        let stepped = self.node.step(message);
        self.pin_timeout();
        match stepped {
            // A proposal that no leader takes is the sender's to repeat.
            Ok(()) | Err(::raft::Error::ProposalDropped) => Ok(()),
            Err(_) => Err(Rejected::Refused),
        }
    }

    /// Puts payloads into the log of the leader, here or elsewhere.
    pub fn propose(&mut self, payloads: Vec<Payload>) -> Result<(), Dropped> {
        let entries: Vec<_> = payloads.into_iter().map(convert::payload_to_crate).collect();
        let mut message = eraftpb::Message {
            msg_type: MessageType::MsgPropose,
            from: self.node.raft.id,
            ..Default::default()
        };
        message.set_entries(entries.into());
        self.node.raft.step(message).map_err(|_dropped| Dropped)
    }

    /// Asks the leader, here or elsewhere, from which index on a read is linearizable.
    pub fn read_index(&mut self, context: Vec<u8>) {
        self.node.read_index(context);
    }

    /// What is to be done now, if anything. Everything handed out counts as handed to the disk.
    pub fn ready(&mut self) -> Option<Ready> {
        if !self.node.has_ready() {
            return None;
        }
        let mut ready = self.node.ready();
        let snapshot = (!ready.snapshot().is_empty()).then(|| ready.snapshot().clone());
        let entries = ready.take_entries();
        let hard_state = ready.hs().map(convert::hard_state_from_crate);
        let out = Ready {
            number: ready.number(),
            hard_state,
            must_sync: ready.must_sync(),
            send: self.to_wire(ready.take_messages()),
            then_send: self.to_wire(ready.take_persisted_messages()),
            committed: ready
                .take_committed_entries()
                .into_iter()
                .map(convert::entry_from_crate)
                .collect(),
            reads: ready
                .take_read_states()
                .into_iter()
                .map(|read| (Bytes::from(read.request_ctx), Index(read.index)))
                .collect(),
            entries: entries.iter().cloned().map(convert::entry_from_crate).collect(),
            snapshot: snapshot.clone().map(convert::snapshot_from_crate),
        };
        if out.must_sync {
            let snapshot = out.snapshot.as_ref().map(|(meta, _)| meta.index.0);
            self.outstanding.push_back(Outstanding { number: out.number, snapshot });
        }
        let view = self.node.mut_store();
        if let Some(snapshot) = &snapshot {
            view.restore(snapshot);
        }
        view.append(entries);
        self.node.advance_append_async(ready);
        Some(out)
    }

    /// Forwarded proposals carry the term in which they were made, so that no leader of a later one takes
    /// them, and questions for a read index that in which they were sent (see [`Machine::leads_with`]); the
    /// wrapped crate leaves that field unused.
    fn to_wire(&self, messages: Vec<eraftpb::Message>) -> Vec<Message> {
        let convert = |message| {
            let mut message = convert::message_to_wire(message);
            if matches!(message.kind, kind::PROPOSE | kind::READ_INDEX) {
                message.log_term = self.node.raft.term;
            }
            message
        };
        messages.into_iter().map(convert).collect()
    }

    /// Whether everything handed out so far that matters is on disk, so that nothing has to wait for it.
    pub fn all_persisted(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// The readies up to this number are on disk.
    pub fn persisted(&mut self, number: u64) {
        let mut snapshot = None;
        while let Some(done) = self.outstanding.pop_front_if(|ready| ready.number <= number) {
            snapshot = done.snapshot.or(snapshot);
        }
        self.node.on_persist_ready(number);
        if let Some(index) = snapshot {
            self.applied_to(Index(index));
        }
        while !self.log_unsettled()
            && let Some(vote) = self.held_votes.pop_front()
        {
            // Votes of an older campaign are refused or ignored by their term.
            let _ = self.step(vote);
        }
        self.pin_timeout();
    }

    /// The membership changes up to this entry have been carried out.
    pub fn applied_to(&mut self, index: Index) {
        if index.0 > self.node.raft.raft_log.applied {
            self.node.advance_apply_to(index.0);
        }
    }

    /// Changes the configuration. Quorums count by the new one from here on.
    pub fn apply(&mut self, op: ConfOp) {
        let (change_type, id) = match op {
            ConfOp::Voter(id) => (ConfChangeType::AddNode, id),
            ConfOp::Learner(id) => (ConfChangeType::AddLearnerNode, id),
            ConfOp::Remove(id) => (ConfChangeType::RemoveNode, id),
        };
        let change = ConfChange { change_type, node_id: id.0, ..Default::default() };
        self.node
            .apply_conf_change(&change)
            .expect("the roster never removes the last voter nor changes two voters at once");
        // The crate lets a removed leader go on and trips over its own missing progress later.
        if op == ConfOp::Remove(MemberId(self.node.raft.id)) && self.role() == Role::Leader {
            let term = self.node.raft.term;
            self.node.raft.become_follower(term, 0);
        }
        self.pin_timeout();
    }

    /// Drops entries nobody is expected to need (see [`LogView::trim`]).
    pub fn trim(&mut self, keep_after: Index, applied: Index, bytes: usize) {
        // The crate may still have to look at what it has not seen applied.
        let applied = applied.min(Index(self.node.raft.raft_log.applied));
        self.node.mut_store().trim(keep_after, applied, bytes);
    }

    pub fn supply_snapshot(&mut self, meta: &SnapshotMeta, data: Bytes) {
        self.node.mut_store().supply(convert::snapshot_to_crate(meta, data));
    }

    /// Whether the leader looked for a snapshot and found none since this was last asked.
    pub fn take_snapshot_wanted(&mut self) -> bool {
        self.node.store().take_snapshot_wanted()
    }

    /// The snapshot sent to this peer arrived, or did not.
    pub fn snapshot_sent(&mut self, to: MemberId, delivered: bool) {
        let status = if delivered { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.node.report_snapshot(to.0, status);
        let sending =
            |progress: &::raft::Progress| progress.state == ::raft::ProgressState::Snapshot;
        if !self.node.raft.prs().iter().any(|(_, progress)| sending(progress)) {
            self.node.mut_store().forget_snapshot();
        }
    }

    pub fn unreachable(&mut self, peer: MemberId) {
        self.node.report_unreachable(peer.0);
    }

    pub fn transfer_leadership(&mut self, to: MemberId) {
        self.node.transfer_leader(to.0);
    }

    pub fn id(&self) -> MemberId {
        MemberId(self.node.raft.id)
    }

    pub fn term(&self) -> Term {
        Term(self.node.raft.term)
    }

    pub fn role(&self) -> Role {
        match self.node.raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::PreCandidate => Role::PreCandidate,
            StateRole::Candidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        }
    }

    pub fn leader(&self) -> Option<MemberId> {
        let leader = self.node.raft.leader_id;
        (leader != 0).then_some(MemberId(leader))
    }

    pub fn commit(&self) -> Index {
        Index(self.node.raft.raft_log.committed)
    }

    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.node.store().term_at(index)
    }

    /// Whether an entry of the leader's own term is committed; before that it cannot serve reads.
    pub fn commit_is_current(&self) -> bool {
        self.node.raft.commit_to_current_term()
    }

    /// Whether this member leads and is a majority by itself: what it has committed is then all that any member
    /// has, and a read needs no round (Raft dissertation §6.4).
    pub fn rules_alone(&self) -> bool {
        self.role() == Role::Leader
            && self.node.raft.prs().is_singleton()
            && self.commit_is_current()
    }

    /// Whether a membership change waits in the log; a second one would be dropped by the leader.
    pub fn membership_change_pending(&self) -> bool {
        self.node.raft.has_pending_conf()
    }

    /// Who is about to take over the leadership.
    pub fn transferee(&self) -> Option<MemberId> {
        self.node.raft.lead_transferee.map(MemberId)
    }

    /// All members by id, as the leader knows them; empty elsewhere.
    pub fn progress(&self) -> Vec<PeerProgress> {
        if self.role() != Role::Leader {
            return Vec::new();
        }
        let prs = self.node.raft.prs();
        let mut all: Vec<PeerProgress> = prs
            .iter()
            .map(|(id, progress)| PeerProgress {
                id: MemberId(*id),
                matched: Index(progress.matched),
                snapshot: (progress.state == ::raft::ProgressState::Snapshot)
                    .then_some(Index(progress.pending_snapshot)),
                recently_active: *id == self.node.raft.id || progress.recent_active,
                learner: prs.conf().learners().contains(id),
            })
            .collect();
        all.sort_unstable_by_key(|progress| progress.id);
        all
    }

    /// Whether this is the leader of a cluster that has learners.
    pub fn leads_learners(&self) -> bool {
        let conf = self.node.raft.prs().conf();
        self.role() == Role::Leader && !conf.learners().is_empty()
    }

    /// Whether the log in memory is ahead of the disk.
    fn log_unsettled(&self) -> bool {
        let log = &self.node.raft.raft_log;
        !self.outstanding.is_empty() || log.persisted < log.last_index()
    }

    fn campaign_must_wait(&self) -> bool {
        let lone_voter = self.node.raft.prs().is_singleton();
        self.outstanding.iter().any(|ready| ready.snapshot.is_some())
            || (lone_voter && self.log_unsettled())
    }

    /// Replaces the crate's own draw, which it repeats whenever it changes role, by ours.
    fn pin_timeout(&mut self) {
        let now = (self.node.raft.term, self.node.raft.state);
        if now != self.drawn_for {
            self.drawn_for = now;
            self.redraw();
        }
        self.node.raft.set_randomized_election_timeout(self.timeout);
    }

    /// Between one and two election timeouts, as Raft §5.2 asks.
    fn redraw(&mut self) {
        let spread = self.draw.below(self.election_ticks as u64);
        self.timeout = self.election_ticks + usize::try_from(spread).expect("below a usize");
        self.node.raft.set_randomized_election_timeout(self.timeout);
    }
}

/// The payloads of a forwarded proposal that passed [`Machine::check`].
pub(crate) fn proposed(message: Message) -> Vec<Payload> {
    message.entries.into_iter().filter_map(convert::payload_from_wire).collect()
}

/// Whether a message may leave before the batch it was made with is on disk.
///
/// Forwarded proposals and reads promise nothing about this member. A heartbeat's answer says only that the
/// term was seen, which no later vote depends on: the leader's quorum of votes is on disk.
pub(crate) fn needs_no_disk(message: &Message) -> bool {
    matches!(
        message.kind,
        kind::PROPOSE | kind::READ_INDEX | kind::HEARTBEAT_RESPONSE | kind::TRANSFER_LEADER
    )
}
