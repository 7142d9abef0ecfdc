use super::{always, delete, ops, put, range};
use crate::apply::{Error, check};
use crate::proto::etcdserverpb as pb;
use pb::request_op::Request as TxnOp;

fn txn(request: &pb::TxnRequest) -> Result<(), Error> {
    check::txn(request, 128)
}

fn putting(key: &str) -> TxnOp {
    TxnOp::RequestPut(put(key, ""))
}

fn deleting(key: &str, end: &str) -> TxnOp {
    TxnOp::RequestDeleteRange(delete(key, end))
}

fn nested<const T: usize, const E: usize>(then: [TxnOp; T], otherwise: [TxnOp; E]) -> TxnOp {
    let failure = ops(otherwise);
    TxnOp::RequestTxn(pb::TxnRequest { failure, ..always(then) })
}

#[test]
fn texts_are_those_of_etcd() {
    for (error, text) in [
        (Error::EmptyKey, "etcdserver: key is not provided"),
        (Error::KeyNotFound, "etcdserver: key not found"),
        (Error::ValueProvided, "etcdserver: value is provided"),
        (Error::LeaseProvided, "etcdserver: lease is provided"),
        (Error::TooManyOps, "etcdserver: too many operations in txn request"),
        (Error::DuplicateKey, "etcdserver: duplicate key given in txn request"),
        (Error::InvalidSortOption, "etcdserver: invalid sort option"),
        (Error::Compacted, "etcdserver: mvcc: required revision has been compacted"),
        (Error::FutureRevision, "etcdserver: mvcc: required revision is a future revision"),
        (Error::NoSpace, "etcdserver: mvcc: database space exceeded"),
        (Error::LeaseNotFound, "etcdserver: requested lease not found"),
        (Error::LeaseExists, "etcdserver: lease already exists"),
        (Error::LeaseTtlTooLarge, "etcdserver: too large lease TTL"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn the_first_rule_that_fails_answers() {
    let keyless = pb::PutRequest { ignore_value: true, ..put("", "v") };
    assert_eq!(check::put(&keyless), Err(Error::EmptyKey));
    let both = pb::PutRequest { ignore_value: true, ignore_lease: true, lease: 1, ..put("a", "v") };
    assert_eq!(check::put(&both), Err(Error::ValueProvided));
    let lease = pb::PutRequest { value: "".into(), ..both };
    assert_eq!(check::put(&lease), Err(Error::LeaseProvided));
    assert_eq!(check::put(&pb::PutRequest { lease: 0, ..lease }), Ok(()));
    assert_eq!(
        check::range(&pb::RangeRequest { sort_order: 9, ..range("", "") }),
        Err(Error::EmptyKey)
    );
    let unsorted = pb::RangeRequest { sort_order: 9, ..range("a", "") };
    assert_eq!(check::range(&unsorted), Err(Error::InvalidSortOption));
    let untargeted = pb::RangeRequest { sort_target: -1, ..range("a", "") };
    assert_eq!(check::range(&untargeted), Err(Error::InvalidSortOption));
    assert_eq!(check::delete_range(&delete("", "z")), Err(Error::EmptyKey));
    let grant = |ttl| check::lease_grant(&pb::LeaseGrantRequest { id: 1, ttl });
    assert_eq!(
        (grant(9_000_000_000), grant(9_000_000_001)),
        (Ok(()), Err(Error::LeaseTtlTooLarge))
    );
}

#[test]
fn rules_of_a_transaction_come_in_order() {
    let keyless = pb::Compare::default();
    let empty_op = pb::RequestOp { request: None };
    let two_puts = ops([putting("a"), putting("a")]);
    let wrong_everywhere = pb::TxnRequest {
        compare: vec![keyless],
        success: vec![empty_op.clone()],
        failure: two_puts.clone(),
    };
    assert_eq!(check::txn(&wrong_everywhere, 1), Err(Error::TooManyOps));
    assert_eq!(txn(&wrong_everywhere), Err(Error::EmptyKey));
    let ops_wrong = pb::TxnRequest { compare: vec![], ..wrong_everywhere };
    assert_eq!(txn(&ops_wrong), Err(Error::KeyNotFound));
    assert_eq!(
        txn(&pb::TxnRequest { success: vec![], ..ops_wrong.clone() }),
        Err(Error::DuplicateKey)
    );
    // Keys of all operations before overlaps of any.
    let overlap_first = pb::TxnRequest { success: two_puts, failure: vec![empty_op], ..ops_wrong };
    assert_eq!(txn(&overlap_first), Err(Error::KeyNotFound));
}

#[test]
fn nested_lists_have_what_the_parent_leaves() {
    let puts = |n: usize, first: usize| -> Vec<pb::RequestOp> {
        let op = |i| pb::RequestOp { request: Some(putting(&format!("k{}", first + i))) };
        (0..n).map(op).collect()
    };
    let with = |outer: usize, inner: usize| {
        let nested = pb::TxnRequest { success: puts(inner, 1000), ..Default::default() };
        let mut success = puts(outer - 1, 0);
        success.extend(ops([TxnOp::RequestTxn(nested)]));
        pb::TxnRequest { success, ..Default::default() }
    };
    assert_eq!(txn(&pb::TxnRequest { success: puts(128, 0), ..Default::default() }), Ok(()));
    let many = pb::TxnRequest { failure: puts(129, 0), ..Default::default() };
    assert_eq!(txn(&many), Err(Error::TooManyOps));
    assert_eq!(txn(&with(127, 1)), Ok(()));
    assert_eq!(txn(&with(127, 2)), Err(Error::TooManyOps));
}

/// A request that no replica could decode must not get into the log.
#[test]
fn what_is_accepted_can_be_decoded() {
    use prost::Message;
    let deep = |levels: usize| {
        let nest = |inner, _| always([TxnOp::RequestTxn(inner)]);
        (1..levels).fold(always([putting("a")]), nest)
    };
    assert_eq!(txn(&deep(40)), Ok(()));
    assert_eq!(txn(&deep(41)), Err(Error::TooManyOps));
    let op = crate::proto::quorate::replica::request::Op::Txn(deep(40));
    assert!(crate::proto::quorate::replica::Request::decode(super::encoded(op)).is_ok());
}

#[test]
fn overlaps_of_a_transaction() {
    let duplicate = Err(Error::DuplicateKey);
    let cases: Vec<(&str, Vec<pb::RequestOp>, Result<(), Error>)> = vec![
        ("two puts", ops([putting("a"), putting("a")]), duplicate.clone()),
        ("put in a deleted range", ops([putting("b"), deleting("a", "c")]), duplicate.clone()),
        ("deletion first", ops([deleting("b", ""), putting("b")]), duplicate.clone()),
        ("put at the end of the range", ops([putting("c"), deleting("a", "c")]), Ok(())),
        ("deletions", ops([deleting("a", "c"), deleting("b", "d")]), Ok(())),
        ("range of a put", ops([putting("a"), TxnOp::RequestRange(range("a", ""))]), Ok(())),
        ("nested put", ops([putting("a"), nested([putting("a")], [])]), duplicate.clone()),
        (
            "nested siblings",
            ops([nested([putting("a")], []), nested([], [putting("a")])]),
            duplicate.clone(),
        ),
        ("then and else", ops([nested([putting("a")], [putting("a")])]), Ok(())),
        (
            "nested deletion",
            ops([putting("a"), nested([], [deleting("a", "b")])]),
            duplicate.clone(),
        ),
        (
            "nested put, outer deletion",
            ops([deleting("a", "b"), nested([putting("a")], [])]),
            duplicate.clone(),
        ),
        (
            "else put, outer deletion",
            ops([deleting("a", "b"), nested([putting("a")], [putting("a")])]),
            duplicate,
        ),
        // etcd: a range to the end of all keys is not held against puts.
        ("put and all keys", ops([putting("k"), deleting("a", "\0")]), Ok(())),
    ];
    for (name, list, expected) in cases {
        let request = pb::TxnRequest { success: list.clone(), ..Default::default() };
        assert_eq!(txn(&request), expected, "{name}");
        let request = pb::TxnRequest { failure: list, ..Default::default() };
        assert_eq!(txn(&request), expected, "{name}, failure");
    }
    let both = pb::TxnRequest { failure: ops([putting("a")]), ..always([putting("a")]) };
    assert_eq!(txn(&both), Ok(()));
}

#[test]
fn kinds_and_costs_of_transactions() {
    let read = always([TxnOp::RequestRange(range("a", ""))]);
    assert!(
        check::is_read_only(&read) && !check::is_serializable(&read) && check::txn_cost(&read) == 0
    );
    let local = pb::RangeRequest { serializable: true, ..range("a", "") };
    assert!(check::is_serializable(&always([TxnOp::RequestRange(local)])));
    assert!(!check::is_read_only(&always([TxnOp::RequestTxn(read)])), "nested is a write");
    let deletes = always([deleting("a", "")]);
    assert!(!check::is_read_only(&deletes) && check::txn_cost(&deletes) == 0);
    let either = pb::TxnRequest {
        failure: ops([nested([], [putting("abc")])]),
        ..always([TxnOp::RequestPut(put("a", "bcd"))])
    };
    assert!(check::txn_cost(&either) > 0);
    assert_eq!(check::txn_cost(&either), 260);
}
