use super::{Machine, always, bytes, delete, ops, pairs, put, range, revision};
use crate::apply::Error;
use crate::auth::Caller;
use crate::proto::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request as TxnOp;
use pb::response_op::Response as Answer;

fn compare(
    key: &str,
    target: CompareTarget,
    result: CompareResult,
    union: TargetUnion,
) -> pb::Compare {
    pb::Compare {
        key: bytes(key),
        target: target.into(),
        result: result.into(),
        target_union: Some(union),
        range_end: bytes(""),
    }
}

fn succeeds(machine: &Machine, compare: pb::Compare) -> bool {
    let request = pb::TxnRequest { compare: vec![compare], ..Default::default() };
    machine.state.txn_read(&Caller::Nobody, &request).unwrap().succeeded
}

#[test]
fn compares_of_one_key() {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    use CompareTarget::{Create, Lease, Mod, Value, Version};
    let mut machine = Machine::with(&[("x", ""), ("a", "m"), ("a", "m")]);
    machine.grant(7, 60).unwrap();
    machine.put(pb::PutRequest { lease: 7, ..put("a", "m") }).unwrap();
    // a: created 3, modified 5, version 3, value m, lease 7.
    let value = |text| TargetUnion::Value(bytes(text));
    for (key, target, result, union, expected) in [
        ("a", Version, Equal, TargetUnion::Version(3), true),
        ("a", Version, Greater, TargetUnion::Version(3), false),
        ("a", Version, Less, TargetUnion::Version(4), true),
        ("a", Version, NotEqual, TargetUnion::Version(3), false),
        ("a", Create, Equal, TargetUnion::CreateRevision(3), true),
        ("a", Mod, Equal, TargetUnion::ModRevision(5), true),
        ("a", Mod, Less, TargetUnion::ModRevision(5), false),
        ("a", Value, Equal, value("m"), true),
        ("a", Value, Greater, value("l"), true),
        ("a", Value, NotEqual, value("m"), false),
        ("a", Lease, Equal, TargetUnion::Lease(7), true),
        ("x", Lease, Equal, TargetUnion::Lease(0), true),
        // A missing key compares as zeros, its value never.
        ("no", Version, Equal, TargetUnion::Version(0), true),
        ("no", Create, Equal, TargetUnion::CreateRevision(0), true),
        ("no", Mod, Greater, TargetUnion::ModRevision(-1), true),
        ("no", Lease, Equal, TargetUnion::Lease(0), true),
        ("no", Value, Equal, value(""), false),
        ("no", Value, NotEqual, value("z"), false),
        // A union of another kind is zero or empty.
        ("a", Version, Equal, TargetUnion::ModRevision(3), false),
        ("a", Version, Greater, TargetUnion::ModRevision(99), true),
        ("a", Value, Greater, TargetUnion::Version(1), true),
    ] {
        let text = format!("{key} {target:?} {result:?} {union:?}");
        assert_eq!(succeeds(&machine, compare(key, target, result, union)), expected, "{text}");
    }
    let known = compare("a", Version, Equal, TargetUnion::Version(99));
    assert!(succeeds(&machine, pb::Compare { result: 9, ..known.clone() }));
    assert!(succeeds(&machine, pb::Compare { target: 9, ..known.clone() }), "compared as equal");
    let not_equal = i32::from(NotEqual);
    assert!(!succeeds(&machine, pb::Compare { target: 9, result: not_equal, ..known }));
}

#[test]
fn compares_of_a_range() {
    let machine = Machine::with(&[("a", "1"), ("b", "1"), ("b", "1")]);
    let greater = CompareResult::Greater;
    let created = |key, end, revision| {
        let union = TargetUnion::CreateRevision(revision);
        let one = compare(key, CompareTarget::Create, greater, union);
        pb::Compare { range_end: bytes(end), ..one }
    };
    assert!(succeeds(&machine, created("a", "c", 1)));
    assert!(!succeeds(&machine, created("a", "c", 2)), "every key must");
    assert!(succeeds(&machine, created("b", "\0", 2)));
    assert!(!succeeds(&machine, created("x", "z", 0)), "an empty range is one key of zeros");
    assert!(succeeds(&machine, created("x", "z", -1)));
    let value =
        compare("x", CompareTarget::Value, CompareResult::NotEqual, TargetUnion::Value(bytes("")));
    assert!(!succeeds(&machine, pb::Compare { range_end: bytes("z"), ..value }));
}

fn answers(response: pb::TxnResponse) -> Vec<Answer> {
    response.responses.into_iter().map(|answer| answer.response.unwrap()).collect()
}

fn header_of(answer: &Answer) -> i64 {
    revision(match answer {
        Answer::ResponseRange(answer) => answer.header.as_ref(),
        Answer::ResponsePut(answer) => answer.header.as_ref(),
        Answer::ResponseDeleteRange(answer) => answer.header.as_ref(),
        Answer::ResponseTxn(answer) => answer.header.as_ref(),
    })
}

