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
    changes: VecDeque<Queued>,
    max: usize,
    /// Requests of this member's clients by id.
    under_way: BTreeMap<u64, UnderWay>,
    /// The highest term of a committed entry.
    committed_term: Term,
    /// Ticks for which a request waits or is proposed again; its client has given up by then.
    patience_ticks: u32,
}

#[derive(Debug)]
struct Queued {
    request: Bytes,
    /// The term in which a peer forwarded it; `None` for a request of our own client.
    forwarded: Option<Term>,
    /// Since it came here, whatever became of it.
    age_ticks: u32,
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
        push(&mut self.requests, self.max, request, None)
    }

    /// The same for a request that a peer forwarded to this leader.
    pub(super) fn push_forwarded(&mut self, request: Bytes, term: Term) -> Result<(), Bytes> {
        push(&mut self.requests, self.max, request, Some(term))
    }

    /// Gives the change back when there is no room.
    pub(super) fn push_change(&mut self, change: Bytes) -> Result<(), Bytes> {
        push(&mut self.changes, self.max, change, None)
    }

    /// The same for a change that a peer forwarded to this leader.
    pub(super) fn push_forwarded_change(&mut self, change: Bytes, term: Term) -> Result<(), Bytes> {
        push(&mut self.changes, self.max, change, Some(term))
    }

    /// Forgets what clients have asked that have given up: it must not happen an hour later.
    pub(super) fn tick(&mut self) {
        let waits = |age_ticks: &mut u32| {
            *age_ticks += 1;
            *age_ticks <= self.patience_ticks
        };
        self.requests.retain_mut(|queued| waits(&mut queued.age_ticks));
        self.changes.retain_mut(|queued| waits(&mut queued.age_ticks));
        self.under_way.retain(|_, under_way| waits(&mut under_way.age_ticks));
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
            let UnderWay { request, age_ticks, .. } = under_way;
            self.requests.push_back(Queued { request, forwarded: None, age_ticks });
        }
    }

    /// The state was replaced by a snapshot, which may hold what is under way: nobody can tell.
    pub(super) fn forget(&mut self) -> impl Iterator<Item = u64> {
        std::mem::take(&mut self.under_way).into_keys()
    }

    /// Proposes as much as the leader takes now.
    pub(super) fn flush(&mut self, machine: &mut Machine) {
        let (term, leads) = (machine.term(), machine.role() == Role::Leader);
        let timely = |queued: &Queued| queued.forwarded.is_none_or(|made| made == term && leads);
        self.requests.retain(timely);
        self.changes.retain(timely);
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
                    let Queued { request, age_ticks, .. } = queued;
                    self.under_way.insert(id, UnderWay { request, proposed: term, age_ticks });
                }
            }
        }
        while let Some(change) = self.changes.front() {
            let waits = machine.role() == Role::Leader && machine.membership_change_pending();
            let payload = Payload::Membership(change.request.clone());
            if waits || machine.propose(vec![payload]).is_err() {
                return;
            }
            self.changes.pop_front();
        }
    }
}

fn push(
    queue: &mut VecDeque<Queued>,
    max: usize,
    request: Bytes,
    forwarded: Option<Term>,
) -> Result<(), Bytes> {
    if queue.len() >= max {
        return Err(request);
    }
    queue.push_back(Queued { request, forwarded, age_ticks: 0 });
    Ok(())
}

/// The id of an encoded request; `None` when nobody waits for it.
fn id_of(mut request: &[u8]) -> Option<u64> {
    if !request.has_remaining() || request.get_u8() != ID_TAG {
        return None;
    }
    prost::encoding::decode_varint(&mut request).ok()
}
