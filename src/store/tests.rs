mod fuzz;
mod model;

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::disk::Disk;
use super::pending::Pending;
use super::{Builder, Built, Durability, Store};
use crate::apply::State;
use crate::membership::{MemberId, PeerUrl, Roster, RosterEntry};
use crate::mvcc::{Applied, DumpReader, EventRef, Memory, Revision, Storage, StorageError};
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::{PublishAttributes, Request, request::Op};
use crate::raft::{Index, Term};

/// Readers on other threads hold the state, the flusher holds a batch.
#[test]
fn state_and_batch_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<State<Store>>();
    crosses::<super::FlushBatch>();
    crosses::<super::SnapshotReader>();
}

#[test]
fn the_file_is_nobody_elses_to_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    drop(Store::open(&path).unwrap());
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

fn roster() -> Roster {
    let url = PeerUrl::parse("http://127.0.0.1:2380").unwrap();
    let entry = RosterEntry { peer_urls: vec![url], learner: false };
    Roster { members: [(MemberId(5), entry)].into(), removed: [MemberId(9)].into() }
}

fn some_request(random: &mut StdRng, revision: i64) -> Op {
    let mut key = || Bytes::from(format!("k{}", random.random_range(0..40)));
    let (one, other) = (key(), key());
    let lease = i64::from(random.random_range(1..4));
    match random.random_range(0..20) {
        0 => Op::LeaseGrant(pb::LeaseGrantRequest { id: lease, ttl: 10 * lease }),
        1 => Op::LeaseRevoke(pb::LeaseRevokeRequest { id: lease }),
        2 => Op::Compaction(pb::CompactionRequest {
            revision: revision - random.random_range(0..20),
            physical: false,
        }),
        3 => Op::Publish(PublishAttributes {
            member_id: 5,
            name: format!("n{lease}"),
            client_urls: vec!["http://c".to_owned()],
        }),
        4..7 => Op::DeleteRange(pb::DeleteRangeRequest {
            key: one,
            range_end: other,
            ..Default::default()
        }),
        7..10 => Op::Put(pb::PutRequest { key: one, lease, ..Default::default() }),
        _ => {
            let value = Bytes::from(vec![1; random.random_range(0..2000)]);
            Op::Put(pb::PutRequest { key: one, value, ..Default::default() })
        }
    }
}

fn flush(state: &mut State<Store>, durability: Durability) {
    let Some(batch) = state.storage_mut().begin_flush(durability) else { return };
    batch.commit().unwrap();
    state.storage_mut().end_flush().unwrap();
}

fn assert_same<A: Storage, B: Storage>(one: &State<A>, other: &State<B>) {
    assert_eq!(one.applied(), other.applied());
    assert_eq!(one.revision(), other.revision());
    assert_eq!(one.compact_revision(), other.compact_revision());
    assert_eq!(one.hash_kv(0).unwrap(), other.hash_kv(0).unwrap());
    assert_eq!((one.roster(), one.members()), (other.roster(), other.members()));
    let leases = |id| (one.leases().ttl(id), other.leases().ttl(id));
    for (id, ttl, _) in one.leases().iter() {
        assert_eq!(leases(id), (Some(ttl), Some(ttl)));
        let keys: Vec<_> = one.leases().keys(id).unwrap().collect();
        assert_eq!(keys, other.leases().keys(id).unwrap().collect::<Vec<_>>());
    }
    assert_eq!(one.leases().iter().count(), other.leases().iter().count());
    let all = pb::RangeRequest { key: "k".into(), range_end: "l".into(), ..Default::default() };
    assert_eq!(one.range(&all).unwrap(), other.range(&all).unwrap());
}

/// What a killed process leaves: the bytes in the file, and nothing of what was in its memory.
fn crash(state: State<Store>, path: &Path) -> State<Store> {
    let left = path.with_extension("left");
    fs::copy(path, &left).unwrap();
    drop(state);
    fs::rename(&left, path).unwrap();
    State::open(Store::open(path).unwrap()).unwrap()
}

