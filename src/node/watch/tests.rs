use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::interest::Span;
use super::{Batch, Delivery, Hub, Interest, Subscription};
use crate::mvcc::{Event, KeyRange, KeyValue};

fn range(key: &'static [u8], end: &'static [u8]) -> KeyRange {
    KeyRange::new(Bytes::from_static(key), Bytes::from_static(end))
}

fn interest(key: &'static str, end: &'static str) -> Interest {
    Interest { range: range(key.as_bytes(), end.as_bytes()), puts: true, deletes: true }
}

fn put(key: &'static str, revision: i64, value: Bytes) -> Event {
    let key = Bytes::from_static(key.as_bytes());
    let kv = KeyValue { key, value, mod_revision: revision, ..KeyValue::default() };
    Event { kv, deleted: false }
}

fn events_of(delivery: &Delivery) -> Option<(i64, &Batch)> {
    match delivery {
        Delivery::Events { watch, batch } => Some((*watch, batch)),
        Delivery::Behind { .. } => None,
    }
}

#[test]
fn ranges_are_told_apart() {
    let span = |key, end| Interest { range: range(key, end), puts: true, deletes: true }.span();
    let prefix = |text: &'static [u8]| Span::Prefix(Bytes::from_static(text));
    assert_eq!(span(b"a", b""), Span::Key(Bytes::from_static(b"a")));
    assert_eq!(span(b"a", b"b"), prefix(b"a"));
    assert_eq!(span(b"ab\xff\xff", b"ac"), prefix(b"ab\xff\xff"));
    assert_eq!(span(b"\0", b"\0"), prefix(b""));
    for (key, end) in
        [(&b"a"[..], &b"c"[..]), (b"a", b"\0"), (b"ab", b"b"), (b"a\xffb", b"b"), (b"a", b"b\0")]
    {
        assert_eq!(span(key, end), Span::Range(range(key, end)), "{key:?}..{end:?}");
    }
}

#[test]
fn a_watcher_sees_a_revision_once_and_others_nothing() {
    let hub = Hub::default();
    let mut subscription = hub.subscribe();
    assert!(subscription.join(1, &interest("a", "c"), 2));
    assert!(subscription.join(2, &interest("x", ""), 2));
    hub.publish(2, &[put("a", 2, Bytes::new()), put("b", 2, Bytes::new())]);
    let delivery = subscription.try_next().unwrap();
    let (watch, batch) = events_of(&delivery).unwrap();
    assert_eq!((watch, batch.revision, batch.events.len()), (1, 2, 2));
    assert!(subscription.try_next().is_none());
    assert_eq!(subscription.position(), Some(2));
    drop(subscription);
    assert_eq!(hub.in_step(), 0);
}

#[test]
fn joining_late_is_refused_and_joining_early_waits() {
    let hub = Hub::default();
    let mut subscription = hub.subscribe();
    hub.publish(2, &[put("a", 2, Bytes::new())]);
    assert!(!subscription.join(1, &interest("a", ""), 2));
    assert!(subscription.join(1, &interest("a", ""), 4));
    hub.publish(3, &[put("a", 3, Bytes::new())]);
    assert!(subscription.try_next().is_none());
    hub.publish(4, &[put("a", 4, Bytes::new())]);
    assert_eq!(events_of(&subscription.try_next().unwrap()).unwrap().1.revision, 4);
}

#[test]
fn a_replaced_state_puts_everybody_behind() {
    let hub = Hub::default();
    hub.restored(5);
    let mut subscription = hub.subscribe();
    assert!(subscription.join(1, &interest("a", ""), 6));
    assert!(subscription.join(2, &interest("a", ""), 1000));
    hub.restored(90);
    let mut behind = BTreeMap::new();
    while let Some(delivery) = subscription.try_next() {
        if let Delivery::Behind { watch, next } = delivery {
            behind.insert(watch, next);
        }
    }
    assert_eq!(behind, BTreeMap::from([(1, 6), (2, 1000)]));
    assert_eq!(hub.in_step(), 0);
}

#[test]
fn a_revision_that_was_not_published_is_read_from_the_store() {
    let hub = Hub::default();
    hub.restored(5);
    let mut subscription = hub.subscribe();
    assert!(subscription.join(1, &interest("a", ""), 6));
    hub.publish(8, &[put("z", 8, Bytes::new())]);
    assert!(matches!(subscription.try_next(), Some(Delivery::Behind { watch: 1, next: 6 })));
}

