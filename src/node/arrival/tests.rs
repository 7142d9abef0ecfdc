use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use prost::Message as _;

use super::*;
use crate::mvcc::Storage as _;
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::{Request, request::Op};
use crate::store::Durability;

/// Far more than anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
const MARK: Mark = Mark { index: Index(1202), term: Term(3) };

/// A leader's state with leases, deletions and history, and a follower's directory of snapshots.
struct Setup {
    root: tempfile::TempDir,
    state: State,
    arrivals: Arrivals,
    stop: CancellationToken,
}

impl Setup {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("snap")).unwrap();
        let mut state =
            State::open(Store::open(&root.path().join("leader.redb")).unwrap()).unwrap();
        let mut index = 0;
        let mut apply = |op: Op| {
            index += 1;
            let request = Request { id: 0, op: Some(op), caller: None, term: 0 };
            state.apply(Index(index), MARK.term, &request.encode_to_vec().into()).unwrap();
        };
        for id in [7, 8] {
            apply(Op::LeaseGrant(pb::LeaseGrantRequest { id, ttl: 100 * id }));
        }
        for number in 0..1000 {
            apply(Op::Put(pb::PutRequest {
                key: format!("k{:03}", number % 700).into(),
                value: vec![1; 2000].into(),
                lease: [0, 7, 8][number % 3],
                ..pb::PutRequest::default()
            }));
        }
        for number in 0..200 {
            let key = format!("k{:03}", 3 * number).into();
            apply(Op::DeleteRange(pb::DeleteRangeRequest { key, ..Default::default() }));
        }
        let batch = state.storage_mut().begin_flush(Durability::Immediate).unwrap();
        batch.commit().unwrap();
        state.storage_mut().end_flush().unwrap();
        Self { root, state, arrivals: Arrivals::default(), stop: CancellationToken::new() }
    }

    fn dir(&self) -> std::path::PathBuf {
        self.root.path().join("snap")
    }

    fn chunks(&self) -> Vec<Bytes> {
        self.state.storage().snapshot_reader().unwrap().map(Result::unwrap).collect()
    }

    async fn begin(&self, mark: Mark, term: u64) -> Result<Arrival, Error> {
        let dir = self.dir();
        let begun = self.arrivals.begin(&dir, mark, Term(term), &self.stop);
        tokio::time::timeout(PATIENCE, begun).await.expect("the place becomes free")
    }

    async fn receive(&self, chunks: &[Bytes], crc: u32) -> Result<Arrived, Error> {
        self.receive_as(MARK, chunks, crc).await
    }

    async fn receive_as(&self, mark: Mark, chunks: &[Bytes], crc: u32) -> Result<Arrived, Error> {
        let mut arrival = self.begin(mark, 3).await?;
        for chunk in chunks {
            arrival = arrival.chunk(chunk.clone()).await?;
        }
        arrival.finish(crc).await
    }

    /// What is in the directory of snapshots once nobody receives.
    async fn left(&self) -> Vec<String> {
        let free = tokio::time::timeout(PATIENCE, self.arrivals.place.lock()).await.unwrap();
        let files = fs::read_dir(self.dir()).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        drop(free);
        names
    }
}

fn sum(chunks: &[Bytes]) -> u32 {
    crc32c::crc32c(&chunks.concat())
}

