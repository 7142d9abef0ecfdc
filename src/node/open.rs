use super::error::StartError;
use super::{Config, State, flusher, force};
use crate::raft::{Index, Mark};
use crate::snap;
use crate::store::Store;
use crate::wal::{self, Metadata, Recovered, Wal};

/// What a data directory holds.
pub(super) struct Opened {
    pub(super) wal: Wal,
    pub(super) recovered: Recovered,
    pub(super) state: State,
}

/// Opens the log and the store; founds them first when there is no log.
pub(super) fn open(config: &Config) -> Result<Opened, StartError> {
    let log_dir = config.log_dir();
    let options =
        wal::Options { unsafe_no_fsync: config.unsafe_no_fsync, ..wal::Options::default() };
    let founds = !Wal::exists(&log_dir)?;
    if founds {
        let founding = config.founding.as_ref().ok_or(StartError::NotFounded)?;
        let metadata = Metadata {
            member: founding.member,
            cluster: founding.cluster,
            roster: founding.roster.clone(),
            joined: founding.join,
        };
        drop(Wal::create(&log_dir, metadata, options)?);
    }
    snap::remove_unfinished(&config.snap_dir())?;
    let (mut wal, mut recovered) = Wal::open(&log_dir, options)?;
    let file = flusher::store_file(&config.member_dir());
    let mut store = Store::open(&file)?;
    // A received snapshot is on disk before the log says so, and the log says so before the store
    // takes it: after a crash in between the store is behind the log and takes it now.
    if let Some(mark) = &recovered.snapshot
        && store.durable().index < mark.index.0
    {
        drop(store);
        store = Store::install(&file, &snap::path(&config.snap_dir(), mark.mark()))?;
    }
    // The log speaks of no other.
    snap::remove_before(&config.snap_dir(), Index(u64::MAX))?;
    let mut state = State::open(store)?;
    if state.applied().0 == Index(0) && !recovered.metadata.joined {
        state.set_roster(&recovered.metadata.roster);
    }
    if config.force_new_cluster && !founds {
        let (index, term) = state.applied();
        force::stand_alone(&mut wal, &mut recovered, state.roster(), Mark { index, term })?;
    }
    Ok(Opened { wal, recovered, state })
}
