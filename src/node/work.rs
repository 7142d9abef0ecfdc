//! What the replica asks of others, and the queues on which that waits.

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Permit, PermitIterator};

use super::turns::Stopped;
use crate::raft::Index;
use crate::replica::{Committed, Persist, ReadReady};

/// Batches that may wait for the disk. When it is full the replica waits too: a disk this far
/// behind must slow the proposers down.
pub(super) const LOG_QUEUE: usize = 256;
/// Batches that may wait to be applied. When it is full the replica waits too.
pub(super) const APPLY_QUEUE: usize = 256;
/// Pieces of work that one step may have for the state.
const APPLY_WORK: usize = 2;

/// What the log thread does.
#[derive(Debug)]
pub(super) enum LogWork {
    Persist(Persist),
    /// Entries up to here are in the durable store; whole segments before it may go.
    Compact(Index),
}

/// What the apply thread does.
#[derive(Debug)]
pub(super) enum ApplyWork {
    /// In this order, after everything before.
    Committed(Vec<Committed>),
    /// A peer needs the whole state.
    MakeSnapshot,
}

/// What the rounds hear from the replica.
#[derive(Debug)]
pub(super) enum ReadNews {
    Ready(ReadReady),
    Lost(u64),
}

/// To those who do what the replica asks for: the log, the state, and who waits to read.
#[derive(Debug, Clone)]
pub(super) struct Queues {
    pub(super) log: mpsc::Sender<LogWork>,
    pub(super) apply: mpsc::Sender<ApplyWork>,
    pub(super) reads: mpsc::UnboundedSender<ReadNews>,
}

/// Room for what one step asks of the log and of the state.
pub(super) struct Room<'a> {
    pub(super) log: Permit<'a, LogWork>,
    pub(super) apply: PermitIterator<'a, ApplyWork>,
}

impl Queues {
    /// Room for all that one step can ask for; `None` when the log or the state are too far behind.
    pub(super) fn room(&self) -> Result<Option<Room<'_>>, Stopped> {
        let (log, apply) = (self.log.try_reserve(), self.apply.try_reserve_many(APPLY_WORK));
        match (log, apply) {
            (Ok(log), Ok(apply)) => Ok(Some(Room { log, apply })),
            (Err(TrySendError::Closed(())), _) | (_, Err(TrySendError::Closed(()))) => Err(Stopped),
            _ => Ok(None),
        }
    }

    pub(super) async fn wait_for_room(&self) {
        drop(self.log.reserve().await);
        drop(self.apply.reserve_many(APPLY_WORK).await);
    }
}
