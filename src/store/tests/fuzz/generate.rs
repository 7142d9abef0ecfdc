//! Requests at random.

use super::*;
use pb::compare::{CompareTarget, TargetUnion};
use pb::request_op::Request as TxnOp;

/// Keys under a prefix: more than a slice of a range has, and more than a walk along records should go past.
const MANY: [usize; 6] = [20, 40, 300, 1500, 9000, 9000];
const PREFIXES: [&str; 2] = ["m/", "n/"];
const SINGLE: [&str; 8] = ["a0", "a1", "a2", "a3", "m", "o0", "o1", "z"];
const LEASES: usize = 4;

fn number(fuzz: &mut Fuzz, limit: usize) -> i64 {
    i64::try_from(fuzz.below(limit)).unwrap()
}

fn single(fuzz: &mut Fuzz) -> Bytes {
    Bytes::from_static(fuzz.pick(&SINGLE).as_bytes())
}

fn many(prefix: &str, at: usize) -> Bytes {
    format!("{prefix}{at:05}").into()
}

/// A key or a range of them.
pub(super) fn keys(fuzz: &mut Fuzz) -> (Bytes, Bytes) {
    let prefix = *fuzz.pick(&PREFIXES);
    match fuzz.below(8) {
        0 | 1 => (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
        2 => (single(fuzz), Bytes::new()),
        3 => (single(fuzz), single(fuzz)),
        4 => (single(fuzz), Bytes::from_static(b"\0")),
        5 => (prefix.into(), prefix.replace('/', "0").into()),
        6 => (many(prefix, fuzz.below(3000)), many(prefix, fuzz.below(3000))),
        _ => (many(prefix, fuzz.below(40)), Bytes::new()),
    }
}

/// A revision that can be read, often, or one that is compacted, in the future, or zero.
pub(super) fn revision(fuzz: &mut Fuzz, model: &Model) -> i64 {
    let oldest = model.compacted.max(1) - 1;
    let known = usize::try_from(model.revision - oldest).unwrap();
    match fuzz.below(3) {
        0 => 0,
        1 => (model.revision + 1 - number(fuzz, 10)).max(0),
        _ => oldest + number(fuzz, known + 2),
    }
}

pub(super) fn range(fuzz: &mut Fuzz, model: &Model) -> pb::RangeRequest {
    let (key, range_end) = keys(fuzz);
    let mut bound = |in_ten: usize| match fuzz.below(10) < in_ten {
        true => revision(fuzz, model),
        false => 0,
    };
    let bounds = [bound(5), bound(2), bound(1), bound(2), bound(2)];
    let mut request = pb::RangeRequest {
        key,
        range_end,
        revision: bounds[0],
        min_mod_revision: bounds[1],
        max_mod_revision: bounds[2],
        min_create_revision: bounds[3],
        max_create_revision: bounds[4],
        limit: *fuzz.pick(&[0, 0, 0, 1, 2, 7, 999, 1000, 1001]),
        keys_only: fuzz.below(5) == 0,
        count_only: fuzz.below(8) == 0,
        ..Default::default()
    };
    if fuzz.below(3) == 0 {
        request.sort_order = i32::try_from(fuzz.below(3)).unwrap();
        request.sort_target = i32::try_from(fuzz.below(5)).unwrap();
    }
    request
}

fn put(fuzz: &mut Fuzz, key: Bytes) -> pb::PutRequest {
    let value = vec![u8::try_from(fuzz.below(256)).unwrap(); *fuzz.pick(&[0, 1, 40, 3000])];
    let lease = if fuzz.below(4) == 0 { number(fuzz, LEASES) } else { 0 };
    let mut put = pb::PutRequest { key, lease, value: value.into(), ..Default::default() };
    put.prev_kv = fuzz.below(4) == 0;
    put.ignore_lease = fuzz.below(8) == 0;
    put.ignore_value = fuzz.below(8) == 0;
    put
}

fn delete(fuzz: &mut Fuzz) -> pb::DeleteRangeRequest {
    let (key, range_end) = keys(fuzz);
    pb::DeleteRangeRequest { key, range_end, prev_kv: fuzz.below(3) == 0 }
}

fn compare(fuzz: &mut Fuzz, model: &Model) -> pb::Compare {
    let (key, range_end) = keys(fuzz);
    let mut compare = pb::Compare { key, range_end, ..Default::default() };
    compare.result = i32::try_from(fuzz.below(4)).unwrap();
    let (target, union) = match fuzz.below(5) {
        0 => (CompareTarget::Version, TargetUnion::Version(number(fuzz, 4))),
        1 => (CompareTarget::Create, TargetUnion::CreateRevision(revision(fuzz, model))),
        2 => (CompareTarget::Mod, TargetUnion::ModRevision(revision(fuzz, model))),
        3 => (CompareTarget::Lease, TargetUnion::Lease(number(fuzz, LEASES))),
        _ => (CompareTarget::Value, TargetUnion::Value(vec![7; fuzz.below(2)].into())),
    };
    compare.target = target.into();
    compare.target_union = Some(union);
    compare
}

fn txn(fuzz: &mut Fuzz, model: &Model, levels: usize) -> pb::TxnRequest {
    let compares = fuzz.below(3);
    let compare = (0..compares).map(|_| compare(fuzz, model)).collect();
    let mut ops = || -> Vec<pb::RequestOp> {
        let count = fuzz.below(5);
        let op = |_| match fuzz.below(8) {
            0..4 => {
                let (key, _) = keys(fuzz);
                TxnOp::RequestPut(put(fuzz, key))
            }
            4 => TxnOp::RequestDeleteRange(delete(fuzz)),
            5 if levels > 0 => TxnOp::RequestTxn(txn(fuzz, model, levels - 1)),
            _ => TxnOp::RequestRange(range(fuzz, model)),
        };
        (0..count).map(op).map(|op| pb::RequestOp { request: Some(op) }).collect()
    };
    let (success, failure) = (ops(), ops());
    pb::TxnRequest { compare, success, failure }
}

/// Thousands of keys in one revision.
fn fill(fuzz: &mut Fuzz) -> Op {
    let (prefix, count) = (*fuzz.pick(&PREFIXES), *fuzz.pick(&MANY));
    let first = fuzz.below(300);
    let lease = number(fuzz, LEASES);
    let put = |at| {
        let put = pb::PutRequest {
            key: many(prefix, at),
            value: Bytes::from_static(b"some"),
            lease: if at % 64 == 5 { lease } else { 0 },
            ..Default::default()
        };
        pb::RequestOp { request: Some(TxnOp::RequestPut(put)) }
    };
    let success = (first..first + count).map(put).collect();
    Op::Txn(pb::TxnRequest { success, ..Default::default() })
}

/// All keys under a prefix go in one revision.
fn clear(fuzz: &mut Fuzz) -> Op {
    let prefix = *fuzz.pick(&PREFIXES);
    let (key, range_end) = (prefix.into(), prefix.replace('/', "0").into());
    Op::DeleteRange(pb::DeleteRangeRequest { key, range_end, prev_kv: fuzz.below(4) == 0 })
}

/// Single keys one after the other, sometimes with a revision of many between them: who reads a range finds
/// them in this order.
fn neighbours(fuzz: &mut Fuzz) -> Vec<Op> {
    let mut ops = Vec::new();
    for key in SINGLE {
        match fuzz.below(6) {
            0 => ops.push(clear(fuzz)),
            1 => ops.push(fill(fuzz)),
            _ => {}
        }
        ops.push(Op::Put(pb::PutRequest { key: key.into(), ..Default::default() }));
    }
    ops
}

/// What clients ask for next.
pub(super) fn requests(fuzz: &mut Fuzz, model: &Model) -> Vec<Op> {
    let op = match fuzz.below(22) {
        0..8 => {
            let key = single(fuzz);
            Op::Put(put(fuzz, key))
        }
        8 | 9 => Op::DeleteRange(delete(fuzz)),
        10..14 => Op::Txn(txn(fuzz, model, 2)),
        14 => fill(fuzz),
        15 => clear(fuzz),
        16 => {
            let revision = model.revision + 1 - number(fuzz, 20);
            Op::Compaction(pb::CompactionRequest { revision, physical: false })
        }
        17 | 18 => {
            let (id, ttl) = (1 + number(fuzz, LEASES), 1 + number(fuzz, 100));
            Op::LeaseGrant(pb::LeaseGrantRequest { id, ttl })
        }
        19 => Op::LeaseRevoke(pb::LeaseRevokeRequest { id: 1 + number(fuzz, LEASES) }),
        _ => return neighbours(fuzz),
    };
    vec![op]
}
