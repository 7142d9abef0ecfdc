//! The dumb state: every version that every key ever had, in lists that are searched from one end to the
//! other. Nothing is ever dropped; a compaction only says what may still be asked for.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::apply::{Error, Response};
use crate::mvcc::{Event, KeyRange, KeyValue};
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::request::Op;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::range_request::{SortOrder, SortTarget};
use pb::request_op::Request as TxnOp;
use pb::response_op::Response as Answer;

#[derive(Debug)]
pub(super) struct Model {
    /// All versions of a key, oldest first; deletions are versions without a value.
    keys: BTreeMap<Bytes, Vec<(i64, Option<KeyValue>)>>,
    /// What each revision changed, in the order in which it did.
    pub(super) events: BTreeMap<i64, Vec<Event>>,
    pub(super) revision: i64,
    pub(super) compacted: i64,
    /// Granted seconds by id.
    pub(super) leases: BTreeMap<i64, i64>,
}

impl Default for Model {
    fn default() -> Self {
        let (keys, events, leases) = Default::default();
        Self { keys, events, revision: 1, compacted: -1, leases }
    }
}

fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision, ..Default::default() })
}

impl Model {
    /// A key as it was at a revision, with the changes of the one that is being made.
    pub(super) fn at(&self, key: &[u8], revision: i64) -> Option<&KeyValue> {
        let versions = self.keys.get(key)?;
        versions.iter().rev().find(|(at, _)| *at <= revision)?.1.as_ref()
    }

