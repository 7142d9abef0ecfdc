use std::fmt::Debug;
use std::ops::ControlFlow;

use bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::convert::header;
use super::{Error, Parts, State};
use crate::mvcc::{EventRef, KeyRange, Keyspace, Revision, Storage};
use crate::proto::{etcdserverpb as pb, mvccpb};
use pb::range_request::{SortOrder, SortTarget};

/// Keys a slice reads at most, so that a reader holds the state for about a millisecond.
const SLICE_KEYS: usize = 1000;
/// Counting a key without reading it is this much cheaper.
const READ_COST: usize = 16;
/// Bytes that are copied in the time in which a key is counted.
const COST_BYTES: usize = 64;

/// A range being read, slice by slice, at one revision that was fixed when it began.
///
/// Between two slices the state may change; the answer does not. Only a compaction beyond the
/// fixed revision ends it, with [`Error::Compacted`].
#[derive(Debug)]
pub struct RangeScan<P = Listed> {
    request: pb::RangeRequest,
    range: KeyRange,
    order: SortOrder,
    target: SortTarget,
    at: i64,
    current: i64,
    /// How many pairs are worth reading.
    fetch: usize,
    resume: Option<Bytes>,
    pairs: P,
    count: i64,
}

/// The pairs of an answer while they are read.
pub trait Pairs: Debug + Default {
    /// Takes the next one; so many will follow it.
    fn take(&mut self, record: EventRef<'_>, request: &pb::RangeRequest, behind: usize);

    /// How many there are.
    fn number(&self) -> usize;
}

/// Pairs that can still be sorted.
#[derive(Debug, Default)]
pub struct Listed(Vec<mvccpb::KeyValue>);

impl Pairs for Listed {
    fn take(&mut self, record: EventRef<'_>, request: &pb::RangeRequest, behind: usize) {
        let by_value = request.sort_target == i32::from(SortTarget::Value);
        let value = if request.keys_only && !by_value { &[][..] } else { record.value };
        self.0.reserve(behind + 1);
        self.0.push(EventRef { value, ..record }.to_event().kv.into());
    }

    fn number(&self) -> usize {
        self.0.len()
    }
}

/// Pairs as they are sent, in the order of their keys.
#[derive(Debug, Default)]
pub struct Sent {
    parts: Parts,
    number: usize,
}

/// The field of a range's answer that holds its pairs.
const KVS: u32 = 2;

impl Pairs for Sent {
    fn take(&mut self, record: EventRef<'_>, request: &pb::RangeRequest, behind: usize) {
        self.number += 1;
        if positive(request.limit).is_some_and(|limit| self.number > limit) {
            return;
        }
        let value = if request.keys_only { &[][..] } else { record.value };
        let record = EventRef { value, ..record };
        let inner = record.marshalled_len();
        let length = key_len(KVS) + encoded_len_varint(inner as u64) + inner;
        self.parts.piece(length, length * behind, |part| {
            encode_key(KVS, WireType::LengthDelimited, part);
            encode_varint(inner as u64, part);
            record.marshal(part);
        });
    }

    fn number(&self) -> usize {
        self.number
    }
}

impl<P: Pairs> RangeScan<P> {
    /// Fixes the revision. `current` is what the header will say.
    pub(super) fn begin<S: Storage>(
        keys: &Keyspace<S>,
        current: i64,
        request: &pb::RangeRequest,
    ) -> Result<Self, Error> {
        if request.revision > current {
            return Err(Error::FutureRevision);
        }
        let at = if request.revision <= 0 { current } else { request.revision };
        if at < keys.compact_revision() {
            return Err(Error::Compacted);
        }
        let order = SortOrder::try_from(request.sort_order);
        let target = SortTarget::try_from(request.sort_target);
        let (Ok(order), Ok(target)) = (order, target) else {
            return Err(Error::InvalidSortOption);
        };
        Ok(Self {
            range: KeyRange::new(request.key.clone(), request.range_end.clone()),
            order,
            target,
            at,
            current,
            fetch: fetch(request, order),
            resume: None,
            pairs: P::default(),
            count: 0,
            request: request.clone(),
        })
    }

    /// Reads the next slice; true when it was the last.
    pub fn step<S: Storage>(&mut self, state: &State<S>) -> Result<bool, Error> {
        self.advance(state.keys(), SLICE_KEYS * READ_COST)
    }

    pub(super) fn advance<S: Storage>(
        &mut self,
        keys: &Keyspace<S>,
        budget: usize,
    ) -> Result<bool, Error> {
        if self.at < keys.compact_revision() {
            return Err(Error::Compacted);
        }
        let mut wanted: Vec<Revision> = Vec::new();
        // Of each of them the key, and how many there are up to it.
        let mut places: Vec<(&[u8], i64)> = Vec::new();
        let mut cost = 0;
        let mut last = None;
        let mut finished = true;
        let mut full = self.pairs.number() >= self.fetch;
        let mut found = keys.range(&self.range, self.at, self.resume.as_deref());
        while !full && let Some((key, found)) = found.next() {
            if cost >= budget {
                finished = false;
                break;
            }
            cost += 1;
            last = Some(key);
            let Some(found) = found else { continue };
            self.count += 1;
            if self.mod_revision_fits(found.main) {
                wanted.push(found);
                places.push((key, self.count));
                cost += READ_COST;
                full = self.pairs.number() + wanted.len() >= self.fetch;
            }
        }
        drop(found);
        let request = &self.request;
        let read =
            read_some(keys, &wanted, budget.saturating_mul(COST_BYTES), request, &mut self.pairs)?;
        if read < wanted.len() {
            let (key, count) = places[read - 1];
            (self.count, self.resume) = (count, Some(Bytes::copy_from_slice(key)));
            return Ok(false);
        }
        if full {
            // Those behind are only counted.
            let from = last.or(self.resume.as_deref());
            let limit = budget.saturating_sub(cost).max(1);
            let (count, next) = keys.count(&self.range, self.at, from, limit);
            self.count += i64::try_from(count).expect("memory holds fewer keys");
            finished = next.is_none();
            last = next;
        }
        self.resume = last.map(Bytes::copy_from_slice);
        Ok(finished)
    }

