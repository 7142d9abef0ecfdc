use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf as _, Bytes};

use crate::raft::{Machine, Payload, Role, Term};

/// Bytes of requests that are proposed as one: an append message takes about as many.
const MAX_BYTES_PER_PROPOSAL: usize = 1 << 20;
/// How a request begins: the tag of its id, field 1 as a variable-length integer.
const ID_TAG: u8 = 0x08;

/// What waits to be proposed, and what was proposed here and is not committed yet.
///
/// A proposal goes into the log in the term in which it was made or not at all: a leader takes forwarded
/// proposals only with its own term on them. So when an entry of a later term is committed and a
/// request proposed before is not, that request is lost for good, and proposing it again cannot
/// apply it twice. That is how clients get over the loss of a leader without noticing.
#[derive(Debug)]
pub(super) struct Proposals {
    requests: VecDeque<Queued>,
    /// On a leader one at a time, each after the one before was applied; the wrapped crate would drop it.
    changes: VecDeque<Bytes>,
    max: usize,
    /// Requests of this member's clients by id.
    under_way: BTreeMap<u64, UnderWay>,
    /// The highest term of a committed entry.
    committed_term: Term,
    /// Ticks for which a request is proposed again; its client has given up by then.
    patience_ticks: u32,
}

#[derive(Debug)]
struct Queued {
    request: Bytes,
    /// The term in which a peer forwarded it; `None` for a request of our own client.
    forwarded: Option<Term>,
}

#[derive(Debug)]
struct UnderWay {
    request: Bytes,
    proposed: Term,
    age_ticks: u32,
}

impl Proposals {
    pub(super) fn new(max: usize, patience_ticks: u32) -> Self {
        Self {
            requests: VecDeque::new(),
            changes: VecDeque::new(),
            max,
            under_way: BTreeMap::new(),
            committed_term: Term(0),
            patience_ticks,
        }
    }

    /// Gives the request back when there is no room.
    pub(super) fn push_request(&mut self, request: Bytes) -> Result<(), Bytes> {
        self.push(Queued { request, forwarded: None })
    }

    /// The same for a request that a peer forwarded to this leader.
    pub(super) fn push_forwarded(&mut self, request: Bytes, term: Term) -> Result<(), Bytes> {
        self.push(Queued { request, forwarded: Some(term) })
    }

    fn push(&mut self, queued: Queued) -> Result<(), Bytes> {
        if self.requests.len() >= self.max {
            return Err(queued.request);
        }
        self.requests.push_back(queued);
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

    /// Forgets requests whose clients have given up.
    pub(super) fn tick(&mut self) {
        let patience = self.patience_ticks;
        self.under_way.retain(|_, under_way| {
            under_way.age_ticks += 1;
            under_way.age_ticks <= patience
        });
    }

    /// A request was committed; it is no longer under way here.
    pub(super) fn committed(&mut self, request: &[u8]) {
        if !self.under_way.is_empty()
            && let Some(id) = id_of(request)
        {
            self.under_way.remove(&id);
        }
    }

    /// An entry of this term was committed: what was proposed in earlier ones and did not come
    /// before it never will, and is proposed again.
    pub(super) fn term_committed(&mut self, term: Term) {
        if term <= self.committed_term {
            return;
        }
        self.committed_term = term;
        let lost = |_: &u64, under_way: &mut UnderWay| under_way.proposed < term;
        for (_, under_way) in self.under_way.extract_if(.., lost) {
            let queued = Queued { request: under_way.request, forwarded: None };
            self.requests.push_back(queued);
        }
    }

    /// The state was replaced by a snapshot, which may hold what is under way: nobody can tell.
    pub(super) fn forget(&mut self) -> impl Iterator<Item = u64> {
        std::mem::take(&mut self.under_way).into_keys()
    }

    /// Proposes as much as the leader takes now.
    pub(super) fn flush(&mut self, machine: &mut Machine) {
        let (term, leads) = (machine.term(), machine.role() == Role::Leader);
        self.requests.retain(|queued| queued.forwarded.is_none_or(|made| made == term && leads));
        // While it hands over, a leader takes nothing.
        if machine.leader().is_none() || machine.transferee().is_some() {
            return;
        }
        while !self.requests.is_empty() {
            let mut bytes = 0;
            let fits = |queued: &&Queued| {
                bytes += queued.request.len();
                bytes <= MAX_BYTES_PER_PROPOSAL
            };
            let count = self.requests.iter().take_while(fits).count().max(1);
            let payload = |queued: &Queued| Payload::Request(queued.request.clone());
            let payloads = self.requests.iter().take(count).map(payload);
            if machine.propose(payloads.collect()).is_err() {
                return;
            }
            for queued in self.requests.drain(..count) {
                if queued.forwarded.is_none()
                    && let Some(id) = id_of(&queued.request)
                {
                    let request = queued.request;
                    self.under_way.insert(id, UnderWay { request, proposed: term, age_ticks: 0 });
                }
            }
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

/// The id of an encoded request; `None` when nobody waits for it.
fn id_of(mut request: &[u8]) -> Option<u64> {
    if !request.has_remaining() || request.get_u8() != ID_TAG {
        return None;
    }
    prost::encoding::decode_varint(&mut request).ok()
}
