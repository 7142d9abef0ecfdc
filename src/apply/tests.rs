use bytes::Bytes;
use prost::Message;

use super::{Error, Outcome, Response, State};
use crate::mvcc::{Memory, Storage};
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::{Request, request::Op};
use crate::raft::{Index, Term};

/// Applies operations one after the other, as a log would.
struct Machine<S> {
    state: State<S>,
}

impl Machine<Memory> {
    fn new() -> Self {
        Self { state: State::open(Memory::default()).unwrap() }
    }
}

impl<S: Storage> Machine<S> {
    fn outcome(&mut self, op: Op) -> Outcome {
        let (Index(index), _) = self.state.applied();
        let data: Bytes = Request { id: 7, op: Some(op) }.encode_to_vec().into();
        let outcome = self.state.apply(Index(index + 1), Term(2), &data).unwrap();
        outcome.expect("a new entry has an outcome")
    }

    fn run(&mut self, op: Op) -> Result<Response, Error> {
        self.outcome(op).response
    }
}

fn put(key: &str, value: &str) -> pb::PutRequest {
    let (key, value) =
        (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    pb::PutRequest { key, value, ..Default::default() }
}

#[test]
fn first_write_is_revision_two_and_reads_back() {
    let mut machine = Machine::new();
    assert_eq!(machine.state.revision(), 1);
    let outcome = machine.outcome(Op::Put(put("a", "1")));
    assert_eq!((outcome.id, outcome.revision, outcome.events.len()), (7, 2, 1));
    let request = pb::RangeRequest { key: "a".into(), ..Default::default() };
    let response = machine.state.range(&request).unwrap();
    assert_eq!(response.kvs[0].value, "1");
    assert_eq!((response.kvs[0].create_revision, response.kvs[0].version), (2, 1));
    assert_eq!(response.header.unwrap().revision, 2);
    assert!(machine.run(Op::Put(put("a", "2"))).is_ok());
    // An entry that is in the state already has no effect.
    let data: Bytes = Request { id: 9, op: Some(Op::Put(put("a", "3"))) }.encode_to_vec().into();
    assert!(machine.state.apply(Index(1), Term(2), &data).unwrap().is_none());
}