#[test]
fn a_transaction_is_one_revision_and_reads_its_writes() {
    let mut machine = Machine::with(&[("a", "1"), ("b", "1")]);
    let nested = always([TxnOp::RequestRange(range("a", "\0")), TxnOp::RequestPut(put("d", "n"))]);
    let old = pb::RangeRequest { revision: 3, ..range("a", "\0") };
    let response = machine.txn(always([
        TxnOp::RequestRange(range("a", "")),
        TxnOp::RequestPut(put("c", "2")),
        TxnOp::RequestDeleteRange(delete("a", "")),
        TxnOp::RequestTxn(nested),
        TxnOp::RequestRange(old),
        TxnOp::RequestDeleteRange(delete("none", "")),
    ]));
    let response = response.unwrap();
    assert_eq!(revision(response.header.as_ref()), 4);
    let answers = answers(response);
    let headers: Vec<i64> = answers.iter().map(header_of).collect();
    assert_eq!(headers, [3, 4, 4, 0, 4, 4], "a nested transaction's header is empty");
    let Answer::ResponseTxn(nested) = &answers[3] else { panic!("{:?}", answers[3]) };
    assert_eq!(nested.header, Some(pb::ResponseHeader::default()));
    let Some(Answer::ResponseRange(inner)) = &nested.responses[0].response else { panic!() };
    assert_eq!(pairs(inner), ["b=1", "c=2"], "nested operations see what came before");
    assert_eq!(inner.kvs[1].create_revision, 4);
    let Answer::ResponseRange(old) = &answers[4] else { panic!() };
    assert_eq!(pairs(old), ["a=1", "b=1"]);
    let (events, _) =
        machine.state.events(&crate::mvcc::KeyRange::From(bytes("\0")), 4, 9).unwrap();
    let keys: Vec<_> = events[0].1.iter().map(|event| &event.kv.key[..]).collect();
    assert_eq!(keys, [b"c", b"a", b"d"], "in the order of the operations");
}

#[test]
fn a_transaction_without_changes_makes_no_revision() {
    let mut machine = Machine::with(&[("a", "1")]);
    let response = machine
        .txn(always([
            TxnOp::RequestDeleteRange(delete("x", "")),
            TxnOp::RequestRange(range("a", "")),
        ]))
        .unwrap();
    assert_eq!(revision(response.header.as_ref()), 2);
    assert_eq!(answers(response).iter().map(header_of).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(machine.state.revision(), 2);
}

#[test]
fn compares_of_nested_transactions_see_the_state_before() {
    let mut machine = Machine::with(&[("a", "1")]);
    let unchanged =
        compare("a", CompareTarget::Mod, CompareResult::Equal, TargetUnion::ModRevision(2));
    let nested = pb::TxnRequest {
        compare: vec![unchanged],
        success: ops([TxnOp::RequestPut(put("then", ""))]),
        failure: ops([TxnOp::RequestPut(put("else", ""))]),
    };
    let request = always([TxnOp::RequestPut(put("a", "2")), TxnOp::RequestTxn(nested)]);
    machine.txn(request).unwrap();
    let all = machine.state.range(&range("\0", "\0")).unwrap();
    assert_eq!(pairs(&all), ["a=2", "then="]);
}

#[test]
fn only_the_chosen_branch_is_checked_against_the_state() {
    let mut machine = Machine::with(&[("a", "1"), ("a", "2"), ("a", "3")]);
    machine.compact(3).unwrap();
    let unleased = || TxnOp::RequestPut(pb::PutRequest { lease: 99, ..put("x", "") });
    let keeping = || {
        let keeping = pb::PutRequest { ignore_value: true, lease: 99, ..put("x", "") };
        TxnOp::RequestPut(keeping)
    };
    let reading = |revision| TxnOp::RequestRange(pb::RangeRequest { revision, ..range("a", "") });
    let wrong = [
        (vec![unleased()], Error::LeaseNotFound),
        (vec![keeping()], Error::KeyNotFound),
        (vec![reading(5)], Error::FutureRevision),
        (vec![reading(2)], Error::Compacted),
        (vec![reading(-1)], Error::Compacted),
        // The first that is wrong.
        (vec![reading(5), unleased()], Error::FutureRevision),
        (vec![unleased(), reading(5)], Error::LeaseNotFound),
        (vec![reading(2), keeping()], Error::Compacted),
        // A revision that the transaction itself makes is in the future.
        (vec![TxnOp::RequestPut(put("y", "")), reading(5)], Error::FutureRevision),
    ];
    for (wrong, expected) in wrong {
        let list: Vec<_> =
            wrong.into_iter().map(|op| pb::RequestOp { request: Some(op) }).collect();
        let chosen = pb::TxnRequest { success: list.clone(), ..Default::default() };
        assert_eq!(machine.txn(chosen.clone()).unwrap_err(), expected);
        assert_eq!(machine.txn(always([TxnOp::RequestTxn(chosen)])).unwrap_err(), expected);
        let unchosen =
            pb::TxnRequest { failure: list, ..always([TxnOp::RequestPut(put("a", ""))]) };
        machine.txn(unchosen.clone()).unwrap();
        machine.state.range(&range("y", "")).map(|found| assert_eq!(found.count, 0)).unwrap();
        let (Ok(_) | Err(_)) = machine.compact(3);
        // Back to revision 4 for the next case.
        machine = Machine::with(&[("a", "1"), ("a", "2"), ("a", "3")]);
        machine.compact(3).unwrap();
    }
}
