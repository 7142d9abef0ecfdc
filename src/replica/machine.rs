use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;
use prost::Message as _;
use tracing::{debug, info, warn};

use super::catch_up::{CatchUp, Seen};
use super::proposals::Proposals;
use super::reads::Reads;
use super::{Committed, Config, ConfigError, Effects, Event, Persist, Status, roster};
use crate::membership::{MemberId, Roster};
use crate::proto::quorate::replica::MembershipChange;
use crate::raft::{
    self, Draw, Entry, HardState, Index, Machine, Message, Payload, PeerProgress, Ready, Rejected,
    Role, SnapshotMeta, Term, kind,
};

/// Committed entries that may wait to be applied; while there are more, proposals are refused.
pub const MAX_COMMIT_LEAD: u64 = 5000;
/// Election timeouts after which a snapshot that was asked for and did not come is asked for again.
const SNAPSHOT_PATIENCE: usize = 10;

/// One member's replica.
#[derive(Debug)]
pub struct Replica {
    machine: Machine,
    /// The members at the last entry handed out as committed.
    roster: Roster,
    max_learners: usize,
    catchup_entries: u64,
    catchup_bytes: usize,
    catch_up: CatchUp,
    proposals: Proposals,
    reads: Reads,
    /// The last batch handed to the log.
    batch: u64,
    /// The newest hard state, if no batch has taken it along: its commit index is new, nothing else.
    unwritten: Option<HardState>,
    /// Batches the log has not acknowledged.
    unpersisted: VecDeque<Unpersisted>,
    applied: Index,
    /// The snapshot that the shell is putting in place; entries behind it wait in `held`.
    installing: Option<Index>,
    held: Vec<Entry>,
    /// Ticks until a snapshot that was asked for is asked for again; zero when none was.
    snapshot_due_ticks: usize,
    snapshot_patience_ticks: usize,
    last_status: Status,
    rejected: u64,
    /// Effects that come of events rather than of consensus.
    pending: Effects,
}

#[derive(Debug)]
struct Unpersisted {
    batch: u64,
    ready: u64,
    snapshot: Option<(SnapshotMeta, Bytes)>,
}

impl Replica {
    /// Starts from what was recovered.
    pub fn new(mut config: Config) -> Result<Self, ConfigError> {
        let machine = Machine::new(config.machine()?)
            .map_err(|error| ConfigError::Settings(error.to_string()))?;
        let run = Draw::new(config.seed ^ config.id.0).number();
        Ok(Self {
            last_status: status_of(&machine),
            machine,
            max_learners: config.max_learners,
            catchup_entries: config.catchup_entries,
            catchup_bytes: config.catchup_bytes,
            catch_up: CatchUp::new(SNAPSHOT_PATIENCE * config.election_ticks),
            proposals: Proposals::new(config.max_queued, config.request_ticks),
            reads: Reads::new(config.id, run, 2 * config.heartbeat_ticks),
            batch: 0,
            unwritten: None,
            unpersisted: VecDeque::new(),
            applied: config.applied,
            roster: config.roster,
            installing: None,
            held: Vec::new(),
            snapshot_due_ticks: 0,
            snapshot_patience_ticks: SNAPSHOT_PATIENCE * config.election_ticks,
            rejected: 0,
            pending: Effects::default(),
        })
    }

    /// Takes one event. Several may be taken before [`Replica::effects`] is asked.
    pub fn step(&mut self, event: Event) {
        match event {
            Event::Tick => self.tick(),
            Event::Propose(request) => self.propose(request),
            Event::ProposeMembership(change) => {
                let change = Bytes::from(change.encode_to_vec());
                if let Err(change) = self.proposals.push_change(change) {
                    self.pending.refused.push(change);
                }
            }
            Event::Read { context } => {
                if !self.reads.push(context) {
                    self.pending.reads_lost.push(context);
                }
            }
            Event::Receive(message) => self.receive(message),
            Event::Persisted { batch } => self.persisted(batch),
            Event::Applied { index } => self.applied(index),
            Event::Installed { index, roster } => self.installed(index, roster),
            Event::Compact { index } => self.trim(index),
            Event::SnapshotReady { meta, data } => self.snapshot_ready(&meta, data),
            Event::SnapshotSent { to, delivered } => self.machine.snapshot_sent(to, delivered),
            Event::Unreachable(peer) => self.machine.unreachable(peer),
            Event::TransferLeadership(to) => self.machine.transfer_leadership(to),
        }
    }

