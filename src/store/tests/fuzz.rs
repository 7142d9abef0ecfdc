//! Requests of all kinds, applied to the store as a node opens it and to the dumb model, which must answer
//! alike, while the store is flushed, closed, killed, swept, written anew and sent elsewhere. The cache holds
//! nothing when it begins, and often next to nothing later, so that what is read comes from the disk.

mod generate;
mod maintain;

use std::collections::BTreeSet;
use std::fmt::Debug;

use prost::Message as _;

use super::model::Model;
use super::*;
use crate::apply::{Error, Listed, Parts, RangeScan, Sent, by_key};
use crate::auth::Caller;
use crate::fuzz::Fuzz;
use crate::lease::LeaseId;
use crate::mvcc::{Event, KeyRange, Revisions};
use crate::store::FlushBatch;
use maintain::Copying;

/// The store and what it is compared with.
struct Pair {
    directory: tempfile::TempDir,
    path: PathBuf,
    /// Absent only while it is closed and opened again.
    state: Option<State<Store>>,
    model: Model,
    log: Vec<Bytes>,
    /// A batch on its way to the disk, and whether it is there.
    flushing: Option<(FlushBatch, bool)>,
    copying: Option<Copying>,
    /// A range that is being read, and what it must come to.
    scan: Option<(Scan, pb::RangeRequest, pb::RangeResponse)>,
}

/// A range that is read in one of both ways.
enum Scan {
    Listed(RangeScan),
    Sent(RangeScan<Sent>),
}

impl Scan {
    fn step(&mut self, state: &State<Store>) -> Result<bool, Error> {
        match self {
            Self::Listed(scan) => scan.step(state),
            Self::Sent(scan) => scan.step(state),
        }
    }

    fn finish(self) -> pb::RangeResponse {
        match self {
            Self::Listed(scan) => scan.finish(),
            Self::Sent(scan) => {
                let header = header(scan.current());
                let mut parts = Parts::default();
                parts.message(&pb::RangeResponse { header, ..Default::default() });
                scan.finish_into(&mut parts);
                pb::RangeResponse::decode(&*bytes(parts)).unwrap()
            }
        }
    }
}

fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision, ..Default::default() })
}

fn bytes(parts: Parts) -> Vec<u8> {
    let length = parts.len();
    let bytes = parts.into_iter().collect::<Vec<_>>().concat();
    assert_eq!(bytes.len(), length);
    bytes
}

fn same<T: PartialEq + Debug>(found: &T, expected: &T, what: &dyn Debug) {
    let short = |it: &dyn Debug| format!("{it:?}").chars().take(1500).collect::<String>();
    assert!(found == expected, "{}:\n{}\n{}", short(what), short(found), short(expected));
}