#[test]
fn what_an_older_state_published_is_not_news() {
    let hub = Hub::default();
    hub.restored(10);
    let mut subscription = hub.subscribe();
    hub.publish(8, &[put("a", 8, Bytes::new())]);
    assert_eq!(subscription.position(), Some(10));
    assert!(!subscription.join(1, &interest("a", ""), 10));
}

#[test]
fn a_position_counts_only_when_nothing_waits() {
    let hub = Hub::default();
    let mut subscription = hub.subscribe();
    assert!(subscription.join(1, &interest("a", ""), 2));
    hub.publish(2, &[put("a", 2, Bytes::new())]);
    assert_eq!(subscription.position(), None);
    subscription.try_next().unwrap();
    assert_eq!(subscription.position(), Some(2));
}

#[test]
fn a_watcher_that_leaves_takes_nothing_from_others_with_it() {
    let hub = Hub::default();
    let mut subscription = hub.subscribe();
    assert!(subscription.join(1, &interest("a", "b"), 2));
    assert!(subscription.join(2, &interest("c", "d"), 2));
    assert!(subscription.join(3, &interest("x", ""), 2));
    // The room of what waits for it is free again.
    let large = Bytes::from(vec![1; 3 << 20]);
    hub.publish(2, &[put("a", 2, large.clone())]);
    subscription.leave(1);
    hub.publish(3, &[put("x", 3, Bytes::new())]);
    hub.publish(4, &[put("c", 4, large)]);
    let told: Vec<_> = std::iter::from_fn(|| subscription.try_next()).collect();
    let told: Vec<_> = told.iter().filter_map(events_of).map(|(watch, _)| watch).collect();
    assert_eq!(told, [3, 2]);
}

const KEYS: [&str; 6] = ["a", "ab", "abc", "b", "c", "ca"];
const RANGES: [(&str, &str); 8] = [
    ("a", ""),
    ("ab", ""),
    ("c", ""),
    ("a", "b"),
    ("ab", "ac"),
    ("\0", "\0"),
    ("b", "\0"),
    ("ab", "ca"),
];

/// A watcher as a client stream keeps it, and what it has seen.
struct Client {
    interest: Interest,
    started: i64,
    next: i64,
    in_step: bool,
    seen: Vec<(i64, Bytes)>,
}

struct World {
    hub: Hub,
    /// The events of revision `i + 1`: what a store would hold.
    history: Vec<Vec<Event>>,
    streams: Vec<(Subscription, BTreeMap<i64, Client>)>,
    random: StdRng,
    overflows: usize,
}

impl World {
    fn revision(&self) -> i64 {
        i64::try_from(self.history.len()).unwrap()
    }

    fn publish(&mut self) {
        let revision = self.revision() + 1;
        let count = if self.random.random_ratio(1, 4) { self.random.random_range(2..5) } else { 1 };
        let mut events: Vec<Event> = Vec::new();
        for _ in 0..count {
            // Now and then events so large that a queue is soon full.
            let size = if self.random.random_ratio(1, 8) { 1 << 20 } else { 1 };
            let key = KEYS[self.random.random_range(0..KEYS.len())];
            let mut event = put(key, revision, Bytes::from(vec![0; size]));
            event.deleted = self.random.random_ratio(1, 4);
            events.push(event);
        }
        self.hub.publish(revision, &events);
        self.history.push(events);
    }

    fn watch(&mut self, id: i64) {
        let (key, end) = RANGES[self.random.random_range(0..RANGES.len())];
        let mut interest = interest(key, end);
        interest.puts = self.random.random_ratio(4, 5);
        interest.deletes = self.random.random_ratio(4, 5);
        let started = self.random.random_range(1..self.revision() + 8);
        let stream = self.random.random_range(0..self.streams.len());
        let client = Client { interest, started, next: started, in_step: false, seen: Vec::new() };
        self.streams[stream].1.insert(id, client);
    }

    fn cancel(&mut self) {
        let stream = self.random.random_range(0..self.streams.len());
        let (subscription, clients) = &mut self.streams[stream];
        if let Some((id, client)) = clients.pop_first() {
            subscription.leave(id);
            check(&client, &self.history, client.next - 1);
        }
    }

