use bytes::Bytes;

use super::convert::header;
use super::{Error, State};
use crate::mvcc::{KeyRange, KeyValue, Keyspace, Revision, Storage};
use crate::proto::etcdserverpb as pb;
use pb::range_request::{SortOrder, SortTarget};

/// Keys a slice reads at most, so that a reader holds the state for about a millisecond.
const SLICE_KEYS: usize = 1000;
/// Counting a key without reading it is this much cheaper.
const READ_COST: usize = 16;

/// A range being read, slice by slice, at one revision that was fixed when it began.
///
/// Between two slices the state may change; the answer does not. Only a compaction beyond the
/// fixed revision ends it, with [`Error::Compacted`].
#[derive(Debug)]
pub struct RangeScan {
    request: pb::RangeRequest,
    range: KeyRange,
    order: SortOrder,
    target: SortTarget,
    at: i64,
    current: i64,
    /// How many pairs are worth reading.
    fetch: usize,
    resume: Option<Bytes>,
    kvs: Vec<KeyValue>,
    count: i64,
}

impl RangeScan {
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
            kvs: Vec::new(),
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
        let mut cost = 0;
        let mut last = None;
        let mut finished = true;
        let mut full = self.kvs.len() >= self.fetch;
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
                cost += READ_COST;
                full = self.kvs.len() + wanted.len() >= self.fetch;
            }
        }
        drop(found);
        if full {
            // Those behind are only counted.
            let from = last.or(self.resume.as_deref());
            let limit = budget.saturating_sub(cost).max(1);
            let (count, next) = keys.count(&self.range, self.at, from, limit);
            self.count += i64::try_from(count).expect("memory holds fewer keys");
            finished = next.is_none();
            last = next;
        }
        let last = last.map(Bytes::copy_from_slice);
        let records = keys.storage().get_many(&wanted)?;
        self.kvs.reserve(records.len());
        let drop_value = self.request.keys_only && self.target != SortTarget::Value;
        for record in records {
            let mut kv = record.kv;
            if self.create_revision_fits(kv.create_revision) {
                if drop_value {
                    kv.value = Bytes::new();
                }
                self.kvs.push(kv);
            }
        }
        self.resume = last;
        Ok(finished)
    }

    fn mod_revision_fits(&self, revision: i64) -> bool {
        fits(revision, self.request.min_mod_revision, self.request.max_mod_revision)
    }

    fn create_revision_fits(&self, revision: i64) -> bool {
        fits(revision, self.request.min_create_revision, self.request.max_create_revision)
    }

    /// The answer, once [`Self::step`] has said that it is complete.
    pub fn finish(mut self) -> pb::RangeResponse {
        let descending = self.order == SortOrder::Descend;
        let unsorted = self.target == SortTarget::Key && !descending;
        if !unsorted {
            let target = self.target;
            self.kvs.sort_by(|a, b| {
                let ordering = match target {
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
            && self.kvs.len() > limit
        {
            self.kvs.truncate(limit);
            more = true;
        }
        let keys_only = self.request.keys_only;
        let kvs = self.kvs.into_iter().map(|mut kv| {
            if keys_only {
                kv.value = Bytes::new();
            }
            kv.into()
        });
        pb::RangeResponse {
            header: header(self.current),
            kvs: kvs.collect(),
            more,
            count: self.count,
        }
    }
}

/// Reads a whole range at once.
pub(super) fn read<S: Storage>(
    keys: &Keyspace<S>,
    current: i64,
    request: &pb::RangeRequest,
) -> Result<pb::RangeResponse, Error> {
    let mut scan = RangeScan::begin(keys, current, request)?;
    scan.advance(keys, usize::MAX)?;
    Ok(scan.finish())
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
