//! The state machine against etcd's answers, table by table. Expectations marked etcd were read
//! off a real one.

mod auth;
mod check;
mod cluster;
mod range;
mod txn;
mod write;

use bytes::Bytes;
use prost::Message;

use super::{Error, Outcome, Response, State};
use crate::mvcc::Memory;
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::{Request, request::Op};
use crate::raft::{Index, Term};
use pb::request_op::Request as TxnOp;

/// Applies operations one after the other, as a log would.
struct Machine {
    state: State<Memory>,
}

impl Machine {
    fn new() -> Self {
        Self { state: State::open(Memory::default()).unwrap() }
    }

    /// A machine that has run these puts, the first at revision 2.
    fn with(puts: &[(&str, &str)]) -> Self {
        let mut machine = Self::new();
        for (key, value) in puts {
            machine.run(Op::Put(put(key, value))).unwrap();
        }
        machine
    }

    fn outcome(&mut self, op: Op) -> Outcome {
        let (Index(index), _) = self.state.applied();
        let outcome = self.state.apply(Index(index + 1), Term(2), &encoded(op)).unwrap();
        outcome.expect("a new entry has an outcome")
    }

    fn run(&mut self, op: Op) -> Result<Response, Error> {
        self.outcome(op).response
    }

    fn put(&mut self, request: pb::PutRequest) -> Result<pb::PutResponse, Error> {
        match self.run(Op::Put(request))? {
            Response::Put(response) => Ok(response),
            other => panic!("{other:?}"),
        }
    }

    fn delete(&mut self, request: pb::DeleteRangeRequest) -> pb::DeleteRangeResponse {
        match self.run(Op::DeleteRange(request)).unwrap() {
            Response::DeleteRange(response) => response,
            other => panic!("{other:?}"),
        }
    }

    fn txn(&mut self, request: pb::TxnRequest) -> Result<pb::TxnResponse, Error> {
        match self.run(Op::Txn(request))? {
            Response::Txn(response) => Ok(response),
            other => panic!("{other:?}"),
        }
    }

    fn compact(&mut self, revision: i64) -> Result<Response, Error> {
        self.run(Op::Compaction(pb::CompactionRequest { revision, physical: false }))
    }

    fn grant(&mut self, id: i64, ttl: i64) -> Result<Response, Error> {
        self.run(Op::LeaseGrant(pb::LeaseGrantRequest { id, ttl }))
    }

    fn revoke(&mut self, id: i64) -> Outcome {
        self.outcome(Op::LeaseRevoke(pb::LeaseRevokeRequest { id }))
    }
}

fn encoded(op: Op) -> Bytes {
    Request { id: 7, op: Some(op), caller: None, term: 0 }.encode_to_vec().into()
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest { key: bytes(key), value: bytes(value), ..Default::default() }
}

fn range(key: &str, range_end: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: bytes(key), range_end: bytes(range_end), ..Default::default() }
}

fn delete(key: &str, range_end: &str) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: bytes(key), range_end: bytes(range_end), prev_kv: false }
}

fn ops<const N: usize>(ops: [TxnOp; N]) -> Vec<pb::RequestOp> {
    ops.into_iter().map(|op| pb::RequestOp { request: Some(op) }).collect()
}

/// A transaction without compares, so that it succeeds.
fn always<const N: usize>(success: [TxnOp; N]) -> pb::TxnRequest {
    pb::TxnRequest { success: ops(success), ..Default::default() }
}

/// The pairs of a range as `key=value`.
fn pairs(response: &pb::RangeResponse) -> Vec<String> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    response.kvs.iter().map(|kv| format!("{}={}", text(&kv.key), text(&kv.value))).collect()
}

fn revision(header: Option<&pb::ResponseHeader>) -> i64 {
    header.unwrap().revision
}
