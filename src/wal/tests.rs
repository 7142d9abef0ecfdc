use bytes::Bytes;

use super::*;
use crate::membership::{ClusterId, InitialCluster, MemberId, Roster};
use crate::raft::{ConfState, Draw, Entry, HardState, Index, Mark, Payload, SnapshotMeta, Term};
use crate::replica::Persist;
use crate::sim::SimDisk;

pub(super) const SMALL: Options = Options { segment_bytes: 2048, unsafe_no_fsync: false };

pub(super) fn metadata() -> Metadata {
    let list: InitialCluster = "a=http://127.0.0.1:3001,b=http://127.0.0.1:3002".parse().unwrap();
    let roster = list.roster("wal-test");
    let member = *roster.members.keys().next().unwrap();
    Metadata { member, cluster: ClusterId(0xc), roster, joined: false }
}

pub(super) fn entry(index: u64, term: u64, data: impl Into<Bytes>) -> Entry {
    Entry { term: Term(term), index: Index(index), payload: Payload::Request(data.into()) }
}

pub(super) fn batch(entries: Vec<Entry>) -> Persist {
    Persist { entries, sync: true, ..Persist::default() }
}

#[test]
fn a_founded_log_begins_behind_its_founders() {
    let wal = Wal::create_on(SimDisk::default(), metadata(), SMALL).unwrap();
    let (_, recovered) = Wal::open_on(wal.into_disk(), SMALL).unwrap();
    let state = HardState { term: Term(1), vote: None, commit: Index(2) };
    assert_eq!(recovered.base, Mark { index: Index(2), term: Term(1) });
    assert_eq!(recovered.hard_state, state);
    assert_eq!(recovered.metadata, metadata());
    assert_eq!((recovered.entries, recovered.snapshot), (vec![], None));
}

#[test]
fn a_joined_log_begins_empty() {
    let joined = Metadata { joined: true, ..metadata() };
    let wal = Wal::create_on(SimDisk::default(), joined, SMALL).unwrap();
    let (_, recovered) = Wal::open_on(wal.into_disk(), SMALL).unwrap();
    assert_eq!((recovered.base, recovered.hard_state), Default::default());
}

#[test]
fn files_keep_what_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("member").join("wal");
    assert!(!Wal::exists(&path).unwrap());
    let mut wal = Wal::create(&path, metadata(), SMALL).unwrap();
    assert!(Wal::exists(&path).unwrap());
    let entries: Vec<Entry> = (3..100).map(|index| entry(index, 2, vec![7; 100])).collect();
    for one in &entries {
        wal.append(&batch(vec![one.clone()]));
        wal.sync().unwrap();
    }
    assert!(wal.segments() > 3);
    drop(wal);
    let (mut wal, recovered) = Wal::open(&path, SMALL).unwrap();
    assert_eq!(recovered.entries, entries);
    wal.compact(Index(60)).unwrap();
    drop(wal);
    let (_, recovered) = Wal::open(&path, SMALL).unwrap();
    let base = recovered.base.index.0;
    assert!((40..=60).contains(&base), "{base}");
    assert_eq!(recovered.entries, entries[usize::try_from(base - 2).unwrap()..]);
}

/// The zeros at the end of a segment are not read, but those of an entry are kept.
#[test]
fn an_entry_of_zeros_is_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wal");
    let options = Options { segment_bytes: 1 << 20, ..SMALL };
    let mut on_files = Wal::create(&path, metadata(), options).unwrap();
    let mut simulated = Wal::create_on(SimDisk::default(), metadata(), options).unwrap();
    let entries: Vec<Entry> = (3..9).map(|index| entry(index, 2, vec![0; 50_000])).collect();
    on_files.append(&batch(entries.clone()));
    simulated.append(&batch(entries.clone()));
    on_files.sync().unwrap();
    simulated.sync().unwrap();
    drop(on_files);
    assert_eq!(Wal::open(&path, options).unwrap().1.entries, entries);
    let disk = simulated.into_disk();
    assert_eq!(Wal::open_on(disk, options).unwrap().1.entries, entries);
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    let mut wal = Wal::create_on(SimDisk::default(), metadata(), SMALL).unwrap();
    wal.disk.fill_up_after(1000);
    let mut index = 2;
    let error = loop {
        index += 1;
        wal.append(&batch(vec![entry(index, 2, vec![1; 100])]));
        if let Err(error) = wal.sync() {
            break error;
        }
    };
    assert!(matches!(&error, Error::NoSpace { path, .. } if path.starts_with("sim")), "{error}");
    assert!(matches!(wal.sync(), Err(Error::Failed { .. })), "there is no second try");
    let (_, recovered) = Wal::open_on(wal.into_disk(), SMALL).unwrap();
    assert_eq!(recovered.entries.last().unwrap().index, Index(index));
}

/// What a log promises, kept in plain vectors.
#[derive(Debug, Clone, PartialEq)]
struct Model {
    hard_state: HardState,
    base: Mark,
    entries: Vec<Entry>,
    snapshot: Option<SnapshotMeta>,
}

