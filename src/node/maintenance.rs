//! What an operator asks of one member, off the write path.

use std::time::Instant;

use super::{Error, Handle};
use crate::apply;
use crate::backup;
use crate::mvcc::StorageError;
use crate::store::Frozen;

/// Records hashed before the state is let go.
const HASH_SLICE: usize = 1000;

/// etcd's `HashKV` and what it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashKv {
    pub hash: u32,
    pub revision: i64,
    pub compact_revision: i64,
}

impl Handle {
    /// The hash over all records up to a revision, 0 for the newest. The state is let go between
    /// slices, so that nobody waits for it.
    pub async fn hash_kv(&self, revision: i64) -> Result<HashKv, Error> {
        let handle = self.clone();
        blocking(move || {
            let began = Instant::now();
            let mut scan = handle.check(handle.state().hash_scan(revision))?;
            loop {
                let done = handle.state().hash_step(&mut scan, HASH_SLICE);
                if handle.check(done)? {
                    break;
                }
                std::thread::yield_now();
            }
            let took = began.elapsed().as_secs_f64();
            handle.durations().hash_of_revision.observe(took);
            let (hash, revision) = (scan.finish(), scan.revision());
            Ok(HashKv { hash, revision, compact_revision: scan.compact_revision() })
        })
        .await
    }

    /// The state with everything that was applied before the call, to be looked at in peace.
    pub async fn freeze(&self) -> Result<Frozen, Error> {
        let handle = self.clone();
        blocking(move || {
            let frozen = handle.0.orders.get().and_then(super::flusher::Orders::freeze);
            handle.own(frozen.ok_or(Error::Stopped)?)
        })
        .await
    }

    /// The hash over everything that a snapshot would hold.
    pub async fn hash(&self) -> Result<u32, Error> {
        let frozen = self.freeze().await?;
        let handle = self.clone();
        blocking(move || {
            let began = Instant::now();
            let hash = handle.own(backup::hash(&frozen))?;
            handle.durations().hash.observe(began.elapsed().as_secs_f64());
            Ok(hash)
        })
        .await
    }

    /// Gives the room of what is no more back to the disk. A failure leaves the store as it was.
    pub async fn defragment(&self) -> Result<Result<(), StorageError>, Error> {
        let handle = self.clone();
        blocking(move || {
            let done = handle.0.orders.get().and_then(super::flusher::Orders::defragment);
            done.ok_or(Error::Stopped)
        })
        .await
    }

    /// A disk that cannot be read ends the node.
    pub fn own<T>(&self, read: Result<T, StorageError>) -> Result<T, Error> {
        self.check(read.map_err(apply::Error::Storage))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Stopped))
}
