mod fuzz;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::{Export, Target, hash, restore, status};
use crate::apply::State;
use crate::lease::LeaseId;
use crate::membership::{InitialCluster, Roster};
use crate::mvcc::StorageError;
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::{Request, request::Op};
use crate::raft::{Draw, Index, Term};
use crate::store::Store;

const TOKEN: &str = "etcd-cluster";

fn list() -> InitialCluster {
    "n1=http://127.0.0.1:1,n2=http://127.0.0.1:2".parse().unwrap()
}

fn roster() -> Roster {
    list().roster(TOKEN)
}

/// A state with some of everything.
fn state(dir: &Path, puts: u64) -> State<Store> {
    let mut state = State::open(Store::open(&dir.join("store")).unwrap()).unwrap();
    state.set_roster(&roster());
    let mut index = 10;
    let mut apply = |op: Op| {
        index += 1;
        let request = Request { id: 0, op: Some(op), caller: None, term: 0 }.encode_to_vec();
        state.apply(Index(index), Term(3), &request.into()).unwrap().unwrap().response.unwrap();
    };
    let put = |key: String, lease: i64| {
        let (key, value) = (key.into(), Bytes::from_static(b"a value"));
        Op::Put(pb::PutRequest { key, value, lease, ..Default::default() })
    };
    let grant = |id, ttl| Op::LeaseGrant(pb::LeaseGrantRequest { id, ttl });
    apply(grant(7, 100));
    apply(grant(-9, 200));
    let checkpoint = pb::LeaseCheckpoint { id: 7, remaining_ttl: 40 };
    apply(Op::LeaseCheckpoint(pb::LeaseCheckpointRequest { checkpoints: vec![checkpoint] }));
    let mut draw = Draw::new(3);
    for n in 0..puts {
        let lease = if draw.chance(100) { 7 } else { 0 };
        apply(put(format!("key {}", draw.below(puts)), lease));
        if n % 10 == 9 {
            let key = format!("key {}", draw.below(puts)).into();
            apply(Op::DeleteRange(pb::DeleteRangeRequest { key, ..Default::default() }));
        }
    }
    apply(Op::Alarm(pb::AlarmRequest {
        action: pb::alarm_request::AlarmAction::Activate.into(),
        member_id: 77,
        alarm: pb::AlarmType::Nospace.into(),
    }));
    let revision = state.revision() / 2;
    let compact = Op::Compaction(pb::CompactionRequest { revision, physical: false });
    let request = Request { id: 0, op: Some(compact), caller: None, term: 0 }.encode_to_vec();
    state.apply(Index(index + 1), Term(3), &request.into()).unwrap();
    while state.compaction_step(100) {}
    state.storage_mut().flush().unwrap();
    state
}

/// What a client saves: the pages and their checksum.
fn save(state: &State<Store>, to: &Path) -> u64 {
    let export = Export::prepare(state.storage().frozen().unwrap()).unwrap();
    let mut file = Vec::new();
    export
        .write(&mut |pages| {
            file.extend_from_slice(pages);
            Ok::<(), StorageError>(())
        })
        .unwrap();
    assert_eq!(file.len() as u64, export.file_bytes());
    let sum = Sha256::digest(&file);
    file.extend_from_slice(&sum);
    fs::write(to, file).unwrap();
    export.file_bytes()
}

fn target(dir: &Path) -> Target {
    Target {
        store: dir.join("restored"),
        log: dir.join("wal"),
        member: list().member_id("n1", TOKEN).unwrap(),
        cluster: list().cluster_id(TOKEN),
        roster: roster(),
        bump_revision: 0,
        mark_compacted: false,
    }
}

#[test]
fn what_was_saved_is_restored() {
    for puts in [0, 1, 40, 3000] {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path(), puts);
        let file = dir.path().join("snapshot");
        let bytes = save(&state, &file);
        let told = status(&file).unwrap();
        assert_eq!((told.total_size, told.version.as_str()), (bytes, "3.6.0"));
        assert_eq!(told.total_key, state.key_count() as u64, "of {puts} puts");
        assert_eq!(told.hash, hash(&state.storage().frozen().unwrap()).unwrap());
        restore(&file, false, &target(dir.path())).unwrap();
        let copy = State::open(Store::open(&dir.path().join("restored")).unwrap()).unwrap();
        assert_eq!(copy.revision(), state.revision());
        assert_eq!(copy.compact_revision(), state.compact_revision());
        assert_eq!(copy.hash_kv(0), state.hash_kv(0));
        assert_eq!(copy.roster(), &roster());
        let leases = |state: &State<Store>| state.leases().iter().collect::<Vec<_>>();
        assert_eq!(leases(&copy), leases(&state));
        assert_eq!(copy.leases().remaining(LeaseId(7)), 40);
        let keys = |state: &State<Store>| {
            let keys = state.leases().keys(LeaseId(7)).unwrap();
            keys.map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        assert_eq!(keys(&copy), keys(&state));
        assert_eq!(
            copy.alarms().list(pb::AlarmType::None),
            state.alarms().list(pb::AlarmType::None)
        );
    }
}

#[test]
fn revisions_can_begin_higher_and_history_end_there() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(dir.path(), 20);
    let file = dir.path().join("snapshot");
    save(&state, &file);
    let bumped = Target { bump_revision: 1000, mark_compacted: true, ..target(dir.path()) };
    restore(&file, false, &bumped).unwrap();
    let mut copy = State::open(Store::open(&dir.path().join("restored")).unwrap()).unwrap();
    assert_eq!(copy.revision(), state.revision() + 1000);
    assert_eq!(copy.compact_revision(), copy.revision());
    while copy.compaction_step(100) {}
    copy.storage_mut().flush().unwrap();
    // The mark survives another round, since no record has that revision.
    save(&copy, &file);
    assert_eq!(status(&file).unwrap().revision, copy.revision());
    let other = tempfile::tempdir().unwrap();
    restore(&file, false, &target(other.path())).unwrap();
    let again = State::open(Store::open(&other.path().join("restored")).unwrap()).unwrap();
    assert_eq!(again.revision(), copy.revision());
}

#[test]
fn a_file_that_is_not_whole_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot");
    save(&state(dir.path(), 20), &file);
    let sound = fs::read(&file).unwrap();
    let refused = |bytes: &[u8], skip: bool| {
        fs::write(&file, bytes).unwrap();
        let text = restore(&file, skip, &target(dir.path())).unwrap_err().to_string();
        assert!(!dir.path().join("restored").exists() && !dir.path().join("wal").exists());
        text.replace(&file.display().to_string(), "FILE")
    };
    let pages = sound.len() - 32;
    assert_eq!(
        refused(&sound[..pages], false),
        "snapshot missing hash but --skip-hash-check=false"
    );
    let mut flipped = sound.clone();
    flipped[5000] ^= 1;
    assert!(refused(&flipped, false).starts_with("expected sha256 ["));
    assert!(refused(&sound[..8192], true).starts_with("`FILE` is damaged: its meta page tells of"));
    assert_eq!(
        refused(b"something else", true),
        "`FILE` is no snapshot of etcd: it does not begin like a bbolt file"
    );
    fs::write(&file, &sound[..pages]).unwrap();
    restore(&file, true, &target(dir.path())).unwrap();
}