impl Model {
    fn founded(roster: &Roster) -> Self {
        let base = SnapshotMeta::founding(roster).mark();
        let hard_state = HardState { term: base.term, vote: None, commit: base.index };
        Self { hard_state, base, entries: Vec::new(), snapshot: None }
    }

    fn brief(&self) -> String {
        let entry = |entry: &Entry| format!("{}@{}", entry.index.0, entry.term.0);
        let entries: Vec<String> = self.entries.iter().map(entry).collect();
        format!("{:?} {:?} {:?} {}", self.base, self.hard_state, self.snapshot, entries.join(" "))
    }

    fn last(&self) -> u64 {
        self.base.index.0 + self.entries.len() as u64
    }

    fn take(&mut self, batch: &Persist) {
        if let Some((meta, _)) = &batch.snapshot {
            self.base = meta.mark();
            self.entries.clear();
            self.snapshot = Some(meta.clone());
        }
        for entry in &batch.entries {
            let keep = usize::try_from(entry.index.0 - self.base.index.0 - 1).unwrap();
            self.entries.truncate(keep);
            self.entries.push(entry.clone());
        }
        self.hard_state = batch.hard_state.unwrap_or(self.hard_state);
    }

    /// The same promise without entries up to where the log was cut.
    fn cut_to(&self, base: Mark) -> Self {
        let keep = usize::try_from(base.index.0 - self.base.index.0).unwrap();
        Self { base, entries: self.entries[keep..].to_vec(), ..self.clone() }
    }

    fn random_batch(&self, term: u64, draw: &mut Draw) -> Persist {
        let mut batch = Persist { sync: true, ..Persist::default() };
        let mut next = self.last() + 1;
        if draw.chance(50) {
            let (index, term) = (Index(next + draw.below(5)), Term(term));
            let conf = ConfState { voters: vec![MemberId(1)], learners: vec![MemberId(2)] };
            batch.snapshot = Some((SnapshotMeta { index, term, conf }, Bytes::new()));
            next = index.0 + 1;
        } else if draw.chance(200) {
            // A new leader has other entries behind what is committed.
            let committed = self.hard_state.commit.0.max(self.base.index.0);
            next = committed + 1 + draw.below(next - committed);
        }
        for index in next..next + draw.below(4) {
            let size = usize::try_from(1 + draw.below(700)).unwrap();
            let byte = u8::try_from(1 + draw.below(255)).unwrap();
            batch.entries.push(entry(index, term, vec![byte; size]));
        }
        let last = batch.entries.last().map_or(next - 1, |entry| entry.index.0);
        if draw.chance(500) {
            let commit = Index(
                self.hard_state.commit.0
                    + draw.below(last + 1 - self.hard_state.commit.0.min(last)),
            );
            let commit = commit.min(Index(last));
            batch.hard_state =
                Some(HardState { term: Term(term), vote: Some(MemberId(3)), commit });
        }
        batch
    }
}

/// Whatever happens, a reopened log holds all that was synced, and of what was not at most the whole
/// frame that was being written.
#[test]
fn a_log_equals_a_vector_through_crashes() {
    for seed in 0..100 {
        let mut draw = Draw::new(seed);
        let metadata = metadata();
        let mut model = Model::founded(&metadata.roster);
        let mut wal = Wal::create_on(SimDisk::default(), metadata, SMALL).unwrap();
        for round in 0..30 {
            let mut tried = model.clone();
            let mut failed = false;
            for term in 2..2 + draw.below(8) {
                if draw.chance(30) {
                    wal.disk.fail_after(draw.below(6));
                }
                tried = model.clone();
                for _ in 0..=draw.below(3) {
                    let batch = tried.random_batch(10 * round + term, &mut draw);
                    tried.take(&batch);
                    wal.append(&batch);
                }
                failed = wal.sync().is_err();
                if failed {
                    break;
                }
                model = tried.clone();
                if draw.chance(100) {
                    let applied = Index(draw.below(model.hard_state.commit.0 + 1));
                    failed = wal.compact(applied).is_err();
                    if failed {
                        break;
                    }
                }
            }
            let disk = wal.into_disk();
            disk.crash(&mut draw);
            let (reopened, found) = Wal::open_on(disk, SMALL)
                .unwrap_or_else(|error| panic!("seed {seed}, round {round}: {error}"));
            wal = reopened;
            let found = Model {
                hard_state: found.hard_state,
                base: found.base,
                entries: found.entries,
                snapshot: found.snapshot,
            };
            let held = |promise: &Model| {
                found.base.index >= promise.base.index
                    && found.base.index.0 <= promise.last()
                    && promise.cut_to(found.base) == found
            };
            assert!(
                held(&model) || (failed && held(&tried)),
                "seed {seed}, round {round}: found {}\npromised {}\ntried {}",
                found.brief(),
                model.brief(),
                tried.brief()
            );
            model = found;
        }
    }
}
