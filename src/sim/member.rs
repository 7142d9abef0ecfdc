use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::SimDisk;
use super::lease_holders::LeaseClock;
use crate::apply::State;
use crate::membership::{ClusterId, MemberId, Roster};
use crate::mvcc::Memory;
use crate::raft::{Draw, Index, Mark, SnapshotMeta};
use crate::replica::{Committed, Config, Event, Persist, Replica};
use crate::wal::{Metadata, Options, Wal};

/// Small, so that logs have several segments.
const WAL: Options = Options { segment_bytes: 4096, unsafe_no_fsync: false };
pub(super) const ELECTION_TICKS: usize = 10;
pub(super) const HEARTBEAT_TICKS: usize = 2;

/// One member: what survives a crash, and what runs while it is up.
pub(super) struct Member {
    pub(super) id: MemberId,
    /// The disk while the member is down.
    disk: Option<SimDisk>,
    /// The store as its last durable commit left it.
    stored: Bytes,
    /// Received snapshots, by index, durable before the log speaks of them.
    snapshots: BTreeMap<Index, Bytes>,
    /// Counts starts: what was begun before a crash does not end after it.
    pub(super) starts: u64,
    pub(super) up: Option<Running>,
}

/// A member's threads, as far as they have state.
pub(super) struct Running {
    pub(super) replica: Replica,
    wal: Wal<SimDisk>,
    pub(super) state: State<Memory>,
    pub(super) to_persist: VecDeque<Persist>,
    pub(super) disk_busy: bool,
    pub(super) to_apply: VecDeque<Committed>,
    pub(super) apply_busy: bool,
    /// Gets that wait for an index to be applied.
    pub(super) reads: Vec<(Index, u64)>,
    /// Writes that were proposed here and are answered when applied here.
    pub(super) writes: Vec<u64>,
    pub(super) clock: LeaseClock,
}

impl Member {
    /// A member with a new log. `joins` says that it waits to be sent the state.
    pub(super) fn create(id: MemberId, roster: &Roster, joins: bool) -> Self {
        let cluster = ClusterId(1);
        let metadata = Metadata { member: id, cluster, roster: roster.clone(), joined: joins };
        let wal = Wal::create_on(SimDisk::default(), metadata, WAL).expect("the disk is new");
        let mut state = State::open(Memory::default()).expect("memory is empty");
        if !joins {
            state.set_roster(roster);
        }
        Self {
            id,
            disk: Some(wal.into_disk()),
            stored: state.to_bytes(),
            snapshots: BTreeMap::new(),
            starts: 0,
            up: None,
        }
    }

    /// What a process does that finds a log.
    pub(super) fn start(&mut self, draw: &mut Draw, request_ticks: u32) -> Result<(), String> {
        let disk = self.disk.take().expect("only a member that is down starts");
        let (wal, recovered) = Wal::open_on(disk, WAL).map_err(|error| error.to_string())?;
        let mut state = load(&self.stored);
        if let Some(meta) = &recovered.snapshot
            && meta.index > state.applied().0
        {
            // The crash came between the log's word and the installation.
            self.stored = self.snapshots[&meta.index].clone();
            state = load(&self.stored);
        }
        let applied = state.applied().0;
        let roster =
            if applied == Index(0) { recovered.metadata.roster } else { state.roster().clone() };
        let replica = Replica::new(Config {
            id: self.id,
            roster,
            applied,
            base: recovered.base,
            hard_state: recovered.hard_state,
            entries: recovered.entries,
            election_ticks: ELECTION_TICKS,
            heartbeat_ticks: HEARTBEAT_TICKS,
            pre_vote: true,
            seed: draw.number(),
            max_learners: 1,
            max_queued: 8,
            request_ticks,
            catchup_entries: draw.below(20),
            catchup_bytes: 64 << 20,
        })
        .map_err(|error| format!("durability: {} cannot restart: {error}", self.id))?;
        self.starts += 1;
        self.up = Some(Running {
            replica,
            wal,
            state,
            to_persist: VecDeque::new(),
            disk_busy: false,
            to_apply: VecDeque::new(),
            apply_busy: false,
            reads: Vec::new(),
            writes: Vec::new(),
            clock: LeaseClock::default(),
        });
        Ok(())
    }

    /// Power fails, sometimes while a batch is being written.
    pub(super) fn crash(&mut self, draw: &mut Draw) {
        let Some(mut running) = self.up.take() else { return };
        let mut disk = if running.to_persist.is_empty() || draw.chance(300) {
            running.wal.into_disk()
        } else {
            for batch in &running.to_persist {
                running.wal.append(batch);
            }
            let wal = running.wal;
            cut_short(wal, draw)
        };
        disk.crash(draw);
        self.disk = Some(std::mem::take(&mut disk));
    }

    /// Takes over a received snapshot before the log speaks of it.
    pub(super) fn keep_snapshot(&mut self, meta: &SnapshotMeta, data: &Bytes) {
        self.snapshots.insert(meta.index, data.clone());
    }

    /// Writes and syncs all that waits; what may be sent after it.
    pub(super) fn persist(&mut self) -> Result<Vec<Persist>, String> {
        let Some(running) = &mut self.up else { return Ok(Vec::new()) };
        running.disk_busy = false;
        let batches: Vec<Persist> = running.to_persist.drain(..).collect();
        for batch in &batches {
            running.wal.append(batch);
        }
        running.wal.sync().map_err(|error| error.to_string())?;
        Ok(batches)
    }

    /// Commits the store durably, after which log and snapshots before it may go.
    pub(super) fn commit_store(&mut self) -> Result<(), String> {
        let Some(running) = &mut self.up else { return Ok(()) };
        self.stored = running.state.to_bytes();
        let index = running.state.applied().0;
        self.snapshots.retain(|at, _| *at > index);
        running.replica.step(Event::Compact { index });
        running.wal.compact(index).map_err(|error| error.to_string())
    }

    /// Replaces the state by a snapshot, durably.
    pub(super) fn install(&mut self, meta: &SnapshotMeta, data: &Bytes) {
        let Some(running) = &mut self.up else { return };
        self.stored = data.clone();
        running.state = load(data);
        let roster = running.state.roster().clone();
        running.replica.step(Event::Installed { index: meta.index, roster });
    }
}

impl Running {
    /// Sweeps a little, and sometimes hashes everything: revision, compacted revision and hash.
    pub(super) fn hash_now(&mut self, draw: &mut Draw) -> Option<(i64, i64, u32)> {
        if draw.chance(300) {
            self.state.compaction_step(1);
        }
        let hash = draw.chance(100).then(|| self.state.hash_kv(0).ok()).flatten()?;
        Some((self.state.revision(), self.state.compact_revision(), hash))
    }

    /// A snapshot of what is applied.
    pub(super) fn snapshot(&self) -> (SnapshotMeta, Bytes) {
        let (index, term) = self.state.applied();
        let meta = SnapshotMeta::at(Mark { index, term }, self.state.roster());
        (meta, self.state.to_bytes())
    }
}

fn load(bytes: &Bytes) -> State<Memory> {
    State::from_bytes(bytes).expect("a state can read what it wrote")
}

/// Lets a sync fail somewhere in the middle.
fn cut_short(mut wal: Wal<SimDisk>, draw: &mut Draw) -> SimDisk {
    wal.disk().fail_after(draw.below(3));
    // Whether it failed does not matter: nobody is told either way.
    let _ = wal.sync();
    wal.into_disk()
}