impl Pair {
    fn new(fuzz: &mut Fuzz) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.redb");
        let mut state = maintain::open(Store::open(&path).unwrap(), fuzz);
        state.set_roster(&roster());
        flush(&mut state, Durability::Immediate);
        let (model, log) = (Model::default(), Vec::new());
        let (flushing, copying, scan) = (None, None, None);
        Self { directory, path, state: Some(state), model, log, flushing, copying, scan }
    }

    fn state(&mut self) -> &mut State<Store> {
        self.state.as_mut().unwrap()
    }

    fn apply(&mut self, op: &Op) {
        let request = Request { id: 1, op: Some(op.clone()), caller: None, term: 0 };
        let data = Bytes::from(request.encode_to_vec());
        self.log.push(data.clone());
        let index = Index(self.log.len() as u64);
        let outcome = self.state().apply(index, Term(1), &data).unwrap().unwrap();
        let before = self.model.revision;
        let expected = self.model.apply(op.clone());
        same(&outcome.response, &expected, op);
        let made = self.model.events.range(before + 1..).next_back();
        let events: &[Event] = made.map_or(&[], |(_, events)| events);
        same(&&outcome.events[..], &events, op);
        assert_eq!(outcome.revision, self.model.revision);
    }

    fn read(&mut self, fuzz: &mut Fuzz) {
        let request = generate::range(fuzz, &self.model);
        let expected = self.model.range(&request);
        let scan = if by_key(&request) && fuzz.below(3) > 0 {
            self.state().range_scan(&Caller::Cluster, &request).map(Scan::Sent)
        } else {
            self.state().range_scan::<Listed>(&Caller::Cluster, &request).map(Scan::Listed)
        };
        let (scan, expected) = match (scan, expected) {
            (Ok(scan), Ok(expected)) => (scan, expected),
            (scan, expected) => return same(&scan.err(), &expected.err(), &request),
        };
        if self.scan.is_none() && fuzz.below(3) == 0 {
            self.scan = Some((scan, request, expected));
            return;
        }
        same(&self.state().range(&request).unwrap(), &expected, &request);
        self.read_in_txn(&request);
    }

    /// What is sent of a transaction is its answer, byte for byte.
    fn read_in_txn(&mut self, request: &pb::RangeRequest) {
        let count = pb::RangeRequest { count_only: true, ..request.clone() };
        let ranges = [request.clone(), count].map(pb::request_op::Request::RequestRange);
        let ops = ranges.map(|range| pb::RequestOp { request: Some(range) }).to_vec();
        let txn = pb::TxnRequest { failure: ops.clone(), success: ops, ..Default::default() };
        let state = self.state();
        let listed = state.txn_read(&Caller::Cluster, &txn).unwrap();
        let mut sent = Parts::default();
        let header = header(state.revision());
        sent.message(&pb::TxnResponse { header, ..Default::default() });
        assert_eq!(state.txn_read_into(&Caller::Cluster, &txn, &mut sent), Ok(2));
        same(&bytes(sent), &listed.encode_to_vec(), request);
    }

    /// One more slice of the range that is being read meanwhile.
    fn read_on(&mut self) {
        let Some((mut scan, request, expected)) = self.scan.take() else { return };
        let at = match request.revision {
            0 => expected.header.as_ref().unwrap().revision,
            at => at,
        };
        match scan.step(self.state()) {
            Ok(true) => same(&scan.finish(), &expected, &request),
            Ok(false) => self.scan = Some((scan, request, expected)),
            Err(error) => {
                assert_eq!(error, Error::Compacted);
                assert!(at < self.model.compacted, "{at} is not compacted");
            }
        }
    }

    /// What watchers read of the past.
    fn read_events(&mut self, fuzz: &mut Fuzz) {
        let range = generate::keys(fuzz);
        let range = KeyRange::new(range.0, range.1);
        let from = generate::revision(fuzz, &self.model).max(2);
        let limit = 1 + fuzz.below(8);
        let found = self.state().events(&range, from, limit);
        if from < self.model.compacted {
            return same(&found, &Err(Error::Compacted), &from);
        }
        let mut expected = Revisions::new();
        for (at, events) in self.model.events.range(from..).take(limit) {
            let mut seen: Vec<Event> =
                events.iter().filter(|event| range.contains(&event.kv.key)).cloned().collect();
            if *at == self.model.compacted {
                seen = last_of_each_key(seen);
            }
            if !seen.is_empty() {
                expected.push((*at, seen));
            }
        }
        let next = self.model.events.range(from..).nth(limit).map(|(at, _)| *at);
        let next = next.unwrap_or_else(|| from.max(self.model.revision + 1));
        let mut found = found.unwrap();
        for (at, events) in &mut found.0 {
            if *at == self.model.compacted {
                *events = last_of_each_key(std::mem::take(events));
            }
        }
        same(&found, &(expected, next), &(range, from, limit));
    }

    fn read_previous(&mut self, fuzz: &mut Fuzz) {
        let (key, _) = generate::keys(fuzz);
        let revision = generate::revision(fuzz, &self.model);
        let known = revision > self.model.compacted;
        let expected = self.model.at(&key, revision - 1).filter(|_| known).cloned();
        same(&self.state().prev_kv(&key, revision).unwrap(), &expected, &(key, revision));
    }

    /// Everything at once.
    fn check(&mut self) {
        let (key, range_end) = (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
        for revision in [0, self.model.compacted.max(1)] {
            let (key, range_end) = (key.clone(), range_end.clone());
            let all = pb::RangeRequest { key, range_end, revision, ..Default::default() };
            same(&self.state().range(&all), &self.model.range(&all), &all);
        }
        let leases: Vec<i64> = self.model.leases.keys().copied().collect();
        for id in leases {
            let keys = self.state().leases().keys(LeaseId(id)).unwrap();
            let keys: Vec<Bytes> = keys.map(Bytes::copy_from_slice).collect();
            same(&keys, &self.model.keys_of(id), &id);
        }
        assert_eq!(self.state().leases().iter().count(), self.model.leases.len());
        assert_eq!(self.state().compact_revision(), self.model.compacted);
    }
}

/// A key that is changed twice in the revision of a compaction may have lost the first of these changes.
fn last_of_each_key(events: Vec<Event>) -> Vec<Event> {
    let mut seen = BTreeSet::new();
    let mut last: Vec<Event> =
        events.into_iter().rev().filter(|event| seen.insert(event.kv.key.clone())).collect();
    last.reverse();
    last
}

#[test]
fn the_store_answers_as_every_version_of_every_key_would() {
    let mut fuzz = Fuzz::new("store", 6);
    while fuzz.goes_on() {
        println!("{}", fuzz.place());
        let mut pair = Pair::new(&mut fuzz);
        for _ in 0..100 {
            match fuzz.below(20) {
                0..7 => {
                    for op in generate::requests(&mut fuzz, &pair.model) {
                        pair.apply(&op);
                    }
                }
                7..11 => pair.read(&mut fuzz),
                11..13 => pair.read_on(),
                13 => pair.read_events(&mut fuzz),
                14 => pair.read_previous(&mut fuzz),
                _ => pair.maintain(&mut fuzz),
            }
        }
        pair.finish(&mut fuzz);
    }
}
