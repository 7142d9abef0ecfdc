//! What can be refused by looking at the request alone, in etcd's order: the first rule that fails
//! gives the answer. The API calls these before it proposes or reads.

use super::Error;
use super::overlap::Overlap;
use crate::lease::MAX_TTL_SECONDS;
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::request::Op as Proposal;
use pb::range_request::{SortOrder, SortTarget};
use pb::request_op::Request as Op;

/// Checks a range.
pub fn range(request: &pb::RangeRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    let order = SortOrder::try_from(request.sort_order);
    let target = SortTarget::try_from(request.sort_target);
    if order.is_err() || target.is_err() {
        return Err(Error::InvalidSortOption);
    }
    Ok(())
}

/// Checks a put.
pub fn put(request: &pb::PutRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

/// Checks a deletion.
pub fn delete_range(request: &pb::DeleteRangeRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    Ok(())
}

/// Levels of nested transactions that are accepted. A protobuf decoder gives up after a hundred
/// messages inside each other, and what stands in the log must decode on every replica.
const MAX_NESTING: usize = 40;

/// Checks a transaction: sizes, then keys in order, then overlaps.
pub fn txn(request: &pb::TxnRequest, max_ops: usize) -> Result<(), Error> {
    txn_ops(request, max_ops, MAX_NESTING)?;
    Overlap::check(&request.success)?;
    Overlap::check(&request.failure)?;
    Ok(())
}

/// A nested transaction may use what its parent's longest list has left of the budget.
fn txn_ops(request: &pb::TxnRequest, max_ops: usize, levels: usize) -> Result<(), Error> {
    let longest = request.compare.len().max(request.success.len()).max(request.failure.len());
    let (Some(ops_left), Some(levels_left)) = (max_ops.checked_sub(longest), levels.checked_sub(1))
    else {
        return Err(Error::TooManyOps);
    };
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(Op::RequestRange(request)) => range(request)?,
            Some(Op::RequestPut(request)) => put(request)?,
            Some(Op::RequestDeleteRange(request)) => delete_range(request)?,
            Some(Op::RequestTxn(request)) => txn_ops(request, ops_left, levels_left)?,
            None => return Err(Error::KeyNotFound),
        }
    }
    Ok(())
}

/// Checks the length of a lease, as the proposer has raised it.
pub fn lease_grant(request: &pb::LeaseGrantRequest) -> Result<(), Error> {
    if request.ttl > MAX_TTL_SECONDS {
        return Err(Error::LeaseTtlTooLarge);
    }
    Ok(())
}

/// Whether a transaction can be answered without the log: both branches hold ranges only. A nested
/// transaction counts as a write, whatever it holds.
pub fn is_read_only(request: &pb::TxnRequest) -> bool {
    all_ranges(request, |_| true)
}

/// Whether a read-only transaction may be answered from this member's own state.
pub fn is_serializable(request: &pb::TxnRequest) -> bool {
    all_ranges(request, |range| range.serializable)
}

fn all_ranges(request: &pb::TxnRequest, rule: fn(&pb::RangeRequest) -> bool) -> bool {
    let mut ops = request.success.iter().chain(&request.failure);
    ops.all(|op| matches!(&op.request, Some(Op::RequestRange(range)) if rule(range)))
}

/// What a put adds to the store, by etcd's estimate.
pub fn put_cost(request: &pb::PutRequest) -> i64 {
    const OVERHEAD: usize = 256;
    i64::try_from(request.key.len() + request.value.len() + OVERHEAD).unwrap_or(i64::MAX)
}

/// What a transaction adds to the store: its dearer branch.
pub fn txn_cost(request: &pb::TxnRequest) -> i64 {
    let branch = |ops: &[pb::RequestOp]| -> i64 {
        let of = |op: &pb::RequestOp| match &op.request {
            Some(Op::RequestPut(put)) => put_cost(put),
            Some(Op::RequestTxn(nested)) => txn_cost(nested),
            _ => 0,
        };
        ops.iter().map(of).sum()
    };
    branch(&request.success).max(branch(&request.failure))
}

/// What a lease adds to the store.
pub const LEASE_COST: i64 = 64;

/// What a request adds to the store, by etcd's estimate; 0 for one that a full store still takes.
pub fn cost(op: &Proposal) -> i64 {
    match op {
        Proposal::Put(request) => put_cost(request),
        Proposal::Txn(request) => txn_cost(request),
        Proposal::LeaseGrant(_) => LEASE_COST,
        _ => 0,
    }
}
