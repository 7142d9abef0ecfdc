use super::{Machine, always, bytes, delete, encoded, ops, pairs, put, range, revision};
use crate::apply::{Error, Fatal};
use crate::mvcc::{Event, KeyRange, KeyValue};
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::{Request, request::Op};
use crate::raft::{Index, Term};
use pb::request_op::Request as TxnOp;
use prost::Message as _;

#[test]
fn first_write_is_revision_two_and_reads_back() {
    let mut machine = Machine::new();
    assert_eq!(machine.state.revision(), 1);
    let outcome = machine.outcome(Op::Put(put("a", "1")));
    assert_eq!((outcome.id, outcome.revision, outcome.events.len()), (7, 2, 1));
    let response = machine.state.range(&range("a", "")).unwrap();
    assert_eq!(pairs(&response), ["a=1"]);
    assert_eq!((response.kvs[0].create_revision, response.kvs[0].version), (2, 1));
    assert_eq!(revision(response.header.as_ref()), 2);
}

#[test]
fn an_entry_is_applied_once() {
    let mut machine = Machine::with(&[("a", "1")]);
    let again = machine.state.apply(Index(1), Term(2), &encoded(Op::Put(put("a", "2")))).unwrap();
    assert!(again.is_none());
    // The entry that opens a term is counted and does nothing.
    assert!(machine.state.apply(Index(2), Term(3), &bytes("")).unwrap().is_none());
    assert_eq!(machine.state.applied(), (Index(2), Term(3)));
    assert_eq!(machine.state.revision(), 2);
}

#[test]
fn an_unknown_request_stops_the_replica() {
    let mut machine = Machine::new();
    for unknown in [&b"\x08\x01"[..], b"\xff\xff\xff"] {
        let unknown = bytes::Bytes::from_static(unknown);
        let stopped = machine.state.apply(Index(1), Term(1), &unknown).unwrap_err();
        assert_eq!(stopped, Fatal::UnknownRequest { index: 1 });
    }
    assert_eq!(machine.state.applied().0, Index(0));
}

#[test]
fn a_life_ends_with_its_deletion() {
    let mut machine = Machine::with(&[("a", "1"), ("a", "1"), ("a", "2")]);
    let kv = machine.state.range(&range("a", "")).unwrap().kvs.remove(0);
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 4, 3));
    let outcome = machine.outcome(Op::DeleteRange(delete("a", "")));
    let tombstone = KeyValue { key: bytes("a"), mod_revision: 5, ..KeyValue::default() };
    assert_eq!(outcome.events, [Event { kv: tombstone, deleted: true }]);
    machine.put(put("a", "3")).unwrap();
    let kv = machine.state.range(&range("a", "")).unwrap().kvs.remove(0);
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (6, 6, 1));
}

