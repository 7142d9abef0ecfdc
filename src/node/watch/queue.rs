use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::mvcc::Event;

/// Batches one subscription may have waiting; the watcher that finds no room falls behind.
const MAX_BATCHES: usize = 1024;
/// Bytes of keys and values one subscription may have waiting; one batch always fits.
const MAX_BYTES: usize = 4 << 20;

/// All events of one revision, shared by everybody who gets some of them.
#[derive(Debug)]
pub struct Batch {
    pub revision: i64,
    pub events: Vec<Event>,
    bytes: usize,
}

/// What happened to one watcher of a subscription.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// The batch has at least one event that the watcher wants, and perhaps others.
    Events { watch: i64, batch: Arc<Batch> },
    /// The watcher is out: it must read the store from revision `next` on and join again.
    Behind { watch: i64, next: i64 },
}

/// What waits for one subscription, first in, first out.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pending: Mutex<Pending>,
    /// Signalled when something is put into the empty queue.
    filled: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    deliveries: VecDeque<Delivery>,
    batches: usize,
    bytes: usize,
}

impl Batch {
    pub(super) fn new(revision: i64, events: &[Event]) -> Self {
        let bytes = events.iter().map(|event| event.kv.key.len() + event.kv.value.len()).sum();
        Self { revision, events: events.to_vec(), bytes }
    }
}

impl Delivery {
    fn watch(&self) -> i64 {
        match self {
            Self::Events { watch, .. } | Self::Behind { watch, .. } => *watch,
        }
    }

    fn size(&self) -> (usize, usize) {
        match self {
            Self::Events { batch, .. } => (1, batch.bytes),
            Self::Behind { .. } => (0, 0),
        }
    }
}

impl Queue {
    /// Queues a batch, unless there is no room.
    pub(super) fn offer(&self, watch: i64, batch: &Arc<Batch>) -> bool {
        let mut pending = self.pending.lock();
        let fits = pending.batches == 0
            || (pending.batches < MAX_BATCHES && pending.bytes + batch.bytes <= MAX_BYTES);
        if fits {
            self.push(&mut pending, Delivery::Events { watch, batch: Arc::clone(batch) });
        }
        fits
    }

    /// Tells a watcher that it is behind. There is always room: a watcher is told once until it joins again.
    pub(super) fn behind(&self, watch: i64, next: i64) {
        self.push(&mut self.pending.lock(), Delivery::Behind { watch, next });
    }

    /// Forgets what waits for a watcher that is gone.
    pub(super) fn forget(&self, watch: i64) {
        let mut pending = self.pending.lock();
        pending.deliveries.retain(|delivery| delivery.watch() != watch);
        let (batches, bytes) = pending
            .deliveries
            .iter()
            .map(Delivery::size)
            .fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
        pending.batches = batches;
        pending.bytes = bytes;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.lock().deliveries.is_empty()
    }

    pub(super) fn try_pop(&self) -> Option<Delivery> {
        let mut pending = self.pending.lock();
        let delivery = pending.deliveries.pop_front()?;
        let (batches, bytes) = delivery.size();
        pending.batches -= batches;
        pending.bytes -= bytes;
        Some(delivery)
    }

    /// The next delivery. Nothing is lost when the future is dropped.
    pub(super) async fn pop(&self) -> Delivery {
        loop {
            if let Some(delivery) = self.try_pop() {
                return delivery;
            }
            self.filled.notified().await;
        }
    }

    fn push(&self, pending: &mut Pending, delivery: Delivery) {
        let (batches, bytes) = delivery.size();
        pending.batches += batches;
        pending.bytes += bytes;
        pending.deliveries.push_back(delivery);
        if pending.deliveries.len() == 1 {
            self.filled.notify_one();
        }
    }
}