fn assert_same(one: &State, other: &State) {
    assert_eq!(one.applied(), other.applied());
    assert_eq!(one.revision(), other.revision());
    assert_eq!(one.hash_kv(0).unwrap(), other.hash_kv(0).unwrap());
    let all = pb::RangeRequest { key: "k".into(), range_end: "l".into(), ..Default::default() };
    assert_eq!(one.range(&all).unwrap(), other.range(&all).unwrap());
    assert_eq!(one.leases().iter().count(), 2);
    for (id, ttl, _) in one.leases().iter() {
        assert_eq!(other.leases().ttl(id), Some(ttl));
        let keys: Vec<_> = one.leases().keys(id).unwrap().collect();
        assert!(keys.len() > 50, "keys hang on it");
        assert_eq!(other.leases().keys(id).unwrap().collect::<Vec<_>>(), keys);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_is_the_state_that_was_sent() {
    let setup = Setup::new();
    let file = setup.root.path().join("store.redb");
    let old = Store::open(&file).unwrap();
    let chunks = setup.chunks();
    assert!(chunks.len() > 3, "it comes in chunks");
    // As it was sent, and cut elsewhere.
    let whole = Bytes::from(chunks.concat());
    let cut: Vec<Bytes> = whole.chunks(50_001).map(Bytes::copy_from_slice).collect();
    for chunks in [&chunks, &cut] {
        let arrived = setup.receive(chunks, sum(chunks)).await.unwrap();
        setup.arrivals.keep(arrived);
        assert_eq!(setup.left().await, ["0000000000000003-00000000000004b2.snap"]);
        let installed = setup.arrivals.install(&setup.dir(), MARK, &file).unwrap();
        assert_same(&installed, &setup.state);
        assert_eq!(installed.storage().durable(), setup.state.storage().durable());
        assert_eq!(installed.storage().size_in_use(), setup.state.storage().size_in_use());
        assert_eq!(setup.left().await, [] as [&str; 0], "it has the name of the store now");
        drop(installed);
        assert_same(&State::open(Store::open(&file).unwrap()).unwrap(), &setup.state);
    }
    assert_eq!(old.applied(), Applied::default(), "the old one reads its own file");
}

/// As after a crash between what the log says and what the store has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_installed_from_its_file_as_well() {
    let setup = Setup::new();
    let file = setup.root.path().join("store.redb");
    let chunks = setup.chunks();
    drop(setup.receive(&chunks, sum(&chunks)).await.unwrap());
    let installed = setup.arrivals.install(&setup.dir(), MARK, &file).unwrap();
    assert_same(&installed, &setup.state);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_breaks_leaves_nothing() {
    let setup = Setup::new();
    let chunks = setup.chunks();
    for sent in [0, 1, chunks.len() / 2, chunks.len()] {
        let mut arrival = setup.begin(MARK, 3).await.unwrap();
        for chunk in &chunks[..sent] {
            arrival = arrival.chunk(chunk.clone()).await.unwrap();
        }
        drop(arrival);
        assert_eq!(setup.left().await, [] as [&str; 0], "{sent} chunks were sent");
    }
    // Its file is whole, and then nobody is there to take it.
    let arrival = setup.begin(MARK, 3).await.unwrap();
    let Arrival { pieces, outcome, .. } = arrival;
    drop(outcome);
    for chunk in &chunks {
        pieces.send(Piece::Chunk(chunk.clone())).await.unwrap();
    }
    pieces.send(Piece::End(sum(&chunks))).await.unwrap();
    assert_eq!(setup.left().await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_found_and_leaves_nothing() {
    let setup = Setup::new();
    let chunks = setup.chunks();
    let refused = async |chunks: &[Bytes], crc: u32| {
        let refused = setup.receive(chunks, crc).await.unwrap_err();
        assert_eq!(setup.left().await, [] as [&str; 0]);
        crate::transport::chain(&refused)
    };
    // Found only at the end: every block is right.
    let reason = refused(&chunks, sum(&chunks) ^ 1).await;
    assert_eq!(reason, "the snapshot at entry 1202 arrived damaged: its checksum does not fit");
    let longer = [&chunks[..], &[Bytes::from_static(b"more")]].concat();
    let reason = refused(&longer, sum(&longer)).await;
    assert!(reason.contains("something follows its end"), "{reason}");
    let missing = [&chunks[..1], &chunks[2..]].concat();
    let reason = refused(&missing, sum(&missing)).await;
    assert!(reason.contains("records are missing"), "{reason}");
    let short = &chunks[..chunks.len() - 1];
    let reason = refused(short, sum(short)).await;
    assert!(reason.contains("damaged"), "{reason}");
    let swapped = [&chunks[..1], &chunks[2..3], &chunks[1..2], &chunks[3..]].concat();
    let reason = refused(&swapped, sum(&swapped)).await;
    assert!(reason.contains("records are out of order"), "{reason}");
    // Found on the way.
    let mut flipped = chunks.clone();
    let mut bytes = flipped[2].to_vec();
    bytes[1000] ^= 1;
    flipped[2] = bytes.into();
    let reason = refused(&flipped, sum(&flipped)).await;
    assert!(reason.contains("a block's checksum does not match"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_another_state_than_announced_is_refused() {
    let setup = Setup::new();
    let mark = Mark { index: Index(1203), ..MARK };
    let chunks = setup.chunks();
    let refused = setup.receive_as(mark, &chunks, sum(&chunks)).await.unwrap_err();
    assert!(
        matches!(refused, Error::OtherState { announced: Index(1203), contained: 1202 }),
        "{refused:?}"
    );
}

/// The place where it would be built is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_ends_the_transfer() {
    let setup = Setup::new();
    fs::remove_dir(setup.dir()).unwrap();
    let chunks = setup.chunks();
    let refused = setup.receive(&chunks, sum(&chunks)).await.unwrap_err();
    assert!(matches!(&refused, Error::Storage(_)), "{refused:?}");
    assert!(refused.to_string().contains("snap.new"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_transfer_takes_the_place_of_one_that_hangs() {
    let setup = Setup::new();
    let chunks = setup.chunks();
    let hanging = setup.begin(MARK, 3).await.unwrap().chunk(chunks[0].clone()).await.unwrap();
    let refused = setup.begin(MARK, 2).await.unwrap_err();
    assert!(matches!(refused, Error::Outdated), "{refused:?}");
    let serving = async {
        hanging.replaced().await;
        drop(hanging);
    };
    let (taken, ()) = tokio::join!(setup.receive(&chunks, sum(&chunks)), serving);
    taken.unwrap();
    assert_eq!(setup.left().await.len(), 1);
    // A node that stops waits for nobody either.
    let hanging = setup.begin(MARK, 3).await.unwrap();
    setup.stop.cancel();
    tokio::time::timeout(PATIENCE, hanging.replaced()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_nobody_wants_is_forgotten() {
    let setup = Setup::new();
    let chunks = setup.chunks();
    let arrived = setup.receive(&chunks, sum(&chunks)).await.unwrap();
    setup.arrivals.keep(arrived);
    setup.arrivals.forget_until(&setup.dir(), Index(MARK.index.0 - 1));
    assert_eq!(setup.left().await.len(), 1, "it may still be installed");
    setup.arrivals.forget_until(&setup.dir(), MARK.index);
    assert_eq!(setup.left().await, [] as [&str; 0]);
    assert!(setup.arrivals.kept.lock().is_none());
}

/// Its leader did not hear that it was taken, or another leads now that has the same to send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_comes_again_leaves_the_one_that_is_kept() {
    let setup = Setup::new();
    let file = setup.root.path().join("store.redb");
    let chunks = setup.chunks();
    let arrived = setup.receive(&chunks, sum(&chunks)).await.unwrap();
    setup.arrivals.keep(arrived);
    let path = snap::path(&setup.dir(), MARK);
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let first = inode(&path);
    let again = setup.receive(&chunks, sum(&chunks)).await.unwrap();
    assert_eq!(inode(&path), first, "between its end and when it is kept");
    setup.arrivals.keep(again);
    // And once more, for nobody.
    let Arrival { pieces, outcome, .. } = setup.begin(MARK, 4).await.unwrap();
    drop(outcome);
    pieces.send(Piece::End(0)).await.unwrap();
    drop(pieces);
    assert_eq!(setup.left().await.len(), 1);
    assert_eq!(inode(&path), first);
    let installed = setup.arrivals.install(&setup.dir(), MARK, &file).unwrap();
    assert_same(&installed, &setup.state);
    assert_eq!(inode(&file), first, "the store has the file that it was built in");
}
