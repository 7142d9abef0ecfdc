use std::collections::VecDeque;
use std::time::Instant;

use prost::Message as _;
use prost::encoding::{WireType, decode_key, decode_varint};
use quorate::proto::etcdserverpb::{
    PutRequest, WatchCreateRequest, WatchRequest, WatchResponse, watch_request,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Plan;
use super::frames::{DATA, Frames, PREFIX};
use super::load::Sample;
use super::subject::{Cluster, Subject};

/// Streams, watchers on each, and the keys they share.
const SHAPES: [(usize, usize, usize); 2] = [(10, 100, 1), (8, 50, 50)];

/// Events per second and how long each takes, from the put until the client has it. A key is put
/// again when all of its watchers have heard of it.
pub(crate) async fn measure(plan: &Plan) {
    println!("\nwatchers, one node");
    println!(
        "{:<34}{:<10}{:>12}{:>9}{:>9}{:>12}",
        "", "", "events/s", "p50 ms", "p99 ms", "server µs"
    );
    let mut clusters = Vec::new();
    for subject in Subject::all() {
        clusters.push(Cluster::start(subject, 1, &[]).await);
    }
    for shape in SHAPES {
        let mut samples = vec![Sample::default(); clusters.len()];
        for _ in 0..plan.rounds {
            for (cluster, sample) in clusters.iter().zip(&mut samples) {
                sample.add(one(cluster, shape, plan).await);
            }
        }
        for (cluster, sample) in clusters.iter().zip(&samples) {
            report(shape, cluster, sample, &samples[0]);
        }
    }
}

fn report(shape: (usize, usize, usize), cluster: &Cluster, sample: &Sample, ours: &Sample) {
    let (streams, watchers, keys) = shape;
    print!(
        "{:<34}{:<10}{:>12.0}{:>9.2}{:>9.2}{:>12.1}",
        format!("{streams} x {watchers} watchers of {keys} key(s)"),
        cluster.subject.name,
        sample.rate(),
        sample.percentile(0.5),
        sample.percentile(0.99),
        sample.cpu_micros(),
    );
    if std::ptr::eq(ours, sample) {
        println!();
    } else {
        println!(
            "   ours: rate x {:.2}, p99 x {:.2}, processor x {:.2}",
            ours.rate() / sample.rate(),
            ours.percentile(0.99) / sample.percentile(0.99),
            ours.cpu_micros() / sample.cpu_micros(),
        );
    }
}

async fn one(cluster: &Cluster, shape: (usize, usize, usize), plan: &Plan) -> Sample {
    let (streams, watchers, keys) = shape;
    let endpoint = &cluster.endpoints[0];
    let (heard, mut news) = mpsc::unbounded_channel();
    let mut readers = JoinSet::new();
    for _ in 0..streams {
        let watch = Watch::open(endpoint, watchers, keys).await;
        readers.spawn(watch.run(heard.clone()));
    }
    let (puts, to_put) = mpsc::unbounded_channel();
    readers.spawn(write(Frames::open(endpoint, "KV/Put").await, to_put));
    let before = cluster.usage().cpu_seconds;
    let started = Instant::now();
    let mut sample = Sample::default();
    let per_key = streams * watchers / keys;
    let mut sent = vec![started; keys];
    let mut missing = vec![per_key; keys];
    let mut open = keys;
    for key in 0..keys {
        puts.send(key).unwrap();
    }
    while open > 0 {
        let (at, changed) = news.recv().await.unwrap();
        for key in changed {
            sample.note(at - sent[key]);
            missing[key] -= 1;
            if missing[key] > 0 {
                continue;
            }
            if started.elapsed() < plan.span {
                (sent[key], missing[key]) = (Instant::now(), per_key);
                puts.send(key).unwrap();
            } else {
                open -= 1;
            }
        }
    }
    sample.seconds = started.elapsed().as_secs_f64();
    sample.cpu_seconds = cluster.usage().cpu_seconds - before;
    sample
}

/// When a client had a message, and the keys of its events.
type News = (Instant, Vec<usize>);

/// A stream with watchers.
struct Watch {
    frames: Frames,
    /// What has come of messages, the prefixes included.
    body: Vec<u8>,
}

impl Watch {
    /// All of the watchers are confirmed.
    async fn open(endpoint: &str, watchers: usize, keys: usize) -> Self {
        let mut frames = Frames::open(endpoint, "Watch/Watch").await;
        let mut stream = None;
        for watcher in 0..watchers {
            let create = WatchCreateRequest { key: key(watcher % keys), ..Default::default() };
            let create = watch_request::RequestUnion::CreateRequest(create);
            let create = WatchRequest { request_union: Some(create) }.encode_to_vec();
            match stream {
                None => stream = frames.call(&create, false),
                Some(stream) => frames.send(stream, &create, false),
            }
        }
        let mut watch = Self { frames, body: Vec::new() };
        let mut created = 0;
        while created < watchers {
            assert!(watch.read().await, "all are to be confirmed");
            watch.messages(|message| {
                assert!(WatchResponse::decode(message).unwrap().created, "nothing is put yet");
                created += 1;
            });
        }
        watch
    }

    /// Tells of every event until nobody listens. Messages are not decoded whole.
    async fn run(mut self, heard: mpsc::UnboundedSender<News>) {
        while self.read().await {
            let (at, mut changed) = (Instant::now(), Vec::new());
            self.messages(|message| {
                for event in fields(message, EVENTS) {
                    let kv = fields(event, KV).next().unwrap();
                    let key = fields(kv, KEY).next().unwrap();
                    changed.push(std::str::from_utf8(&key[6..]).unwrap().parse().unwrap());
                }
            });
            if heard.send((at, changed)).is_err() {
                return;
            }
        }
    }

    async fn read(&mut self) -> bool {
        self.frames.flush().await;
        let going = self.frames.read().await;
        while let Some(frame) = self.frames.next() {
            assert!(!frame.last, "a watch does not end");
            if frame.kind == DATA {
                self.body.extend(self.frames.payload(&frame));
            }
        }
        going
    }

    /// Looks at all whole messages.
    fn messages(&mut self, mut each: impl FnMut(&[u8])) {
        let mut rest = &self.body[..];
        while let Some((prefix, behind)) = rest.split_first_chunk::<PREFIX>() {
            let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
            let Some((message, after)) = behind.split_at_checked(length) else { break };
            each(message);
            rest = after;
        }
        let kept = rest.len();
        self.body.drain(..self.body.len() - kept);
    }
}

/// Puts one key after the other, as far as the server takes it; that watchers hear of it is the answer.
async fn write(mut frames: Frames, mut keys: mpsc::UnboundedReceiver<usize>) {
    let mut waiting = VecDeque::new();
    loop {
        tokio::select! {
            key = keys.recv() => match key {
                Some(key) => waiting.push_back(key),
                None => return,
            },
            going = frames.read() => assert!(going, "the server goes on"),
        }
        while let Ok(key) = keys.try_recv() {
            waiting.push_back(key);
        }
        while frames.next().is_some() {}
        while let Some(number) = waiting.front() {
            let put = PutRequest { key: key(*number), value: "v".into(), ..PutRequest::default() };
            if frames.call(&put.encode_to_vec(), true).is_none() {
                break;
            }
            waiting.pop_front();
        }
        frames.flush().await;
    }
}

/// Fields of `WatchResponse`, `Event` and `KeyValue`.
const EVENTS: u32 = 11;
const KV: u32 = 2;
const KEY: u32 = 1;

/// The values of one field of a message of numbers, bytes and messages.
fn fields(mut message: &[u8], wanted: u32) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        while !message.is_empty() {
            let (tag, kind) = decode_key(&mut message).unwrap();
            assert!(matches!(kind, WireType::Varint | WireType::LengthDelimited), "{kind:?}");
            let number = usize::try_from(decode_varint(&mut message).unwrap()).unwrap();
            if kind == WireType::LengthDelimited {
                let (value, rest) = message.split_at(number);
                message = rest;
                if tag == wanted {
                    return Some(value);
                }
            }
        }
        None
    })
}

fn key(number: usize) -> bytes::Bytes {
    format!("watch/{number}").into()
}
