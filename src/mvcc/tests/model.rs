use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::mvcc::{
    Error, Event, EventRef, KeyRange, KeyValue, Keyspace, Memory, Revision, Storage,
};

/// The dumb keyspace: a full copy of everything for every revision.
#[derive(Debug, Clone)]
struct Model {
    /// `copies[r]` is the state at revision r.
    copies: Vec<BTreeMap<Bytes, KeyValue>>,
    /// `events[r]` is what revision r changed.
    events: Vec<Vec<Event>>,
    compacted: i64,
}

const KEYS: u32 = 12;

fn key(number: u32) -> Bytes {
    format!("key{number:02}").into()
}

impl Model {
    fn new() -> Self {
        Self { copies: vec![BTreeMap::new(); 2], events: vec![Vec::new(); 2], compacted: -1 }
    }

    fn revision(&self) -> i64 {
        i64::try_from(self.copies.len()).unwrap() - 1
    }

    fn at(&self, revision: i64) -> &BTreeMap<Bytes, KeyValue> {
        &self.copies[usize::try_from(revision).unwrap()]
    }

    /// One write of up to three changes, done to both.
    fn write<S: Storage>(&mut self, random: &mut StdRng, keys: &mut Keyspace<S>, deletions: f64) {
        let mut copy = self.at(self.revision()).clone();
        let main = self.revision() + 1;
        let mut expected = Vec::new();
        let mut write = keys.write();
        for _ in 0..random.random_range(1..=3) {
            let key = key(random.random_range(0..KEYS));
            if random.random_bool(deletions) {
                if copy.remove(&key).is_some() {
                    write.delete(key.clone());
                    let kv = KeyValue { key, mod_revision: main, ..KeyValue::default() };
                    expected.push(Event { kv, deleted: true });
                }
            } else {
                let value = Bytes::from(format!("{}", random.random_range(0..1000)));
                let (create_revision, version) =
                    copy.get(&key).map_or((main, 0), |kv| (kv.create_revision, kv.version));
                let lease = i64::from(random.random_range(0..2)) * 77;
                let kv = KeyValue {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision,
                    mod_revision: main,
                    version: version + 1,
                    lease,
                };
                write.put(key.clone(), value, lease);
                copy.insert(key, kv.clone());
                expected.push(Event { kv, deleted: false });
            }
        }
        assert_eq!(write.finish(), expected);
        if !expected.is_empty() {
            self.copies.push(copy);
            self.events.push(expected);
        }
    }

    fn compact<S: Storage>(&mut self, random: &mut StdRng, keys: &mut Keyspace<S>) {
        let revision = random.random_range(self.compacted - 1..=self.revision() + 1);
        let expected = if revision <= self.compacted {
            Err(Error::Compacted)
        } else if revision > self.revision() {
            Err(Error::Future)
        } else {
            self.compacted = revision;
            Ok(())
        };
        assert_eq!(keys.compact(revision), expected);
    }

    /// How many records compaction leaves.
    fn records(&self) -> usize {
        let (mut kept, mut last) = (0, BTreeMap::new());
        for event in self.events.iter().flatten() {
            if event.kv.mod_revision > self.compacted {
                kept += 1;
            } else {
                last.insert(&event.kv.key, event);
            }
        }
        let keeps = |event: &&&Event| !event.deleted || event.kv.mod_revision == self.compacted;
        kept + last.values().filter(keeps).count()
    }

    /// Ranges of all kinds are counted right, however often one stops on the way.
    fn check_counts<S: Storage>(&self, keys: &Keyspace<S>, revision: i64) {
        for first in 0..KEYS {
            for last in first..=KEYS {
                let range = KeyRange::new(key(first), key(last));
                let expected = self.at(revision).range(key(first)..key(last)).count();
                for limit in [1, usize::MAX] {
                    let (mut count, mut next) = keys.count(&range, revision, None, limit);
                    while let Some(resume) = next {
                        let more = keys.count(&range, revision, Some(resume), limit);
                        (count, next) = (count + more.0, more.1);
                    }
                    assert_eq!(count, expected, "{range:?} at {revision}, {limit} at a time");
                }
            }
        }
    }

