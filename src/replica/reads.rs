use std::collections::VecDeque;

use bytes::Bytes;

use super::ReadReady;
use crate::membership::MemberId;
use crate::raft::{Index, Machine, Role};

/// Read-index rounds under way at once. More reads join the next round, so that rounds grow with load.
const MAX_ROUNDS: usize = 4;
/// Reads that wait for a round; further ones are lost, which clients see as a changed leader.
const MAX_WAITING: usize = 1 << 16;

/// Reads on their way to a read index.
///
/// All reads that wait share one round. A round that gets no answer (the message was lost, or the leader has not
/// committed in its term and stays silent) is asked again with a new number: the index it brings is later, which
/// serves earlier reads too.
#[derive(Debug)]
pub(super) struct Reads {
    member: MemberId,
    /// Tells the rounds of this run from those of an earlier one, whose answers may still arrive.
    run: u64,
    waiting: Vec<u64>,
    rounds: VecDeque<Round>,
    last_round: u64,
    patience_ticks: usize,
    /// Who is asked.
    leader: Option<MemberId>,
}

#[derive(Debug)]
struct Round {
    number: u64,
    contexts: Vec<u64>,
    age_ticks: usize,
}

impl Reads {
    pub(super) fn new(member: MemberId, run: u64, patience_ticks: usize) -> Self {
        let (waiting, rounds) = (Vec::new(), VecDeque::new());
        Self { member, run, waiting, rounds, last_round: 0, patience_ticks, leader: None }
    }

    /// False when there is no room.
    pub(super) fn push(&mut self, context: u64) -> bool {
        let room = self.waiting.len() < MAX_WAITING;
        if room {
            self.waiting.push(context);
        }
        room
    }

    /// Starts a round for all that wait.
    pub(super) fn flush(&mut self, machine: &mut Machine) {
        let silent = machine.role() == Role::Leader && !machine.commit_is_current();
        if self.waiting.is_empty()
            || machine.leader().is_none()
            || silent
            || self.rounds.len() >= MAX_ROUNDS
        {
            return;
        }
        self.last_round += 1;
        let contexts = std::mem::take(&mut self.waiting);
        self.rounds.push_back(Round { number: self.last_round, contexts, age_ticks: 0 });
        machine.read_index(self.name(self.last_round));
    }

    /// Rounds without an answer go back to those that wait.
    pub(super) fn tick(&mut self) {
        for round in &mut self.rounds {
            round.age_ticks += 1;
        }
        while let Some(late) =
            self.rounds.pop_front_if(|round| round.age_ticks > self.patience_ticks)
        {
            self.waiting.extend(late.contexts);
        }
    }

    /// An answer; it holds for every earlier round too.
    pub(super) fn answered(&mut self, name: &Bytes, index: Index, ready: &mut Vec<ReadReady>) {
        let Some(number) = self.number(name) else { return };
        while let Some(round) = self.rounds.pop_front_if(|round| round.number <= number) {
            let served = round.contexts.into_iter().map(|context| ReadReady { context, index });
            ready.extend(served);
        }
    }

    /// Says who leads. When that changed, what was asked of the one before is lost.
    pub(super) fn notice_leader(&mut self, leader: Option<MemberId>, lost: &mut Vec<u64>) {
        if leader != self.leader {
            self.leader = leader;
            lost.extend(self.rounds.drain(..).flat_map(|round| round.contexts));
        }
    }

    /// The name of a round as peers see it: no two rounds of a cluster share one, ever.
    fn name(&self, number: u64) -> Vec<u8> {
        [self.member.0, self.run, number].map(u64::to_be_bytes).concat()
    }

    fn number(&self, name: &Bytes) -> Option<u64> {
        let (head, number) = name.split_at_checked(16)?;
        let ours = [self.member.0, self.run].map(u64::to_be_bytes).concat();
        if head != ours {
            return None;
        }
        Some(u64::from_be_bytes(number.try_into().ok()?))
    }
}