    fn existing<'a>(
        &'a self,
        range: &'a KeyRange,
        revision: i64,
    ) -> impl Iterator<Item = &'a KeyValue> {
        let keys = self.keys.keys().filter(|key| range.contains(key));
        keys.filter_map(move |key| self.at(key, revision))
    }

    /// The revision that a request sees in its middle: the next one as soon as it has changed something.
    fn current(&self) -> i64 {
        self.events.last_key_value().map_or(self.revision, |(at, _)| self.revision.max(*at))
    }

    fn change(&mut self, key: Bytes, now: Option<KeyValue>) {
        let at = self.revision + 1;
        let gone = KeyValue { key: key.clone(), mod_revision: at, ..KeyValue::default() };
        let event = Event { deleted: now.is_none(), kv: now.clone().unwrap_or(gone) };
        self.events.entry(at).or_default().push(event);
        self.keys.entry(key).or_default().push((at, now));
    }

    /// Applies one request; what it changed is the last of `events` if the revision has grown.
    pub(super) fn apply(&mut self, op: Op) -> Result<Response, Error> {
        let response = self.operation(op);
        self.revision = self.current();
        response
    }

    fn operation(&mut self, op: Op) -> Result<Response, Error> {
        match op {
            Op::Put(put) => {
                self.lease_of(&put)?;
                self.kept_of(&put)?;
                Ok(Response::Put(self.put(put)))
            }
            Op::DeleteRange(delete) => Ok(Response::DeleteRange(self.delete(delete))),
            Op::Txn(txn) => {
                let before = self.revision;
                self.txn_check(&txn)?;
                let mut response = self.txn(&txn, before);
                response.header = header(self.current());
                Ok(Response::Txn(response))
            }
            Op::Compaction(compaction) if compaction.revision <= self.compacted => {
                Err(Error::Compacted)
            }
            Op::Compaction(compaction) if compaction.revision > self.revision => {
                Err(Error::FutureRevision)
            }
            Op::Compaction(compaction) => {
                self.compacted = compaction.revision;
                Ok(Response::Compaction(pb::CompactionResponse { header: header(self.revision) }))
            }
            Op::LeaseGrant(grant) => self.grant(&grant),
            Op::LeaseRevoke(revoke) => {
                self.leases.remove(&revoke.id).ok_or(Error::LeaseNotFound)?;
                for key in self.keys_of(revoke.id) {
                    self.change(key, None);
                }
                let header = header(self.current());
                Ok(Response::LeaseRevoke(pb::LeaseRevokeResponse { header }))
            }
            other => unreachable!("{other:?} is not asked for"),
        }
    }

    fn grant(&mut self, grant: &pb::LeaseGrantRequest) -> Result<Response, Error> {
        if self.leases.contains_key(&grant.id) {
            return Err(Error::LeaseExists);
        }
        self.leases.insert(grant.id, grant.ttl);
        let (header, error) = (header(self.revision), String::new());
        Ok(Response::LeaseGrant(pb::LeaseGrantResponse {
            header,
            id: grant.id,
            ttl: grant.ttl,
            error,
        }))
    }

    /// The keys that hang on a lease.
    pub(super) fn keys_of(&self, lease: i64) -> Vec<Bytes> {
        let everything = KeyRange::everything();
        let all = self.existing(&everything, self.current());
        all.filter(|kv| kv.lease == lease).map(|kv| kv.key.clone()).collect()
    }

    /// How many records compaction leaves: of what it may drop, the last version of a key that is not gone,
    /// or is since that very revision.
    pub(super) fn records(&self) -> usize {
        let of_key = |versions: &Vec<(i64, Option<KeyValue>)>| {
            let old = versions.partition_point(|(at, _)| *at <= self.compacted);
            let last = versions[..old].last();
            let kept = last.is_some_and(|(at, kv)| kv.is_some() || *at == self.compacted);
            versions.len() - old + usize::from(kept)
        };
        self.keys.values().map(of_key).sum()
    }

    fn lease_of(&self, put: &pb::PutRequest) -> Result<(), Error> {
        let known = put.lease == 0 || self.leases.contains_key(&put.lease);
        known.then_some(()).ok_or(Error::LeaseNotFound)
    }

    fn kept_of(&self, put: &pb::PutRequest) -> Result<(), Error> {
        let needed = put.ignore_value || put.ignore_lease;
        let known = !needed || self.at(&put.key, self.revision).is_some();
        known.then_some(()).ok_or(Error::KeyNotFound)
    }

    fn put(&mut self, put: pb::PutRequest) -> pb::PutResponse {
        let before = self.at(&put.key, i64::MAX).cloned();
        let mod_revision = self.revision + 1;
        let mut now = KeyValue {
            key: put.key,
            value: put.value,
            create_revision: mod_revision,
            mod_revision,
            version: 1,
            lease: put.lease,
        };
        if let Some(before) = &before {
            now.create_revision = before.create_revision;
            now.version = before.version + 1;
            now.value = if put.ignore_value { before.value.clone() } else { now.value };
            now.lease = if put.ignore_lease { before.lease } else { now.lease };
        }
        self.change(now.key.clone(), Some(now));
        let prev_kv = before.filter(|_| put.prev_kv).map(Into::into);
        pb::PutResponse { header: header(self.current()), prev_kv }
    }

    fn delete(&mut self, delete: pb::DeleteRangeRequest) -> pb::DeleteRangeResponse {
        let range = KeyRange::new(delete.key, delete.range_end);
        let gone: Vec<KeyValue> = self.existing(&range, i64::MAX).cloned().collect();
        for kv in &gone {
            self.change(kv.key.clone(), None);
        }
        let deleted = i64::try_from(gone.len()).unwrap();
        let prev_kvs = gone.into_iter().filter(|_| delete.prev_kv).map(Into::into).collect();
        pb::DeleteRangeResponse { header: header(self.current()), deleted, prev_kvs }
    }

    fn branch<'a>(&self, txn: &'a pb::TxnRequest, before: i64) -> (bool, &'a [pb::RequestOp]) {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare, before));
        (succeeded, if succeeded { &txn.success } else { &txn.failure })
    }

    fn txn_check(&self, txn: &pb::TxnRequest) -> Result<(), Error> {
        for op in self.branch(txn, self.revision).1 {
            match op.request.as_ref().unwrap() {
                TxnOp::RequestPut(put) => {
                    self.kept_of(put)?;
                    self.lease_of(put)?;
                }
                TxnOp::RequestRange(range) if range.revision != 0 => self.readable(range)?,
                TxnOp::RequestTxn(nested) => self.txn_check(nested)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// All compares look at what was there before.
    fn txn(&mut self, txn: &pb::TxnRequest, before: i64) -> pb::TxnResponse {
        let (succeeded, ops) = self.branch(txn, before);
        let answers: Vec<Answer> = ops
            .iter()
            .map(|op| match op.request.clone().unwrap() {
                TxnOp::RequestRange(range) => Answer::ResponseRange(self.ranged(&range)),
                TxnOp::RequestPut(put) => Answer::ResponsePut(self.put(put)),
                TxnOp::RequestDeleteRange(delete) => {
                    Answer::ResponseDeleteRange(self.delete(delete))
                }
                TxnOp::RequestTxn(nested) => Answer::ResponseTxn(self.txn(&nested, before)),
            })
            .collect();
        let answer = |response| pb::ResponseOp { response: Some(response) };
        let responses = answers.into_iter().map(answer).collect();
        pb::TxnResponse { header: header(0), succeeded, responses }
    }

    fn holds(&self, compare: &pb::Compare, at: i64) -> bool {
        let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
        let absent = KeyValue::default();
        let mut found: Vec<&KeyValue> = self.existing(&range, at).collect();
        if found.is_empty() {
            if compare.target() == CompareTarget::Value {
                return false;
            }
            found.push(&absent);
        }
        found.into_iter().all(|kv| {
            let ordering = match compare.target_union.as_ref().unwrap() {
                TargetUnion::Version(version) => kv.version.cmp(version),
                TargetUnion::CreateRevision(revision) => kv.create_revision.cmp(revision),
                TargetUnion::ModRevision(revision) => kv.mod_revision.cmp(revision),
                TargetUnion::Value(value) => kv.value.cmp(value),
                TargetUnion::Lease(lease) => kv.lease.cmp(lease),
            };
            match compare.result() {
                CompareResult::Equal => ordering.is_eq(),
                CompareResult::NotEqual => ordering.is_ne(),
                CompareResult::Greater => ordering.is_gt(),
                CompareResult::Less => ordering.is_lt(),
            }
        })
    }

    fn readable(&self, range: &pb::RangeRequest) -> Result<(), Error> {
        match range.revision {
            revision if revision > self.revision => Err(Error::FutureRevision),
            0 => Ok(()),
            revision if revision < self.compacted => Err(Error::Compacted),
            _ => Ok(()),
        }
    }

    pub(super) fn range(&self, request: &pb::RangeRequest) -> Result<pb::RangeResponse, Error> {
        self.readable(request)?;
        Ok(self.ranged(request))
    }

    fn ranged(&self, request: &pb::RangeRequest) -> pb::RangeResponse {
        let current = self.current();
        let at = if request.revision == 0 { current } else { request.revision };
        let range = KeyRange::new(request.key.clone(), request.range_end.clone());
        let mut kvs: Vec<&KeyValue> = self.existing(&range, at).collect();
        let count = i64::try_from(kvs.len()).unwrap();
        let limit = match usize::try_from(request.limit).unwrap() {
            0 => usize::MAX,
            limit => limit,
        };
        let within = |at: i64, min: i64, max: i64| at >= min && (max == 0 || at <= max);
        let bounds = [
            (request.min_mod_revision, request.max_mod_revision),
            (request.min_create_revision, request.max_create_revision),
        ];
        let (order, target) = (request.sort_order(), request.sort_target());
        let sorts = order == SortOrder::Descend
            || (order == SortOrder::Ascend && target != SortTarget::Key);
        if !sorts && bounds == [(0, 0); 2] {
            // Only the first ones by key are sorted, and one more than asked for.
            kvs.truncate(limit.saturating_add(1));
        }
        kvs.retain(|kv| within(kv.mod_revision, bounds[0].0, bounds[0].1));
        kvs.retain(|kv| within(kv.create_revision, bounds[1].0, bounds[1].1));
        kvs.sort_by(|a, b| {
            let ordering = match target {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
                SortTarget::Value => a.value.cmp(&b.value),
            };
            if order == SortOrder::Descend { ordering.reverse() } else { ordering }
        });
        if request.count_only {
            kvs.clear();
        }
        let more = kvs.len() > limit;
        kvs.truncate(limit);
        let value = |kv: &KeyValue| if request.keys_only { Bytes::new() } else { kv.value.clone() };
        let kvs = kvs.into_iter().map(|kv| KeyValue { value: value(kv), ..kv.clone() }.into());
        pb::RangeResponse { header: header(current), kvs: kvs.collect(), more, count }
    }
}
