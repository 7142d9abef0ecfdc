use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message as _;

use super::network::LONGEST_DELAY;
use crate::membership::MemberId;
use crate::raft::{Entry, Index, Message, Payload, Term, kind, proposed};
use crate::replica::Event;

/// A tick at its slowest.
const SLOW_TICK: u64 = 11;

/// Nothing is proposed for a client that must have given up: a member proposes, or forwards to its leader,
/// only what was asked of it lately, and the leader what it was forwarded lately.
#[derive(Debug)]
pub(super) struct Patience {
    /// When each request and membership change was asked for last, by what would stand in the log.
    asked: BTreeMap<Bytes, u64>,
    /// Entries that were in some log.
    logged: BTreeSet<(Index, Term)>,
    /// How long a member may keep a request.
    limit: u64,
}

impl Patience {
    pub(super) fn of_ticks(request_ticks: u32) -> Self {
        let limit = (u64::from(request_ticks) + 1) * SLOW_TICK;
        Self { asked: BTreeMap::new(), logged: BTreeSet::new(), limit }
    }

    pub(super) fn hears(&mut self, event: &Event, now: u64) {
        let asked = match event {
            Event::Propose(request) => request.clone(),
            Event::ProposeMembership(change) => change.encode_to_vec().into(),
            _ => return,
        };
        self.asked.insert(asked, now);
    }

    /// A member sends something to another.
    pub(super) fn sends(&self, from: MemberId, message: &Message, now: u64) -> Result<(), String> {
        if message.kind != kind::PROPOSE {
            return Ok(());
        }
        let mut forwarded = proposed(message.clone()).into_iter();
        forwarded.try_for_each(|payload| self.is_timely(from, &payload, now, self.limit))
    }

    /// A member adds to its log. The first to do so with an entry is the leader that proposes it.
    pub(super) fn logs(
        &mut self,
        member: MemberId,
        entries: &[Entry],
        now: u64,
    ) -> Result<(), String> {
        for entry in entries {
            if self.logged.insert((entry.index, entry.term)) {
                let limit = 2 * self.limit + LONGEST_DELAY;
                self.is_timely(member, &entry.payload, now, limit)?;
            }
        }
        Ok(())
    }

    fn is_timely(
        &self,
        member: MemberId,
        payload: &Payload,
        now: u64,
        limit: u64,
    ) -> Result<(), String> {
        let (Payload::Request(data) | Payload::Membership(data)) = payload else { return Ok(()) };
        match self.asked.get(data) {
            Some(asked) if asked + limit < now => {
                Err(format!("patience: {member} proposes at {now} what was asked for at {asked}"))
            }
            Some(_) => Ok(()),
            None => Err(format!("patience: {member} proposes what nobody has asked for")),
        }
    }
}