    /// Everything that may be read is the same in both.
    fn check<S: Storage>(&self, keys: &Keyspace<S>) {
        assert_eq!(keys.revision(), self.revision());
        assert_eq!(keys.compact_revision(), self.compacted);
        let all = KeyRange::From(Bytes::from_static(b"\0"));
        for revision in self.compacted.max(1)..=self.revision() {
            let found = keys.range(&all, revision, None).filter_map(|(_, at)| at);
            let mut kvs = Vec::new();
            let mut keep = |record: EventRef<'_>| {
                kvs.push(record.to_event().kv);
                ControlFlow::Continue(())
            };
            keys.storage().visit(&found.collect::<Vec<_>>(), &mut keep).unwrap();
            let expected: Vec<KeyValue> = self.at(revision).values().cloned().collect();
            assert_eq!(kvs, expected, "revision {revision}");
            self.check_counts(keys, revision);
            for number in 0..KEYS {
                let expected = self.at(revision).get(&key(number)).cloned();
                assert_eq!(keys.get(&key(number), revision).unwrap(), expected);
            }
        }
        let from = self.compacted.max(1);
        let (events, next) = keys.events(&all, from, usize::MAX).unwrap();
        let expected: Vec<(i64, Vec<Event>)> = (from..)
            .zip(&self.events[usize::try_from(from).unwrap()..])
            .filter(|(_, events)| !events.is_empty())
            .map(|(revision, events)| (revision, events.clone()))
            .collect();
        assert_eq!(
            last_change_of_each_key(&events, from),
            last_change_of_each_key(&expected, from)
        );
        assert_eq!(next, self.revision() + 1);
    }
}

/// Compaction at a revision keeps of it only the last change of each key, which differs from all
/// changes when a key was changed twice in it.
fn last_change_of_each_key(events: &[(i64, Vec<Event>)], revision: i64) -> Vec<(i64, Vec<Event>)> {
    let mut events = events.to_vec();
    if let Some((first, changes)) = events.first_mut()
        && *first == revision
    {
        let all = changes.clone();
        let is_last = |place: usize| all[place + 1..].iter().all(|e| e.kv.key != all[place].kv.key);
        *changes = (0..all.len()).filter(|place| is_last(*place)).map(|p| all[p].clone()).collect();
    }
    events
}

#[test]
fn keyspace_is_a_vector_of_copies() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut model = Model::new();
        let mut keys = super::open(Memory::default()).unwrap();
        // Of half of the seeds few keys are left, so that chunks become small and are put together.
        let deletions = if seed % 2 == 0 { 0.3 } else { 0.7 };
        for _ in 0..150 {
            match random.random_range(0..20) {
                0 => model.compact(&mut random, &mut keys),
                1..=3 => {
                    let before = keys.hash(0).unwrap();
                    keys.sweep(random.random_range(1..4));
                    assert_eq!(keys.hash(0).unwrap(), before, "a sweep does not show");
                }
                4 => {
                    let before = keys.hash(0).unwrap();
                    keys = super::open(keys.into_storage()).unwrap();
                    assert_eq!(keys.hash(0).unwrap(), before, "a restart does not show");
                    model.check(&keys);
                }
                _ => model.write(&mut random, &mut keys, deletions),
            }
        }
        model.check(&keys);
        while keys.sweep(5) {}
        model.check(&keys);
        let mut records = 0;
        let counted = keys.storage().scan(Revision::default(), &mut |_, _| {
            records += 1;
            ControlFlow::Continue(())
        });
        counted.unwrap();
        assert_eq!(records, model.records(), "seed {seed}");
    }
}
