use std::slice::Iter;

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::convert::header;
use super::write::Changes;
use super::{Error, Parts, compare, range};
use crate::lease::Leases;
use crate::mvcc::{Keyspace, Storage, StorageError};
use crate::proto::etcdserverpb as pb;
use pb::request_op::Request as Op;
use pb::response_op::Response as Answer;

/// Which way a transaction and the nested ones on its way go, depth first.
///
/// All compares, nested ones included, look at the state before the first change.
type Path = Vec<bool>;

/// Runs a transaction that may write. It either has all its effects or, when refused, none.
pub(super) fn run<S: Storage>(
    changes: &mut Changes<'_, S>,
    request: pb::TxnRequest,
) -> Result<pb::TxnResponse, Error> {
    let mut path = Path::new();
    choose(changes.keys(), changes.leases(), &request, &mut path)?;
    check(changes, &request, &mut path.iter())?;
    let mut response = execute(changes, request, &mut path.iter())?;
    response.header = header(changes.revision());
    Ok(response)
}

/// Answers a transaction of ranges only.
pub(super) fn read<S: Storage>(
    keys: &Keyspace<S>,
    leases: &Leases,
    request: &pb::TxnRequest,
) -> Result<pb::TxnResponse, Error> {
    let (succeeded, ranges) = begin_read(keys, leases, request)?;
    let mut responses = Vec::new();
    for range in ranges {
        let response = range::read(keys, keys.revision(), range)?;
        responses.push(answer(Answer::ResponseRange(response)));
    }
    Ok(pb::TxnResponse { header: header(keys.revision()), succeeded, responses })
}

/// The same as it is sent, appended to `out` but for its header. Tells how many ranges there were.
pub(super) fn read_into<S: Storage>(
    keys: &Keyspace<S>,
    leases: &Leases,
    request: &pb::TxnRequest,
    out: &mut Parts,
) -> Result<u64, Error> {
    let (succeeded, ranges) = begin_read(keys, leases, request)?;
    out.message(&pb::TxnResponse { succeeded, ..Default::default() });
    let mut number = 0;
    for range in ranges {
        let range = range::read_parts(keys, keys.revision(), range)?;
        let length = range.len() as u64;
        let op = key_len(RESPONSE_RANGE) + encoded_len_varint(length) + range.len();
        let heads = key_len(RESPONSES) + encoded_len_varint(op as u64) + op - range.len();
        out.piece(heads, 0, |part| {
            encode_key(RESPONSES, WireType::LengthDelimited, part);
            encode_varint(op as u64, part);
            encode_key(RESPONSE_RANGE, WireType::LengthDelimited, part);
            encode_varint(length, part);
        });
        out.append(range);
        number += 1;
    }
    Ok(number)
}

/// The field of a transaction's answer that holds those of its operations, and the one of such that holds a
/// range's.
const RESPONSES: u32 = 3;
const RESPONSE_RANGE: u32 = 1;

/// Which way a transaction of ranges only goes, and those on it.
fn begin_read<'a, S: Storage>(
    keys: &Keyspace<S>,
    leases: &Leases,
    request: &'a pb::TxnRequest,
) -> Result<(bool, impl Iterator<Item = &'a pb::RangeRequest>), Error> {
    let mut path = Path::new();
    choose(keys, leases, request, &mut path)?;
    check_ranges(keys, request, &mut path.iter())?;
    let ranges = branch(request, path[0]).iter().map(|op| match &op.request {
        Some(Op::RequestRange(range)) => range,
        _ => unreachable!("a read-only transaction holds ranges only"),
    });
    Ok((path[0], ranges))
}

fn choose<S: Storage>(
    keys: &Keyspace<S>,
    leases: &Leases,
    request: &pb::TxnRequest,
    path: &mut Path,
) -> Result<(), StorageError> {
    let mut succeeded = true;
    for compare in &request.compare {
        if !compare::holds(compare, keys, leases)? {
            succeeded = false;
            break;
        }
    }
    path.push(succeeded);
    for op in branch(request, succeeded) {
        if let Some(Op::RequestTxn(nested)) = &op.request {
            choose(keys, leases, nested, path)?;
        }
    }
    Ok(())
}

/// What would be refused, in the order of the operations as etcd 3.6 and 3.7 look at them; older ones
/// look at all puts first. Of a put the key, if it keeps something of it, before the lease (3.4 to 3.6).
fn check<S: Storage>(
    changes: &Changes<'_, S>,
    request: &pb::TxnRequest,
    path: &mut Iter<'_, bool>,
) -> Result<(), Error> {
    for op in branch(request, next(path)) {
        match &op.request {
            Some(Op::RequestTxn(nested)) => check(changes, nested, path)?,
            Some(Op::RequestPut(put)) => {
                changes.check_exists(put)?;
                changes.check_lease(put)?;
            }
            Some(Op::RequestRange(range)) => check_range(changes.keys(), range)?,
            _ => {}
        }
    }
    Ok(())
}

/// The same of a transaction that only reads.
fn check_ranges<S: Storage>(
    keys: &Keyspace<S>,
    request: &pb::TxnRequest,
    path: &mut Iter<'_, bool>,
) -> Result<(), Error> {
    for op in branch(request, next(path)) {
        match &op.request {
            Some(Op::RequestTxn(nested)) => check_ranges(keys, nested, path)?,
            Some(Op::RequestRange(range)) => check_range(keys, range)?,
            _ => {}
        }
    }
    Ok(())
}

/// A revision that this very transaction makes is in the future.
fn check_range<S: Storage>(keys: &Keyspace<S>, range: &pb::RangeRequest) -> Result<(), Error> {
    match range.revision {
        0 => Ok(()),
        revision if revision > keys.revision() => Err(Error::FutureRevision),
        revision if revision < keys.compact_revision() => Err(Error::Compacted),
        _ => Ok(()),
    }
}

fn execute<S: Storage>(
    changes: &mut Changes<'_, S>,
    request: pb::TxnRequest,
    path: &mut Iter<'_, bool>,
) -> Result<pb::TxnResponse, Error> {
    let succeeded = next(path);
    let ops = if succeeded { request.success } else { request.failure };
    let mut responses = Vec::with_capacity(ops.len());
    for op in ops {
        let response = match op.request {
            Some(Op::RequestRange(range)) => Answer::ResponseRange(changes.range(&range)?),
            Some(Op::RequestPut(put)) => Answer::ResponsePut(changes.put(put)?),
            Some(Op::RequestDeleteRange(delete)) => {
                Answer::ResponseDeleteRange(changes.delete_range(delete)?)
            }
            Some(Op::RequestTxn(nested)) => Answer::ResponseTxn(execute(changes, nested, path)?),
            None => continue,
        };
        responses.push(answer(response));
    }
    // A nested answer has a header without anything in it.
    Ok(pb::TxnResponse { header: header(0), succeeded, responses })
}

fn branch(request: &pb::TxnRequest, succeeded: bool) -> &[pb::RequestOp] {
    if succeeded { &request.success } else { &request.failure }
}

fn next(path: &mut Iter<'_, bool>) -> bool {
    *path.next().expect("the path was laid over this very transaction")
}

fn answer(response: Answer) -> pb::ResponseOp {
    pb::ResponseOp { response: Some(response) }
}
