use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::membership::MemberId;

/// Locks the waiters are spread over, so that clients and the apply thread rarely meet.
const SHARDS: usize = 16;

/// Who waits for which request to be applied here.
#[derive(Debug)]
pub(super) struct Waiters<T> {
    shards: [Mutex<Shard<T>>; SHARDS],
    next: AtomicU64,
}

#[derive(Debug)]
struct Shard<T> {
    waiting: HashMap<u64, Waiter<T>>,
    closed: bool,
}

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Waiter<T> {
    pub(super) since: Instant,
    /// Whether a leader was known then.
    pub(super) led: bool,
    pub(super) reply: oneshot::Sender<T>,
}

impl<T> Waiters<T> {
    /// Ids start at `member id (16 bits) | milliseconds (40 bits) | 0 (8 bits)`, so that a log replayed
    /// after a restart holds no id that is given out again.
    pub(super) fn new(member: MemberId) -> Self {
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis());
        let millis = u64::try_from(millis & 0xff_ffff_ffff).expect("masked to 40 bits");
        let first = member.0 << 48 | millis << 8;
        let shard = || Mutex::new(Shard { waiting: HashMap::new(), closed: false });
        Self { shards: std::array::from_fn(|_| shard()), next: AtomicU64::new(first | 1) }
    }

    /// A new id and the place where its answer will arrive; `None` once they are closed.
    pub(super) fn register(&self, led: bool) -> Option<(u64, oneshot::Receiver<T>)> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let mut shard = self.shard(id);
        if shard.closed {
            return None;
        }
        shard.waiting.insert(id, Waiter { since: Instant::now(), led, reply });
        Some((id, answer))
    }

    /// Takes the waiter of an id; `None` when nobody here waits for it.
    pub(super) fn take(&self, id: u64) -> Option<Waiter<T>> {
        self.shard(id).waiting.remove(&id)
    }

    /// Takes all who have waited since then or longer.
    pub(super) fn take_since(&self, then: Instant) -> Vec<Waiter<T>> {
        let late = |shard: &Mutex<Shard<T>>| {
            let mut shard = shard.lock();
            let late = shard.waiting.extract_if(|_, waiter| waiter.since <= then);
            late.map(|(_, waiter)| waiter).collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(late).collect()
    }

    /// Lets nobody wait any longer, now and from now on: all hear that nobody answers them.
    pub(super) fn close(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.closed = true;
            shard.waiting.clear();
        }
    }

    fn shard(&self, id: u64) -> MutexGuard<'_, Shard<T>> {
        let shard = usize::try_from(id % SHARDS as u64).expect("less than the number of shards");
        self.shards[shard].lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waited_too_long_is_taken_and_in_the_end_everybody() {
        let waiters = Waiters::new(MemberId(1));
        let early: Vec<_> = (0..40).map(|_| waiters.register(true).unwrap()).collect();
        let then = Instant::now();
        while Instant::now() == then {}
        let mut late: Vec<_> = (0..40).map(|_| waiters.register(false).unwrap()).collect();
        let taken = waiters.take_since(then);
        assert_eq!(taken.len(), early.len());
        for waiter in taken {
            assert!(waiter.led);
            waiter.reply.send(()).unwrap();
        }
        for (id, answer) in early {
            assert!(waiters.take(id).is_none());
            answer.blocking_recv().unwrap();
        }
        let (id, _) = late.pop().unwrap();
        assert!(waiters.take(id).is_some());
        waiters.close();
        for (id, answer) in late {
            assert!(waiters.take(id).is_none());
            assert!(answer.blocking_recv().is_err(), "nobody answers");
        }
        assert!(waiters.register(true).is_none());
    }
}