    /// What is to be done now. To be asked until it is empty.
    pub fn effects(&mut self) -> Effects {
        self.reads.notice_leader(self.machine.leader(), &mut self.pending.reads_lost);
        self.proposals.flush(&mut self.machine);
        self.reads.flush(&mut self.machine);
        let mut effects = mem::take(&mut self.pending);
        let settled = self.machine.all_persisted();
        if let Some(ready) = self.machine.ready() {
            self.hand_out(ready, settled, &mut effects);
        }
        if self.machine.take_snapshot_wanted() && self.snapshot_due_ticks == 0 {
            self.snapshot_due_ticks = self.snapshot_patience_ticks;
            effects.snapshot_wanted = true;
        }
        self.note_status(&mut effects);
        effects
    }

    pub fn status(&self) -> Status {
        status_of(&self.machine)
    }

    /// The members at the last entry handed out as committed.
    #[cfg(any(test, feature = "sim"))]
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The peers as the leader sees them, by id; empty on other members.
    pub fn progress(&self) -> Vec<PeerProgress> {
        self.machine.progress()
    }

    /// Whether this is the leader of a cluster that has learners.
    pub fn leads_learners(&self) -> bool {
        self.machine.leads_learners()
    }

    /// How many messages of peers were refused.
    #[cfg(test)]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    fn tick(&mut self) {
        self.machine.tick();
        self.proposals.tick();
        self.reads.tick();
        self.catch_up.tick();
        self.snapshot_due_ticks = self.snapshot_due_ticks.saturating_sub(1);
    }

    fn propose(&mut self, request: Bytes) {
        let lead = self.machine.commit().0.saturating_sub(self.applied.0);
        let refused = if lead > MAX_COMMIT_LEAD {
            Err(request)
        } else {
            self.proposals.push_request(request)
        };
        if let Err(request) = refused {
            self.pending.refused.push(request);
        }
    }

    fn receive(&mut self, message: Message) {
        let (from, message_kind) = (MemberId(message.from), message.kind);
        let taken = if message_kind == kind::PROPOSE {
            self.machine.check(&message).and_then(|()| self.take_forwarded(message))
        } else {
            self.machine.receive(message)
        };
        let Err(reason) = taken else { return };
        self.rejected += 1;
        let kind = kind::name(message_kind);
        // A lost log or a broken peer repeats itself with every heartbeat; say it ever more rarely.
        let grave = matches!(
            reason,
            Rejected::CommitBeyondLog { .. } | Rejected::AcknowledgesTooMuch { .. }
        );
        if grave && self.rejected.is_power_of_two() {
            warn!(peer.id = %from, message.kind = kind, error = %reason, "message of a peer refused");
        } else {
            debug!(peer.id = %from, message.kind = kind, error = %reason, "message of a peer refused");
        }
    }

    /// Forwarded proposals queue with our own. What finds no room is lost, as it may be on the way.
    /// They are taken in the term in which they were made or not at all (see [`Proposals`]).
    fn take_forwarded(&mut self, message: Message) -> Result<(), Rejected> {
        let term = Term(message.log_term);
        if self.machine.role() != Role::Leader || self.machine.term() != term {
            return Err(Rejected::NotLeader);
        }
        for payload in raft::proposed(message) {
            let lost = match payload {
                Payload::Empty => continue,
                Payload::Request(request) => self.proposals.push_forwarded(request, term).is_err(),
                Payload::Membership(change) => {
                    self.proposals.push_forwarded_change(change, term).is_err()
                }
            };
            if lost {
                self.rejected += 1;
            }
        }
        Ok(())
    }

    fn persisted(&mut self, batch: u64) {
        let mut ready = None;
        while let Some(done) = self.unpersisted.pop_front_if(|held| held.batch <= batch) {
            ready = Some(done.ready);
            if let Some((meta, data)) = done.snapshot {
                // What was held back is part of the new snapshot's state, or comes again behind it.
                self.held.retain(|entry| entry.index > meta.index);
                self.installing = Some(meta.index);
                self.pending.unknown.extend(self.proposals.forget());
                self.pending.committed.push(Committed::Snapshot { meta, data });
            }
        }
        if let Some(number) = ready {
            self.machine.persisted(number);
        }
    }

    fn applied(&mut self, index: Index) {
        self.applied = self.applied.max(index);
        self.trim(self.applied);
    }

    /// Cuts the log in memory up to `index`, but for what followers are expected to need.
    fn trim(&mut self, index: Index) {
        let usual = Index(index.0.saturating_sub(self.catchup_entries));
        let followers = self.machine.progress().into_iter();
        let seen: Vec<Seen> = followers
            .map(|PeerProgress { id, matched, snapshot, .. }| Seen { id, matched, snapshot })
            .collect();
        let keep_after = self.catch_up.keep_after(&seen, usual);
        self.machine.trim(keep_after, self.applied, self.catchup_bytes);
    }

    fn installed(&mut self, index: Index, roster: Roster) {
        if self.installing != Some(index) {
            // A later snapshot has taken its place meanwhile and will be reported itself.
            return;
        }
        self.installing = None;
        self.roster = roster;
        self.applied(index);
        let held = mem::take(&mut self.held);
        let mut committed = mem::take(&mut self.pending.committed);
        self.commit(held, &mut committed);
        self.pending.committed = committed;
    }

    fn snapshot_ready(&mut self, meta: &SnapshotMeta, data: Bytes) {
        self.snapshot_due_ticks = 0;
        // Of a state before the log in memory, or of another log: no follower could go on from there.
        if self.machine.term_at(meta.index) == Some(meta.term) {
            self.machine.supply_snapshot(meta, data);
        }
    }

    fn hand_out(&mut self, ready: Ready, settled: bool, effects: &mut Effects) {
        effects.send.extend(ready.send);
        for (name, index) in ready.reads {
            self.reads.answered(&name, index, &mut effects.reads);
        }
        let mut then_send = ready.then_send;
        if settled && !ready.must_sync {
            // Nothing these messages speak of is still on its way to the disk.
            effects.send.append(&mut then_send);
            self.machine.persisted(ready.number);
        } else {
            let (now, later) = then_send.into_iter().partition(raft::needs_no_disk);
            effects.send.extend::<Vec<Message>>(now);
            then_send = later;
        }
        if ready.hard_state.is_some() {
            self.unwritten = ready.hard_state;
        }
        // A commit index alone is not worth waking the log for: it goes with the next batch.
        if ready.must_sync || !then_send.is_empty() {
            self.batch += 1;
            let (batch, snapshot) = (self.batch, ready.snapshot.clone());
            self.unpersisted.push_back(Unpersisted { batch, ready: ready.number, snapshot });
            effects.persist = Some(Persist {
                batch,
                hard_state: self.unwritten.take(),
                entries: ready.entries,
                snapshot: ready.snapshot,
                then_send,
                sync: ready.must_sync,
            });
        }
        self.commit(ready.committed, &mut effects.committed);
    }

    /// Carries out the membership changes among committed entries and hands all of them on.
    fn commit(&mut self, entries: Vec<Entry>, out: &mut Vec<Committed>) {
        if self.installing.is_some() {
            self.held.extend(entries);
            return;
        }
        let Some(last) = entries.last().map(|entry| entry.index) else { return };
        for Entry { term, index, payload } in entries {
            self.proposals.term_committed(term);
            if let Payload::Request(request) = &payload {
                self.proposals.committed(request);
            }
            out.push(match payload {
                Payload::Empty => Committed::Request { index, term, data: Bytes::new() },
                Payload::Request(data) => Committed::Request { index, term, data },
                Payload::Membership(change) => {
                    let change = MembershipChange::decode(change).unwrap_or_default();
                    let applied = roster::apply(&mut self.roster, &change, self.max_learners);
                    let outcome =
                        applied.map(|op| op.into_iter().for_each(|op| self.machine.apply(op)));
                    log_change(&change, &outcome);
                    let roster = self.roster.clone();
                    Committed::Membership { index, term, change, outcome, roster }
                }
            });
        }
        self.machine.applied_to(last);
    }

    fn note_status(&mut self, effects: &mut Effects) {
        let now = self.status();
        let before = self.last_status;
        if now == (Status { commit: now.commit, ..before }) {
            return;
        }
        let (member, term) = (self.machine.id(), now.term.0);
        if now.role != before.role {
            match now.role {
                Role::Leader => info!(member.id = %member, raft.term = term, "became leader"),
                Role::Follower => info!(member.id = %member, raft.term = term, "became follower"),
                Role::Candidate => info!(member.id = %member, raft.term = term, "became candidate"),
                Role::PreCandidate => {
                    info!(member.id = %member, raft.term = term, "became pre-candidate");
                }
            }
        }
        match (before.leader, now.leader) {
            (_, Some(leader)) if before.leader != now.leader => {
                info!(member.id = %member, leader.id = %leader, raft.term = term, "found leader");
            }
            (Some(leader), None) => {
                info!(member.id = %member, leader.id = %leader, raft.term = term, "lost leader");
            }
            _ => {}
        }
        if now.role != Role::Leader {
            self.snapshot_due_ticks = 0;
        }
        self.last_status = now;
        effects.status = Some(now);
    }
}

fn status_of(machine: &Machine) -> Status {
    Status {
        leader: machine.leader(),
        term: machine.term(),
        role: machine.role(),
        commit: machine.commit(),
        alone: machine.rules_alone(),
    }
}

fn log_change(change: &MembershipChange, outcome: &Result<(), super::MembershipError>) {
    let member = MemberId(change.member_id);
    match outcome {
        Ok(()) => info!(member.id = %member, change.kind = change.kind, "membership changed"),
        Err(error) => {
            info!(member.id = %member, change.kind = change.kind, error = %error, "membership change refused");
        }
    }
}