    fn mod_revision_fits(&self, revision: i64) -> bool {
        fits(revision, self.request.min_mod_revision, self.request.max_mod_revision)
    }

    /// The newest revision when it began, which the header of the answer says.
    pub fn current(&self) -> i64 {
        self.current
    }
}

impl RangeScan<Sent> {
    /// Appends the answer but for its header, once [`Self::step`] has said that it is complete.
    pub fn finish_into(self, out: &mut Parts) {
        let limit = positive(self.request.limit);
        let more = limit.is_some_and(|limit| self.pairs.number > limit);
        out.append(self.pairs.parts);
        out.message(&pb::RangeResponse { more, count: self.count, ..Default::default() });
    }
}

impl RangeScan {
    /// The answer, once [`Self::step`] has said that it is complete.
    pub fn finish(self) -> pb::RangeResponse {
        let Listed(mut kvs) = self.pairs;
        let descending = self.order == SortOrder::Descend;
        if !by_key(&self.request) {
            kvs.sort_by(|a, b| {
                let ordering = match self.target {
                    SortTarget::Key => a.key.cmp(&b.key),
                    SortTarget::Version => a.version.cmp(&b.version),
                    SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                    SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
                    SortTarget::Value => a.value.cmp(&b.value),
                };
                if descending { ordering.reverse() } else { ordering }
            });
        }
        let mut more = false;
        if let Some(limit) = positive(self.request.limit)
            && kvs.len() > limit
        {
            kvs.truncate(limit);
            more = true;
        }
        if self.request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        pb::RangeResponse { header: header(self.current), kvs, more, count: self.count }
    }
}

/// Reads pairs until they come to so many bytes, at least one of them; tells how many.
fn read_some<S: Storage>(
    keys: &Keyspace<S>,
    wanted: &[Revision],
    bytes: usize,
    request: &pb::RangeRequest,
    pairs: &mut impl Pairs,
) -> Result<usize, Error> {
    let (mut read, mut left) = (0, bytes);
    keys.storage().visit(wanted, &mut |record| {
        read += 1;
        let (min, max) = (request.min_create_revision, request.max_create_revision);
        if fits(record.create_revision, min, max) {
            pairs.take(record, request, wanted.len() - read);
        }
        left = left.saturating_sub(record.key.len() + record.value.len());
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(read)
}

/// Reads a whole range at once.
pub(super) fn read<S: Storage>(
    keys: &Keyspace<S>,
    current: i64,
    request: &pb::RangeRequest,
) -> Result<pb::RangeResponse, Error> {
    Ok(read_all::<_, Listed>(keys, current, request)?.finish())
}

/// The same as it is sent.
pub(super) fn read_parts<S: Storage>(
    keys: &Keyspace<S>,
    current: i64,
    request: &pb::RangeRequest,
) -> Result<Parts, Error> {
    let mut parts = Parts::default();
    if by_key(request) {
        let header = header(current);
        parts.message(&pb::RangeResponse { header, ..Default::default() });
        read_all::<_, Sent>(keys, current, request)?.finish_into(&mut parts);
    } else {
        parts.message(&read(keys, current, request)?);
    }
    Ok(parts)
}

fn read_all<S: Storage, P: Pairs>(
    keys: &Keyspace<S>,
    current: i64,
    request: &pb::RangeRequest,
) -> Result<RangeScan<P>, Error> {
    let mut scan = RangeScan::begin(keys, current, request)?;
    scan.advance(keys, usize::MAX)?;
    Ok(scan)
}

/// Whether the pairs of an answer stand in the order of their keys, in which they are read.
pub fn by_key(request: &pb::RangeRequest) -> bool {
    request.sort_target == i32::from(SortTarget::Key)
        && request.sort_order != i32::from(SortOrder::Descend)
}

/// How many pairs to read at most, by etcd's rule.
///
/// A sort order or a filter needs all of them. A sort target without an order does not, so that
/// only the first `limit + 1` by key are sorted: a trap, but one that clients can see. The one more
/// than the limit tells whether there are more.
fn fetch(request: &pb::RangeRequest, order: SortOrder) -> usize {
    if request.count_only {
        return 0;
    }
    let filtered = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    // Keys come in this order anyway.
    let by_key = request.sort_target == i32::from(SortTarget::Key) && order == SortOrder::Ascend;
    if (order != SortOrder::None && !by_key) || filtered.iter().any(|bound| *bound != 0) {
        return usize::MAX;
    }
    positive(request.limit).map_or(usize::MAX, |limit| limit.saturating_add(1))
}

/// Zero and negative limits are none.
fn positive(limit: i64) -> Option<usize> {
    usize::try_from(limit).ok().filter(|limit| *limit > 0)
}

/// Inclusive bounds; zero is none.
fn fits(revision: i64, min: i64, max: i64) -> bool {
    (min == 0 || revision >= min) && (max == 0 || revision <= max)
}