#[test]
fn a_crash_replays_from_the_applied_index() {
    for seed in 0..6 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.redb");
        let mut random = StdRng::seed_from_u64(seed);
        let mut memory = State::open(Memory::default()).unwrap();
        let mut state = State::open(Store::open(&path).unwrap()).unwrap();
        memory.set_roster(&roster());
        state.set_roster(&roster());
        flush(&mut state, Durability::Immediate);
        let mut log: Vec<Bytes> = Vec::new();
        for _ in 0..600 {
            let op = some_request(&mut random, memory.revision());
            let data: Bytes =
                Request { id: 1, op: Some(op), caller: None, term: 0 }.encode_to_vec().into();
            log.push(data.clone());
            let index = Index(log.len() as u64);
            let expected = memory.apply(index, Term(1), &data).unwrap().unwrap();
            let outcome = state.apply(index, Term(1), &data).unwrap().unwrap();
            assert_eq!(outcome.response, expected.response);
            assert_eq!(outcome.events, expected.events);
            match random.random_range(0..60) {
                0..6 => flush(&mut state, Durability::Deferred),
                6 => flush(&mut state, Durability::Immediate),
                7..20 => {
                    state.compaction_step(7);
                    memory.compaction_step(3);
                }
                20 => {
                    let durable = state.storage().durable().index;
                    state = crash(state, &path);
                    let (Index(applied), _) = state.applied();
                    assert!(durable <= applied, "{durable} was durable, {applied} is left");
                    for index in 1..=log.len() as u64 {
                        let data = &log[usize::try_from(index).unwrap() - 1];
                        state.apply(Index(index), Term(1), data).unwrap();
                    }
                    assert_same(&state, &memory);
                }
                _ => {}
            }
        }
        while state.compaction_step(100) {}
        assert_same(&state, &memory);
        state.storage_mut().flush().unwrap();
        assert_same(&state, &memory);
        drop(state);
        assert_same(&State::open(Store::open(&path).unwrap()).unwrap(), &memory);
    }
}

/// A store with some thousand records at applied index 42, half of them not flushed.
fn filled(path: &Path) -> State<Store> {
    let mut state = State::open(Store::open(path).unwrap()).unwrap();
    state.set_roster(&roster());
    for index in 1..=2000u64 {
        let (key, value) = (format!("k{index}").into(), Bytes::from(vec![3; 300]));
        let op = Op::Put(pb::PutRequest { key, value, ..Default::default() });
        let data: Bytes =
            Request { id: 1, op: Some(op), caller: None, term: 0 }.encode_to_vec().into();
        state.apply(Index(index), Term(4), &data).unwrap();
    }
    state
}

/// Builds in the file `to` what a snapshot of the state says.
fn send_snapshot(state: &State<Store>, to: &Path) -> Result<Built, StorageError> {
    let reader = state.storage().snapshot_reader().unwrap();
    let chunks: Vec<_> = reader.map(|chunk| Ok(chunk.unwrap())).collect();
    assert!(chunks.len() > 3, "it comes in chunks");
    let mut dump = DumpReader::new(chunks.into_iter()).unwrap();
    let mut builder = Builder::begin(to, dump.applied())?;
    while let Some(block) = dump.next_block().unwrap() {
        builder.block(block)?;
    }
    builder.finish()
}

struct Paths {
    _directory: tempfile::TempDir,
    one: PathBuf,
    other: PathBuf,
    dump: PathBuf,
}

fn paths() -> Paths {
    let directory = tempfile::tempdir().unwrap();
    let at = |name| directory.path().join(name);
    let (one, other, dump) = (at("one.redb"), at("other.redb"), at("received"));
    Paths { _directory: directory, one, other, dump }
}

#[test]
fn a_snapshot_makes_the_same_state_elsewhere() {
    let paths = paths();
    let mut state = filled(&paths.one);
    flush(&mut state, Durability::Deferred);
    let built = send_snapshot(&state, &paths.dump).unwrap();
    let old = Store::open(&paths.other).unwrap();
    let installed = Store::install_built(&paths.other, built).unwrap();
    assert_eq!(installed.name(), paths.other.display().to_string());
    let installed = State::open(installed).unwrap();
    assert_same(&installed, &state);
    assert_eq!(installed.storage().durable(), Applied { index: 2000, term: 4 });
    assert_eq!(installed.storage().size_in_use(), state.storage().size_in_use());
    assert_eq!(old.applied(), Applied::default(), "the old one reads its own file");
    drop(installed);
    assert_same(&State::open(Store::open(&paths.other).unwrap()).unwrap(), &state);
}

#[test]
fn what_is_no_store_leaves_the_old_one() {
    let paths = paths();
    let mut state = filled(&paths.one);
    flush(&mut state, Durability::Immediate);
    assert!(Store::install(&paths.one, &paths.dump).is_err(), "it is not there");
    fs::write(&paths.dump, b"a dump of an earlier version, say").unwrap();
    let refused = Store::install(&paths.one, &paths.dump).unwrap_err().to_string();
    assert!(refused.contains("received"), "{refused}");
    drop(state);
    assert_eq!(Store::open(&paths.one).unwrap().applied(), Applied { index: 2000, term: 4 });
    let left: Vec<_> = fs::read_dir(paths.one.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 2, "the store and the dump, nothing half built");
}