#[test]
fn a_deletion_without_effect_makes_no_revision() {
    let mut machine = Machine::with(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let response = machine.delete(delete("x", ""));
    assert_eq!((response.deleted, revision(response.header.as_ref())), (0, 4));
    assert_eq!(machine.delete(delete("c", "a")).deleted, 0, "a reversed range is empty");
    let request = pb::DeleteRangeRequest { prev_kv: true, ..delete("a", "c") };
    let response = machine.delete(request);
    assert_eq!((response.deleted, revision(response.header.as_ref())), (2, 5));
    let previous: Vec<_> = response.prev_kvs.iter().map(|kv| &kv.value[..]).collect();
    assert_eq!(previous, [b"1", b"2"]);
    assert_eq!(machine.delete(delete("\0", "\0")).deleted, 1);
}

#[test]
fn a_put_can_keep_value_or_lease() {
    let mut machine = Machine::new();
    machine.grant(5, 60).unwrap();
    let leased = pb::PutRequest { lease: 5, ..put("a", "1") };
    machine.put(leased).unwrap();
    let keep_lease = pb::PutRequest { ignore_lease: true, prev_kv: true, ..put("a", "2") };
    let previous = machine.put(keep_lease).unwrap().prev_kv.unwrap();
    assert_eq!((&previous.value[..], previous.lease, previous.version), (&b"1"[..], 5, 1));
    let kv = machine.state.range(&range("a", "")).unwrap().kvs.remove(0);
    assert_eq!((&kv.value[..], kv.lease), (&b"2"[..], 5));
    let keep_value = pb::PutRequest { ignore_value: true, ..put("a", "") };
    assert_eq!(machine.put(keep_value.clone()).unwrap().prev_kv, None, "it was not asked for");
    let kv = machine.state.range(&range("a", "")).unwrap().kvs.remove(0);
    assert_eq!(
        (&kv.value[..], kv.lease, kv.version),
        (&b"2"[..], 0, 3),
        "the lease is the request's"
    );
    assert_eq!(machine.state.leases().owner(b"a"), None);

    let absent = pb::PutRequest { key: bytes("x"), ..keep_value };
    assert_eq!(machine.put(absent.clone()), Err(Error::KeyNotFound));
    let both_wrong = pb::PutRequest { lease: 99, ..absent };
    assert_eq!(machine.put(both_wrong), Err(Error::LeaseNotFound), "the lease is looked at first");
    assert_eq!(machine.put(put("x", "")).unwrap().prev_kv, None);
}

#[test]
fn a_lease_takes_its_keys_along() {
    let mut machine = Machine::new();
    machine.grant(5, 60).unwrap();
    machine.grant(-6, 60).unwrap();
    let again = machine.outcome(Op::LeaseGrant(pb::LeaseGrantRequest { id: 5, ttl: 60 }));
    assert_eq!(again.response, Err(Error::LeaseExists));
    assert_eq!(again.lease, None, "its clock goes on");
    assert_eq!(machine.grant(7, 9_000_000_001), Err(Error::LeaseTtlTooLarge));
    assert_eq!(machine.grant(5, 9_000_000_001), Err(Error::LeaseTtlTooLarge), "checked first");
    for key in ["b", "a", "c", "d"] {
        machine.put(pb::PutRequest { lease: 5, ..put(key, "") }).unwrap();
    }
    machine.put(pb::PutRequest { lease: -6, ..put("c", "") }).unwrap();
    machine.delete(delete("d", ""));
    let outcome = machine.revoke(5);
    assert_eq!(outcome.revision, 8);
    let deleted: Vec<_> = outcome.events.iter().map(|event| &event.kv.key[..]).collect();
    assert_eq!(deleted, [b"a", b"b"], "one revision, by key");
    assert_eq!(machine.revoke(5).response, Err(Error::LeaseNotFound));
    let left = machine.state.range(&range("\0", "\0")).unwrap();
    assert_eq!(pairs(&left), ["c="]);
    machine.grant(8, 60).unwrap();
    let outcome = machine.revoke(8);
    assert_eq!((outcome.revision, outcome.events.len()), (8, 0), "no keys, no revision");
}

/// A new leader has given the lease more time.
#[test]
fn what_an_earlier_leader_judged_has_no_effect() {
    let mut machine = Machine::new();
    machine.grant(5, 60).unwrap();
    for (judged_in, applied_in, expected) in
        [(2, 3, Some(Error::LeaderChanged)), (4, 3, Some(Error::LeaderChanged)), (3, 3, None)]
    {
        let op = Some(Op::LeaseRevoke(pb::LeaseRevokeRequest { id: 5 }));
        let request = Request { id: 7, op, caller: None, term: judged_in }.encode_to_vec();
        let Index(index) = machine.state.applied().0;
        let outcome = machine.state.apply(Index(index + 1), Term(applied_in), &request.into());
        let outcome = outcome.unwrap().unwrap();
        assert_eq!(outcome.response.err(), expected);
        assert_eq!(outcome.lease.is_some(), expected.is_none());
        assert_eq!(machine.state.leases().iter().next().is_none(), expected.is_none());
    }
}

#[test]
fn compaction_moves_what_can_be_read() {
    let mut machine = Machine::new();
    assert_eq!(machine.state.compact_revision(), -1);
    assert_eq!(machine.compact(-1), Err(Error::Compacted));
    machine.compact(0).unwrap();
    assert_eq!(machine.compact(0), Err(Error::Compacted));
    machine.compact(1).unwrap();
    assert_eq!(machine.compact(2), Err(Error::FutureRevision));
    for value in ["1", "2", "3"] {
        machine.put(put("a", value)).unwrap();
    }
    machine.compact(3).unwrap();
    let at = |revision| pb::RangeRequest { revision, ..range("a", "") };
    assert_eq!(machine.state.range(&at(2)), Err(Error::Compacted));
    assert_eq!(pairs(&machine.state.range(&at(3)).unwrap()), ["a=2"]);
    assert_eq!(machine.state.range(&at(5)), Err(Error::FutureRevision));
    let all = KeyRange::From(bytes("\0"));
    assert_eq!(machine.state.events(&all, 2, 10), Err(Error::Compacted));
    let (events, next) = machine.state.events(&all, 3, 1).unwrap();
    assert_eq!((events.len(), events[0].0, next), (1, 3, 4));
    let (events, next) = machine.state.events(&all, 4, 10).unwrap();
    assert_eq!((events.len(), next), (1, 5));
    assert_eq!(machine.state.events(&all, 9, 10).unwrap(), (vec![], 9), "a start in the future");
    assert_eq!(machine.state.prev_kv(b"a", 4).unwrap().unwrap().value, "2");
    assert_eq!(machine.state.prev_kv(b"a", 3).unwrap(), None, "that is compacted");
}

/// The same writes as were made on an etcd 3.4.23, with the hashes it gave.
#[test]
fn hash_is_that_of_etcd() {
    let mut machine = Machine::new();
    let from_a = TxnOp::RequestDeleteRange(delete("a", "\0"));
    let putting = |key, value| TxnOp::RequestPut(put(key, value));
    machine.txn(always([putting("k", "v"), from_a.clone()])).unwrap();
    machine.txn(always([from_a, putting("k2", "v")])).unwrap();
    for (key, value) in [("foo", "bar"), ("foo", "bar2"), ("gone", "x")] {
        machine.put(put(key, value)).unwrap();
    }
    let lease = 0x12c8_a1fd_477b_8b0c;
    machine.grant(lease, 1000).unwrap();
    machine.put(pb::PutRequest { lease, ..put("leased", "y") }).unwrap();
    machine.delete(delete("gone", ""));
    let last =
        [putting("t1", "v1"), putting("t2", "v2"), TxnOp::RequestDeleteRange(delete("foo", ""))];
    machine.txn(pb::TxnRequest { success: ops(last), ..Default::default() }).unwrap();
    assert_eq!(machine.state.hash_kv(0), Ok(1_887_503_528));
    machine.compact(6).unwrap();
    for _ in 0..3 {
        assert_eq!(machine.state.hash_kv(9), Ok(174_516_713));
        assert_eq!(machine.state.hash_kv(7), Ok(3_051_137_789));
        machine.state.compaction_step(100);
    }
    assert!(!machine.state.compacting());
    assert_eq!(machine.state.hash_kv(5), Err(Error::Compacted));
    assert_eq!(machine.state.hash_kv(10), Err(Error::FutureRevision));
}
