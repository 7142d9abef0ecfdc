use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use crate::membership::MemberId;

/// Locks the waiters are spread over, so that clients and the apply thread rarely meet.
const SHARDS: usize = 16;

/// Who waits for which request to be applied here.
#[derive(Debug)]
pub(super) struct Waiters<T> {
    shards: [Mutex<HashMap<u64, oneshot::Sender<T>>>; SHARDS],
    next: AtomicU64,
}

impl<T> Waiters<T> {
    /// Ids start at `member id (16 bits) | milliseconds (40 bits) | 0 (8 bits)`, so that a log replayed
    /// after a restart holds no id that is given out again.
    pub(super) fn new(member: MemberId) -> Self {
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis());
        let millis = u64::try_from(millis & 0xff_ffff_ffff).expect("masked to 40 bits");
        let first = member.0 << 48 | millis << 8;
        Self { shards: Default::default(), next: AtomicU64::new(first | 1) }
    }

    /// A new id and the place where its answer will arrive.
    pub(super) fn register(&self) -> (u64, oneshot::Receiver<T>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.shard(id).lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
        (id, receiver)
    }

    /// Takes the waiter of an id; `None` when nobody here waits for it.
    pub(super) fn take(&self, id: u64) -> Option<oneshot::Sender<T>> {
        self.shard(id).lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }

    fn shard(&self, id: u64) -> &Mutex<HashMap<u64, oneshot::Sender<T>>> {
        let shard = usize::try_from(id % SHARDS as u64).expect("less than the number of shards");
        &self.shards[shard]
    }
}