#[test]
fn a_store_that_is_not_finished_leaves_nothing() {
    let paths = paths();
    let record = |key| EventRef { key, value: &[1; 100], version: 1, ..EventRef::default() };
    let mut builder = Builder::begin(&paths.one, Applied { index: 9, term: 1 }).unwrap();
    builder.record(Revision { main: 2, sub: 0 }, record(b"a")).unwrap();
    let left = || fs::read_dir(paths.one.parent().unwrap()).unwrap().count();
    assert_eq!(left(), 1, "it is made aside");
    drop(builder);
    assert_eq!(left(), 0);
    let mut builder = Builder::begin(&paths.one, Applied { index: 9, term: 1 }).unwrap();
    builder.record(Revision { main: 3, sub: 0 }, record(b"a")).unwrap();
    builder.record(Revision { main: 2, sub: 0 }, record(b"b")).unwrap();
    let refused = builder.finish().unwrap_err().to_string();
    assert!(refused.contains("records are out of order"), "{refused}");
    assert_eq!(left(), 0);
}

#[test]
fn a_store_of_a_newer_version_is_refused() {
    let paths = paths();
    let disk = Disk::open(&paths.one).unwrap();
    let mut newer = Pending::new(Applied::default());
    newer.set_meta(b"format", Some(Bytes::from_static(&[0, 0, 0, 2])));
    disk.commit(&newer, Durability::Immediate).unwrap();
    drop(disk);
    let refused = Store::open(&paths.one).unwrap_err();
    assert!(matches!(refused, StorageError::Newer { found: 2, known: 1, .. }));
    assert!(refused.to_string().contains("written by a newer version"), "{refused}");
}

#[test]
fn a_store_in_use_or_damaged_is_refused_by_name() {
    let paths = paths();
    let store = Store::open(&paths.one).unwrap();
    assert!(matches!(Store::open(&paths.one), Err(StorageError::InUse { .. })));
    drop(store);
    for garbage in [&b"not a database, but long enough to be read as a header"[..], &[0; 9000]] {
        fs::write(&paths.other, garbage).unwrap();
        let refused = Store::open(&paths.other).unwrap_err().to_string();
        assert!(refused.contains("other.redb"), "{refused}");
    }
}

#[test]
fn a_flush_waits_for_the_one_before() {
    let paths = paths();
    let mut state = filled(&paths.one);
    let batch = state.storage_mut().begin_flush(Durability::Deferred).unwrap();
    assert!(state.storage_mut().begin_flush(Durability::Immediate).is_none());
    assert_eq!(batch.pending.applied(), Applied { index: 2000, term: 4 });
    // Records on their way are read from where they are.
    let all = pb::RangeRequest { key: "k".into(), range_end: "l".into(), ..Default::default() };
    let before = state.range(&all).unwrap();
    assert_eq!(before.count, 2000);
    batch.commit().unwrap();
    assert_eq!(state.range(&all).unwrap(), before);
    state.storage_mut().end_flush().unwrap();
    assert_eq!(state.range(&all).unwrap(), before);
    assert_eq!(state.storage().durable(), Applied::default());
    // Nothing is pending, yet what was committed may still be lost.
    flush(&mut state, Durability::Immediate);
    assert_eq!(state.storage().durable(), Applied { index: 2000, term: 4 });
    assert!(state.storage_mut().begin_flush(Durability::Immediate).is_none());
}

/// The log is cut up to there, so it must not be further than what is on disk.
#[test]
fn what_is_applied_during_a_flush_is_not_durable_by_it() {
    let paths = paths();
    let mut state = filled(&paths.one);
    let batch = state.storage_mut().begin_flush(Durability::Immediate).unwrap();
    state.apply_membership(Index(2001), Term(4), &roster());
    batch.commit().unwrap();
    state.storage_mut().end_flush().unwrap();
    assert_eq!(state.storage().durable(), Applied { index: 2000, term: 4 });
    assert_eq!(state.storage().applied(), Applied { index: 2001, term: 4 });
}