    /// Takes up to `most` deliveries of a stream, then lets those who are behind read a slice of history.
    fn consume(&mut self, stream: usize, most: usize) {
        let (subscription, clients) = &mut self.streams[stream];
        for _ in 0..most {
            match subscription.try_next() {
                None => break,
                Some(Delivery::Events { watch, batch }) => {
                    let client = clients.get_mut(&watch).expect("it was forgotten");
                    assert!(client.in_step && batch.revision >= client.next);
                    see(client, batch.revision, &batch.events);
                }
                Some(Delivery::Behind { watch, next }) => {
                    let client = clients.get_mut(&watch).expect("it was forgotten");
                    assert!(client.in_step && next >= client.next);
                    client.in_step = false;
                    client.next = next;
                    self.overflows += 1;
                }
            }
        }
        for (id, client) in clients.iter_mut().filter(|(_, client)| !client.in_step) {
            for _ in 0..self.random.random_range(1..50) {
                let Some(index) = usize::try_from(client.next - 1).ok() else { break };
                let Some(events) = self.history.get(index) else { break };
                see(client, client.next, events);
            }
            client.in_step = subscription.join(*id, &client.interest, client.next);
        }
    }
}

fn see(client: &mut Client, revision: i64, events: &[Event]) {
    let wanted = events.iter().filter(|event| client.interest.wants(event));
    client.seen.extend(wanted.map(|event| (revision, event.kv.key.clone())));
    client.next = revision + 1;
}

/// Against a linear scan: every wanted event from the start to `last`, once and in order.
fn check(client: &Client, history: &[Vec<Event>], last: i64) {
    let revisions: RangeInclusive<i64> = client.started..=last;
    let mut expected = Vec::new();
    for revision in revisions {
        let Some(events) = history.get(usize::try_from(revision - 1).unwrap()) else { break };
        let wanted = events.iter().filter(|event| client.interest.wants(event));
        expected.extend(wanted.map(|event| (revision, event.kv.key.clone())));
    }
    assert_eq!(client.seen, expected, "watch {:?} from {}", client.interest, client.started);
}

#[test]
fn slow_watchers_miss_nothing_and_see_nothing_twice() {
    let mut overflows = 0;
    for seed in 0..40 {
        let hub = Hub::default();
        let streams = (0..4).map(|_| (hub.subscribe(), BTreeMap::new())).collect();
        let random = StdRng::seed_from_u64(seed);
        let mut world = World { hub, history: Vec::new(), streams, random, overflows: 0 };
        for step in 0..600 {
            match world.random.random_range(0..10) {
                0 => world.watch(step),
                1 if world.random.random_ratio(1, 3) => world.cancel(),
                // Stream 0 reads rarely: its queue fills.
                2..=4 => {
                    let stream = world.random.random_range(0..world.streams.len());
                    if stream != 0 || world.random.random_ratio(1, 20) {
                        let most = world.random.random_range(0..20);
                        world.consume(stream, most);
                    }
                }
                _ => world.publish(),
            }
        }
        let revision = world.revision();
        for stream in 0..world.streams.len() {
            // A slice of history is at least one revision, so this many rounds always suffice.
            for _ in 0..=revision {
                world.consume(stream, usize::MAX);
            }
            for client in world.streams[stream].1.values() {
                assert!(client.in_step);
                check(client, &world.history, revision);
            }
        }
        overflows += world.overflows;
    }
    assert!(overflows > 50, "only {overflows} queues were ever full");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn joining_while_others_publish_leaves_no_gap() {
    const LAST: i64 = 20_000;
    let hub = Hub::default();
    let applied = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
    let mut watchers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let mut subscription = hub.subscribe();
        let applied = std::sync::Arc::clone(&applied);
        watchers.spawn(async move {
            let mut next = 1;
            let mut in_step = false;
            while next <= LAST {
                if in_step {
                    match subscription.next().await {
                        Delivery::Events { batch, .. } => {
                            assert_eq!(batch.revision, next);
                            next += 1;
                        }
                        Delivery::Behind { next: missed, .. } => {
                            assert_eq!(missed, next);
                            in_step = false;
                        }
                    }
                } else {
                    // What the store holds has been seen; from there on the hub must deliver.
                    next = next.max(applied.load(std::sync::atomic::Ordering::SeqCst) + 1);
                    in_step = subscription.join(7, &interest("a", ""), next);
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    let publisher = tokio::task::spawn_blocking(move || {
        for revision in 1..=LAST {
            applied.store(revision, std::sync::atomic::Ordering::SeqCst);
            hub.publish(revision, &[put("a", revision, Bytes::new())]);
        }
    });
    publisher.await.unwrap();
    while let Some(done) = watchers.join_next().await {
        done.unwrap();
    }
}
