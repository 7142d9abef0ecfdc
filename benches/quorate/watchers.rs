use std::sync::Arc;
use std::time::Instant;

use prost::encoding::{WireType, decode_key, decode_varint};
use quorate::proto::etcdserverpb::{
    PutRequest, PutResponse, WatchCreateRequest, WatchRequest, WatchResponse, watch_request,
};
use tokio::sync::mpsc;

use super::Plan;
use super::grpc::{Call, Connection};
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
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..streams {
        let call = watching(endpoint, watchers, keys).await;
        readers.spawn(read(call, heard.clone()));
    }
    let before = cluster.usage().cpu_seconds;
    let writer = Arc::new(Connection::open(endpoint).await);
    let started = Instant::now();
    let mut sample = Sample::default();
    let per_key = streams * watchers / keys;
    let mut sent = vec![started; keys];
    let mut missing = vec![0; keys];
    let mut open = keys;
    for key in 0..keys {
        (sent[key], missing[key]) = (Instant::now(), per_key);
        put(&writer, key);
    }
    while open > 0 {
        let (key, at): (usize, Instant) = news.recv().await.unwrap();
        sample.note(at - sent[key]);
        missing[key] -= 1;
        if missing[key] > 0 {
            continue;
        }
        if started.elapsed() < plan.span {
            (sent[key], missing[key]) = (Instant::now(), per_key);
            put(&writer, key);
        } else {
            open -= 1;
        }
    }
    sample.seconds = started.elapsed().as_secs_f64();
    sample.cpu_seconds = cluster.usage().cpu_seconds - before;
    sample
}

/// A stream with that many watchers, all of them confirmed.
async fn watching(endpoint: &str, watchers: usize, keys: usize) -> Call {
    let connection = Connection::open(endpoint).await;
    let mut call = connection.begin("Watch/Watch").await.unwrap();
    for watcher in 0..watchers {
        let create = WatchCreateRequest { key: key(watcher % keys), ..Default::default() };
        let create = watch_request::RequestUnion::CreateRequest(create);
        call.send(&WatchRequest { request_union: Some(create) }, false);
    }
    for _ in 0..watchers {
        let answer: WatchResponse = call.next().await.unwrap();
        assert!(answer.created, "nothing is put before all watch");
    }
    call
}

/// Tells of every event. What a client spends is missing from the rates of all, so messages are not decoded whole.
async fn read(mut call: Call, heard: mpsc::UnboundedSender<(usize, Instant)>) {
    while let Some(message) = call.next_bytes().await {
        let at = Instant::now();
        for event in fields(&message, EVENTS) {
            let kv = fields(event, KV).next().unwrap();
            let key = fields(kv, KEY).next().unwrap();
            let key = std::str::from_utf8(&key[6..]).unwrap().parse().unwrap();
            if heard.send((key, at)).is_err() {
                return;
            }
        }
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

fn put(writer: &Arc<Connection>, number: usize) {
    let writer = Arc::clone(writer);
    tokio::spawn(async move {
        let put = PutRequest { key: key(number), value: "v".into(), ..PutRequest::default() };
        writer.call::<PutResponse>("KV/Put", &put).await.expect("a put that watchers wait for");
    });
}
