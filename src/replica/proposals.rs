use std::collections::VecDeque;

use bytes::Bytes;

use crate::raft::{Machine, Payload, Role};

/// Bytes of requests that are proposed as one: an append message takes about as many.
const MAX_BYTES_PER_PROPOSAL: usize = 1 << 20;

/// What waits to be proposed. Members keep it short: they refuse what exceeds `max`.
#[derive(Debug)]
pub(super) struct Proposals {
    requests: VecDeque<Bytes>,
    /// On a leader one at a time, each after the one before was applied; the wrapped crate would drop it.
    changes: VecDeque<Bytes>,
    max: usize,
}

impl Proposals {
    pub(super) fn new(max: usize) -> Self {
        Self { requests: VecDeque::new(), changes: VecDeque::new(), max }
    }

    /// Gives the request back when there is no room.
    pub(super) fn push_request(&mut self, request: Bytes) -> Result<(), Bytes> {
        if self.requests.len() >= self.max {
            return Err(request);
        }
        self.requests.push_back(request);
        Ok(())
    }

    /// Gives the change back when there is no room.
    pub(super) fn push_change(&mut self, change: Bytes) -> Result<(), Bytes> {
        if self.changes.len() >= self.max {
            return Err(change);
        }
        self.changes.push_back(change);
        Ok(())
    }

    /// Proposes as much as the leader takes now.
    pub(super) fn flush(&mut self, machine: &mut Machine) {
        // While it hands over, a leader takes nothing.
        if machine.leader().is_none() || machine.transferee().is_some() {
            return;
        }
        while !self.requests.is_empty() {
            let mut bytes = 0;
            let fits = |request: &&Bytes| {
                bytes += request.len();
                bytes <= MAX_BYTES_PER_PROPOSAL
            };
            let count = self.requests.iter().take_while(fits).count().max(1);
            let payloads = self.requests.iter().take(count).cloned().map(Payload::Request);
            if machine.propose(payloads.collect()).is_err() {
                return;
            }
            self.requests.drain(..count);
        }
        while let Some(change) = self.changes.front() {
            let waits = machine.role() == Role::Leader && machine.membership_change_pending();
            if waits || machine.propose(vec![Payload::Membership(change.clone())]).is_err() {
                return;
            }
            self.changes.pop_front();
        }
    }
}
