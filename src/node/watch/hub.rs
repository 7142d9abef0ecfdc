use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use super::Interest;
use super::index::Index;
use super::queue::{Batch, Delivery, Queue};
use crate::mvcc::Event;

/// All watchers of this member.
#[derive(Debug, Default, Clone)]
pub struct Hub(Arc<Mutex<Registry>>);

/// The watchers of one client stream, and what waits for them.
///
/// Dropping it takes all its watchers out.
#[derive(Debug)]
pub struct Subscription {
    hub: Hub,
    number: u64,
    queue: Arc<Queue>,
    joined: BTreeSet<i64>,
}

/// One watcher among all: its subscription, and its id there.
type Slot = (u64, i64);

#[derive(Debug, Default)]
struct Registry {
    /// The last revision that was offered to the watchers; zero before the first.
    published: i64,
    subscriptions: u64,
    in_step: HashMap<Slot, Watcher>,
    index: Index<Slot>,
}

#[derive(Debug)]
struct Watcher {
    interest: Interest,
    /// Events of lower revisions are not for this watcher.
    from: i64,
    queue: Arc<Queue>,
}

impl Hub {
    /// Offers the events of one revision to everybody who is in step. Called by the apply thread, in order;
    /// never waits: a watcher whose queue is full falls behind and catches up from the store.
    pub fn publish(&self, revision: i64, events: &[Event]) {
        let mut registry = self.0.lock();
        let before = registry.published;
        if revision <= before {
            return; // the state was replaced by a later one meanwhile, and everybody reads that
        }
        registry.published = revision;
        // A revision that was never published must not be lost: let everybody read it from the store.
        if before != 0 && revision > before + 1 {
            registry.drop_all(before + 1);
        }
        if registry.in_step.is_empty() {
            return;
        }
        registry.offer(revision, events);
    }

    /// The whole state was replaced, as by a snapshot: everybody reads from the store what came in
    /// between. Also called once at start, with the revision that was recovered.
    pub fn restored(&self, revision: i64) {
        let mut registry = self.0.lock();
        let before = std::mem::replace(&mut registry.published, revision);
        registry.drop_all(before + 1);
    }

    /// A new stream, without watchers yet.
    pub fn subscribe(&self) -> Subscription {
        let mut registry = self.0.lock();
        registry.subscriptions += 1;
        Subscription {
            number: registry.subscriptions,
            hub: self.clone(),
            queue: Arc::default(),
            joined: BTreeSet::new(),
        }
    }

    /// How many watchers are in step.
    pub fn in_step(&self) -> usize {
        self.0.lock().in_step.len()
    }
}

impl Registry {
    fn offer(&mut self, revision: i64, events: &[Event]) {
        let mut shared: Option<Arc<Batch>> = None;
        // A watcher gets a batch once, however many of its events it wants.
        let mut served: BTreeSet<Slot> = BTreeSet::new();
        let mut full: Vec<Slot> = Vec::new();
        let single = events.len() == 1;
        for event in events {
            self.index.each(&event.kv.key, |slot| {
                let Some(watcher) = self.in_step.get(&slot) else { return };
                if watcher.from > revision || !watcher.interest.wants(event) {
                    return;
                }
                if !single && !served.insert(slot) {
                    return;
                }
                let batch = shared.get_or_insert_with(|| Arc::new(Batch::new(revision, events)));
                if !watcher.queue.offer(slot.1, batch) {
                    full.push(slot);
                }
            });
        }
        for slot in full {
            self.drop_one(slot, revision);
        }
    }

    /// Puts everybody behind; those who wait for a later revision than `next` keep waiting for it.
    fn drop_all(&mut self, next: i64) {
        self.index = Index::default();
        for (slot, watcher) in self.in_step.drain() {
            watcher.queue.behind(slot.1, next.max(watcher.from));
        }
    }

    fn drop_one(&mut self, slot: Slot, next: i64) {
        if let Some(watcher) = self.remove(slot) {
            watcher.queue.behind(slot.1, next);
        }
    }

    fn remove(&mut self, slot: Slot) -> Option<Watcher> {
        let watcher = self.in_step.remove(&slot)?;
        self.index.remove(&watcher.interest.span(), slot);
        Some(watcher)
    }
}

impl Subscription {
    /// Takes a watcher in step that wants everything from revision `from` on; false when something
    /// from there on was published already, which the caller must then read from the store first.
    pub fn join(&mut self, watch: i64, interest: &Interest, from: i64) -> bool {
        let mut registry = self.hub.0.lock();
        if registry.published >= from {
            return false;
        }
        let slot = (self.number, watch);
        registry.index.insert(interest.span(), slot);
        let watcher = Watcher { interest: interest.clone(), from, queue: Arc::clone(&self.queue) };
        registry.in_step.insert(slot, watcher);
        drop(registry);
        self.joined.insert(watch);
        true
    }

    /// Takes a watcher out and forgets what waits for it.
    pub fn leave(&mut self, watch: i64) {
        self.hub.0.lock().remove((self.number, watch));
        self.queue.forget(watch);
        self.joined.remove(&watch);
    }

    /// The next thing that happened to one of the watchers. Nothing is lost when the future is dropped.
    pub async fn next(&self) -> Delivery {
        self.queue.pop().await
    }

    /// The same, if something waits.
    pub fn try_next(&self) -> Option<Delivery> {
        self.queue.try_pop()
    }

    /// The revision up to which the watchers in step have been given everything; `None` while something
    /// still waits for them.
    pub fn position(&self) -> Option<i64> {
        let registry = self.hub.0.lock();
        self.queue.is_empty().then_some(registry.published)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut registry = self.hub.0.lock();
        for watch in &self.joined {
            registry.remove((self.number, *watch));
        }
    }
}
