use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use super::linear::{self, Action, Call};
use crate::apply::Response;
use crate::auth::Caller;
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::{Request, request::Op};
use crate::raft::Draw;

/// Keys that all clients share.
pub(super) const KEYS: u64 = 2;

/// What a client wants.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish {
    Put(u64),
    Get,
    Swap { old: u64, new: u64 },
}

#[derive(Debug)]
struct Operation {
    key: u64,
    wish: Wish,
    begin: u64,
    /// When the answer came, and what it was.
    answer: Option<(u64, Action)>,
    /// Known not to have happened.
    void: bool,
    /// Its client waits no longer, so that what became of it stays unknown.
    given_up: bool,
}

/// All that clients did, in the order of one global clock. An operation's number is also its request's id.
#[derive(Debug, Default)]
pub(super) struct History {
    operations: Vec<Operation>,
    /// A value of each key that somebody saw, from which to swap.
    seen: BTreeMap<u64, u64>,
}

impl History {
    /// Begins a random operation.
    pub(super) fn begin(&mut self, now: u64, draw: &mut Draw) -> u64 {
        let key = draw.below(KEYS);
        // No two operations write the same value.
        let new = self.operations.len() as u64 + 1;
        let wish = match (draw.below(10), self.seen.get(&key)) {
            (0..=3, _) => Wish::Get,
            (4..=6, Some(old)) => Wish::Swap { old: *old, new },
            _ => Wish::Put(new),
        };
        self.begin_with(now, key, wish)
    }

    /// Begins a write that must succeed.
    pub(super) fn begin_put(&mut self, now: u64) -> u64 {
        let new = self.operations.len() as u64 + 1;
        self.begin_with(now, 0, Wish::Put(new))
    }

    pub(super) fn begin_get(&mut self, now: u64) -> u64 {
        self.begin_with(now, 0, Wish::Get)
    }

    fn begin_with(&mut self, begin: u64, key: u64, wish: Wish) -> u64 {
        self.operations.push(Operation {
            key,
            wish,
            begin,
            answer: None,
            void: false,
            given_up: false,
        });
        self.operations.len() as u64
    }

    fn operation(&mut self, number: u64) -> &mut Operation {
        let at = usize::try_from(number - 1).expect("operations are few");
        &mut self.operations[at]
    }

    pub(super) fn wish(&self, number: u64) -> Wish {
        self.operations[usize::try_from(number - 1).expect("operations are few")].wish
    }

    pub(super) fn is_answered(&self, number: u64) -> bool {
        self.operations[usize::try_from(number - 1).expect("operations are few")].answer.is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.operations.len()
    }

    /// How many operations were answered.
    pub(super) fn answered(&self) -> usize {
        self.operations.iter().filter(|operation| operation.answer.is_some()).count()
    }

    /// The request to replicate, for all but gets.
    pub(super) fn request(&mut self, number: u64, caller: Caller) -> Bytes {
        let operation = self.operation(number);
        let key = key_bytes(operation.key);
        let put = |new: u64| pb::PutRequest {
            key: key.clone(),
            value: Bytes::from(new.to_string()),
            ..Default::default()
        };
        let op = match operation.wish {
            Wish::Put(new) => Op::Put(put(new)),
            Wish::Swap { old, new } => Op::Txn(swap(&key, old, put(new))),
            Wish::Get => unreachable!("gets are not replicated"),
        };
        Bytes::from(
            Request { id: number, op: Some(op), caller: caller.into(), term: 0 }.encode_to_vec(),
        )
    }

    /// The range that answers a get.
    pub(super) fn range(&mut self, number: u64) -> pb::RangeRequest {
        pb::RangeRequest { key: key_bytes(self.operation(number).key), ..Default::default() }
    }

    /// A write was answered.
    pub(super) fn written(&mut self, number: u64, now: u64, response: &Response) {
        let operation = self.operation(number);
        let (key, wish) = (operation.key, operation.wish);
        let action = match (wish, response) {
            (Wish::Swap { old, new }, Response::Txn(txn)) => {
                let met = txn.responses.first().and_then(|response| response.response.as_ref());
                let found = match met {
                    Some(pb::response_op::Response::ResponseRange(range)) => value_of(range),
                    _ => Some(old),
                };
                Action::Swap { old, new, found }
            }
            (Wish::Put(new), Response::Put(_)) => Action::Put(new),
            _ => unreachable!("{wish:?} was answered by {response:?}"),
        };
        operation.answer = Some((now, action));
        let holds = match action {
            Action::Swap { old, new, found } if found == Some(old) => Some(new),
            Action::Swap { found, .. } => found,
            Action::Put(new) => Some(new),
            _ => None,
        };
        self.seen.extend(holds.map(|value| (key, value)));
    }

    /// A get was answered.
    pub(super) fn read(&mut self, number: u64, now: u64, response: &pb::RangeResponse) {
        let found = value_of(response);
        let operation = self.operation(number);
        if operation.given_up {
            return;
        }
        operation.answer = Some((now, Action::Get(found)));
        let key = operation.key;
        if let Some(value) = found {
            self.seen.insert(key, value);
        }
    }

    pub(super) fn give_up(&mut self, number: u64) {
        self.operation(number).given_up = true;
    }

    /// It certainly had no effect.
    pub(super) fn refused(&mut self, number: u64) {
        self.operation(number).void = true;
    }

    pub(super) fn check(&self) -> Result<(), String> {
        for key in 0..KEYS {
            let of_key = self.operations.iter().filter(|operation| operation.key == key);
            let calls: Vec<Call> = of_key.filter_map(Operation::call).collect();
            if !linear::is_linearizable(&calls) {
                let lines: Vec<String> = calls.iter().map(|call| format!("  {call:?}")).collect();
                let lines = lines.join("\n");
                return Err(format!("linearizability: nothing explains these calls\n{lines}"));
            }
        }
        Ok(())
    }
}

impl Operation {
    fn call(&self) -> Option<Call> {
        if self.void {
            return None;
        }
        let (end, action) = match (self.answer, self.wish) {
            (Some(answer), _) => answer,
            (None, Wish::Put(new)) => (u64::MAX, Action::MaybePut(new)),
            (None, Wish::Swap { old, new }) => (u64::MAX, Action::MaybeSwap { old, new }),
            (None, Wish::Get) => return None,
        };
        Some(Call { action, begin: self.begin, end })
    }
}

fn value_of(range: &pb::RangeResponse) -> Option<u64> {
    let kv = range.kvs.first()?;
    let text = std::str::from_utf8(&kv.value).expect("values are numbers");
    Some(text.parse().expect("values are numbers"))
}

fn key_bytes(key: u64) -> Bytes {
    Bytes::from(format!("key-{key}"))
}

fn swap(key: &Bytes, old: u64, put: pb::PutRequest) -> pb::TxnRequest {
    let compare = pb::Compare {
        result: pb::compare::CompareResult::Equal.into(),
        target: pb::compare::CompareTarget::Value.into(),
        key: key.clone(),
        target_union: Some(pb::compare::TargetUnion::Value(Bytes::from(old.to_string()))),
        ..Default::default()
    };
    let put = pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put)) };
    let get = pb::RangeRequest { key: key.clone(), ..Default::default() };
    let get = pb::RequestOp { request: Some(pb::request_op::Request::RequestRange(get)) };
    pb::TxnRequest { compare: vec![compare], success: vec![put], failure: vec![get] }
}