#[test]
fn a_stop_commits_what_a_flusher_has_begun() {
    let paths = paths();
    let mut state = filled(&paths.one);
    let begun = state.storage_mut().begin_flush(Durability::Deferred).unwrap();
    begun.commit().unwrap();
    let (once, hash) = (state.storage().disk.record_bytes(), state.hash_kv(0));
    state.storage_mut().flush().unwrap();
    assert_eq!(state.storage().size_in_use(), once, "records committed twice count once");
    assert_eq!(state.storage().durable(), Applied { index: 2000, term: 4 });
    assert_eq!(state.hash_kv(0), hash);
}

/// Writes go on before, between and after the steps of a rewrite, and nothing is lost or doubled.
#[test]
fn a_rewrite_keeps_what_is_written_meanwhile() {
    for seed in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let mut random = StdRng::seed_from_u64(seed);
        let mut state = State::open(Store::open(&path).unwrap()).unwrap();
        let mut model = State::open(Memory::default()).unwrap();
        state.set_roster(&roster());
        model.set_roster(&roster());
        let mut index = 0;
        let mut some = |state: &mut State<Store>, count: usize| {
            for _ in 0..count {
                index += 1;
                let op = some_request(&mut random, model.revision());
                let request = Bytes::from(
                    Request { id: 0, op: Some(op), caller: None, term: 0 }.encode_to_vec(),
                );
                state.apply(Index(index), Term(1), &request).unwrap();
                model.apply(Index(index), Term(1), &request).unwrap();
                if random.random_range(0..7) == 0 {
                    state.compaction_step(5);
                    flush(state, Durability::Deferred);
                }
            }
        };
        some(&mut state, 200);
        flush(&mut state, Durability::Deferred);
        let copy = state.storage_mut().begin_copy().unwrap();
        some(&mut state, 50);
        let copied = copy.run().unwrap();
        some(&mut state, 50);
        flush(&mut state, Durability::Immediate);
        let adopted = copied.finish().unwrap().settle().unwrap();
        drop(state.storage_mut().adopt(adopted).unwrap());
        let (in_use, bytes) = (state.storage().size_in_use(), state.storage().disk.record_bytes());
        assert!(in_use >= bytes);
        some(&mut state, 50);
        state.storage_mut().flush().unwrap();
        drop(state);
        let reopened = State::open(Store::open(&path).unwrap()).unwrap();
        assert_same(&reopened, &model);
        assert_eq!(dir.path().read_dir().unwrap().count(), 1, "nothing is left beside it");
    }
}

#[test]
fn a_rewrite_gives_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = State::open(Store::open(&dir.path().join("store")).unwrap()).unwrap();
    let mut index = 0;
    let mut apply = |state: &mut State<Store>, op: Op| {
        index += 1;
        let request =
            Bytes::from(Request { id: 0, op: Some(op), caller: None, term: 0 }.encode_to_vec());
        state.apply(Index(index), Term(1), &request).unwrap();
    };
    for n in 0..2000 {
        let (key, value) = (format!("k{n}").into(), Bytes::from(vec![1; 4000]));
        apply(&mut state, Op::Put(pb::PutRequest { key, value, ..Default::default() }));
        if n % 200 == 0 {
            flush(&mut state, Durability::Deferred);
        }
    }
    let everything = pb::DeleteRangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        ..Default::default()
    };
    apply(&mut state, Op::DeleteRange(everything));
    let revision = state.revision();
    apply(&mut state, Op::Compaction(pb::CompactionRequest { revision, physical: true }));
    while state.compaction_step(1000) {}
    flush(&mut state, Durability::Immediate);
    let before = state.db_size();
    let copied = state.storage_mut().begin_copy().unwrap().run().unwrap();
    let adopted = copied.finish().unwrap().settle().unwrap();
    drop(state.storage_mut().adopt(adopted).unwrap());
    assert!(state.db_size() * 4 < before, "{before} bytes became {}", state.db_size());
}

/// Records that are removed while they are copied are not in the copy.
#[test]
fn a_rewrite_follows_what_compaction_removes() {
    let paths = paths();
    let mut state = filled(&paths.one);
    let put = pb::PutRequest { key: "k7".into(), ..Default::default() };
    let compaction = pb::CompactionRequest { revision: 2002, physical: false };
    for (op, index) in [Op::Put(put), Op::Compaction(compaction)].into_iter().zip(2001..) {
        let request = Request { id: 1, op: Some(op), caller: None, term: 0 }.encode_to_vec();
        state.apply(Index(index), Term(4), &request.into()).unwrap();
    }
    flush(&mut state, Durability::Immediate);
    let copied = state.storage_mut().begin_copy().unwrap().run().unwrap();
    while state.compaction_step(100) {}
    flush(&mut state, Durability::Deferred);
    let left = state.storage().size_in_use();
    let adopted = copied.finish().unwrap().settle().unwrap();
    drop(state.storage_mut().adopt(adopted).unwrap());
    assert_eq!(state.storage().size_in_use(), left);
}

#[test]
fn a_rewrite_is_on_disk_when_it_is_adopted() {
    let paths = paths();
    let mut state = filled(&paths.one);
    flush(&mut state, Durability::Deferred);
    let copied = state.storage_mut().begin_copy().unwrap().run().unwrap();
    let adopted = copied.finish().unwrap().settle().unwrap();
    drop(state.storage_mut().adopt(adopted).unwrap());
    assert_eq!(state.storage().durable(), Applied { index: 2000, term: 4 });
    let left = crash(state, &paths.one);
    assert_eq!(left.storage().applied(), Applied { index: 2000, term: 4 });
}

/// What is set and removed shows at once, whether it is on disk, on its way or only applied.
#[test]
fn small_values_are_found_where_they_are() {
    let paths = paths();
    let mut store = Store::open(&paths.one).unwrap();
    let set = |store: &mut Store, names: &[&'static str]| {
        for name in names {
            store.set_meta(name.as_bytes(), Some(Bytes::from_static(name.as_bytes())));
        }
    };
    set(&mut store, &["v/1", "v/2"]);
    store.flush().unwrap();
    set(&mut store, &["v/3", "v/5", "w"]);
    store.set_meta(b"v/1", None);
    let batch = store.begin_flush(Durability::Deferred).unwrap();
    set(&mut store, &["v/1", "v/4"]);
    store.set_meta(b"v/2", None);
    store.set_meta(b"v/3", None);
    for committed in [false, true] {
        let found = store.scan_meta(b"v/").unwrap();
        let found: Vec<_> = found.iter().map(|(_, value)| &value[..]).collect();
        assert_eq!(found, [b"v/1", b"v/4", b"v/5"], "{committed}");
        batch.commit().unwrap();
    }
}

/// A copy that fails is not left on a disk that may be full of it.
#[test]
fn a_rewrite_that_fails_leaves_nothing() {
    let paths = paths();
    let mut state = filled(&paths.one);
    flush(&mut state, Durability::Immediate);
    let copied = state.storage_mut().begin_copy().unwrap().run().unwrap();
    let left = || fs::read_dir(paths.one.parent().unwrap()).unwrap().count();
    assert_eq!(left(), 2);
    drop(copied);
    assert_eq!(left(), 1);
    // A directory in the place of the store cannot be replaced by a file.
    let copied = state.storage_mut().begin_copy().unwrap().run().unwrap();
    fs::rename(&paths.one, &paths.other).unwrap();
    fs::create_dir(&paths.one).unwrap();
    assert!(copied.finish().unwrap_err().to_string().contains("rename"));
    assert_eq!(left(), 2, "the directory and the store");
    let all = pb::RangeRequest { key: "k".into(), range_end: "l".into(), ..Default::default() };
    assert_eq!(state.range(&all).unwrap().count, 2000);
}

/// A revision may have any number of records, and what is written together is read one after the other.
#[test]
fn a_read_goes_past_a_revision_of_many_records() {
    let paths = paths();
    let mut state = State::open(Store::open(&paths.one).unwrap()).unwrap();
    let mut index = 0;
    let mut apply = |state: &mut State<Store>, op: Op| {
        index += 1;
        let request = Request { id: 0, op: Some(op), caller: None, term: 0 }.encode_to_vec();
        state.apply(Index(index), Term(1), &request.into()).unwrap();
    };
    let put = |key: String| Op::Put(pb::PutRequest { key: key.into(), ..Default::default() });
    for n in 0..9000 {
        apply(&mut state, put(format!("x{n}")));
    }
    // The second read begins to walk along the records, the third has to go past the many.
    apply(&mut state, put("a".to_owned()));
    apply(&mut state, put("b".to_owned()));
    let (key, range_end) = ("x".into(), "y".into());
    apply(
        &mut state,
        Op::DeleteRange(pb::DeleteRangeRequest { key, range_end, ..Default::default() }),
    );
    apply(&mut state, put("c".to_owned()));
    flush(&mut state, Durability::Immediate);
    drop(state);
    let state = State::open(Store::open(&paths.one).unwrap()).unwrap();
    let all = pb::RangeRequest { key: "a".into(), range_end: "d".into(), ..Default::default() };
    assert_eq!(state.range(&all).unwrap().kvs.len(), 3);
}
