use std::sync::Arc;

use quorate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse,
    request_op,
};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::Plan;
use super::grpc::{Call, Connection};
use super::load::{self, Sample};
use super::subject::{Cluster, Subject};

const IN_FLIGHT: [usize; 4] = [1, 64, 256, 1000];
/// Connections per node.
const CONNECTIONS: usize = 2;
const VALUE_BYTES: usize = 256;
/// Keys are overwritten after this many, so that stores stay of one size.
const KEY_SPACE: usize = 10_000;
/// How many put the keys that are there before anything is measured.
const WRITERS: usize = 64;
/// Pairs of a large range, and of the ranges in transactions.
const MANY: i64 = 1000;
const SOME: i64 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Put,
    Linearizable,
    Serializable,
    /// A thousand pairs at once.
    Many,
    /// In turn a transaction that puts one pair, and one that reads the first hundred of all.
    Mixed,
    KeepAlive,
}

impl Question {
    /// What the command line calls it, and the title of its lines.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Put => ("put", "put"),
            Self::Linearizable => ("range", "range, linearizable"),
            Self::Serializable => ("range", "range, serializable"),
            Self::Many => ("many", "range of 1000 pairs"),
            Self::Mixed => ("txn", "txn, mixed"),
            Self::KeepAlive => ("lease", "lease keep-alive"),
        }
    }

    /// How many are in flight. A thousand large answers at a time say nothing that 64 do not.
    fn depths(self) -> &'static [usize] {
        match self {
            Self::Many => &IN_FLIGHT[..2],
            Self::KeepAlive => &IN_FLIGHT[1..2],
            _ => &IN_FLIGHT,
        }
    }
}

const ALL: [Question; 6] = [
    Question::Put,
    Question::Linearizable,
    Question::Serializable,
    Question::Many,
    Question::Mixed,
    Question::KeepAlive,
];

/// What is asked often, on `size` nodes, at several depths.
pub(crate) async fn measure(plan: &Plan, size: usize) {
    let asked: Vec<Question> =
        ALL.into_iter().filter(|question| plan.asks(question.names().0)).collect();
    if asked.is_empty() {
        return;
    }
    let mut clusters = Vec::new();
    for subject in Subject::all() {
        let cluster = Cluster::start(subject, size, &[]).await;
        fill(&cluster).await;
        clusters.push(cluster);
    }
    println!("\n{size} node(s), values of {VALUE_BYTES} bytes, {CONNECTIONS} connections per node");
    println!(
        "{:<22}{:>6}  {:<10}{:>10}{:>9}{:>9}{:>12}",
        "", "", "", "per s", "p50 ms", "p99 ms", "server µs"
    );
    for question in asked {
        for in_flight in question.depths() {
            let mut samples = vec![Sample::default(); clusters.len()];
            for _ in 0..plan.rounds {
                for (cluster, sample) in clusters.iter().zip(&mut samples) {
                    sample.add(one(cluster, question, *in_flight, plan).await);
                }
            }
            report(question, *in_flight, &clusters, &samples);
        }
    }
}

/// Puts every key once.
async fn fill(cluster: &Cluster) {
    let connection = Connection::open(&cluster.endpoints[0]).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let connection = connection.clone();
        writers.spawn(async move {
            for number in (writer..KEY_SPACE).step_by(WRITERS) {
                assert!(put(&connection, number).await, "a put is refused");
            }
        });
    }
    writers.join_all().await;
}

/// Puts with so many in flight.
pub(crate) async fn puts(cluster: &Cluster, in_flight: usize, plan: &Plan) -> Sample {
    one(cluster, Question::Put, in_flight, plan).await
}

async fn one(cluster: &Cluster, question: Question, in_flight: usize, plan: &Plan) -> Sample {
    let connections = Arc::new(Connection::open_all(&cluster.endpoints, CONNECTIONS).await);
    if question == Question::KeepAlive {
        return keep_alive(cluster, &connections, in_flight, plan).await;
    }
    // Leaders are known before the clock starts.
    for connection in connections.iter() {
        assert!(ask(connection, question, 0, 0).await, "{} refuses", cluster.subject.name);
    }
    let before = cluster.usage().cpu_seconds;
    let request = move |worker: usize, number: usize| {
        let connections = Arc::clone(&connections);
        async move {
            let connection = &connections[worker % connections.len()];
            ask(connection, question, worker, number).await
        }
    };
    let mut sample = load::run(in_flight, plan.span, request).await;
    sample.cpu_seconds = cluster.usage().cpu_seconds - before;
    sample
}

/// Every worker renews a lease of its own on a stream of its own.
async fn keep_alive(
    cluster: &Cluster,
    connections: &[Connection],
    in_flight: usize,
    plan: &Plan,
) -> Sample {
    let mut streams: Vec<(i64, Mutex<Call>)> = Vec::new();
    for worker in 0..in_flight {
        let connection = &connections[worker % connections.len()];
        let grant = LeaseGrantRequest { ttl: 600, id: 0 };
        let granted: LeaseGrantResponse =
            connection.call("Lease/LeaseGrant", &grant).await.unwrap();
        let stream = connection.begin("Lease/LeaseKeepAlive").await.unwrap();
        streams.push((granted.id, Mutex::new(stream)));
    }
    let streams = Arc::new(streams);
    let before = cluster.usage().cpu_seconds;
    let request = move |worker: usize, _: usize| {
        let streams = Arc::clone(&streams);
        async move {
            let (id, stream) = &streams[worker];
            let mut stream = stream.lock().await;
            stream.send(&LeaseKeepAliveRequest { id: *id }, false);
            let answer: Option<LeaseKeepAliveResponse> = stream.next().await;
            answer.is_some_and(|answer| answer.ttl > 0)
        }
    };
    let mut sample = load::run(in_flight, plan.span, request).await;
    sample.cpu_seconds = cluster.usage().cpu_seconds - before;
    sample
}

async fn ask(connection: &Connection, question: Question, worker: usize, number: usize) -> bool {
    let at = worker * 7919 + number;
    match question {
        Question::Put => put(connection, at).await,
        Question::Linearizable | Question::Serializable => {
            let serializable = question == Question::Serializable;
            let range = RangeRequest { key: key(at), serializable, ..RangeRequest::default() };
            let answer: Option<RangeResponse> = connection.call("KV/Range", &range).await;
            answer.is_some_and(|answer| answer.kvs.len() == 1)
        }
        Question::Many => {
            // As many pairs are left behind the first.
            let first = at % (KEY_SPACE - usize::try_from(MANY).unwrap());
            let range = RangeRequest {
                key: key(first),
                range_end: key(first + usize::try_from(MANY).unwrap()),
                ..RangeRequest::default()
            };
            let answer: Option<RangeResponse> = connection.call("KV/Range", &range).await;
            answer.is_some_and(|answer| answer.count == MANY)
        }
        Question::Mixed => {
            let op = if number.is_multiple_of(2) {
                request_op::Request::RequestPut(pair(at))
            } else {
                request_op::Request::RequestRange(RangeRequest {
                    key: vec![0].into(),
                    range_end: vec![0].into(),
                    limit: SOME,
                    ..RangeRequest::default()
                })
            };
            let success = vec![RequestOp { request: Some(op) }];
            let txn = TxnRequest { success, ..TxnRequest::default() };
            let answer: Option<TxnResponse> = connection.call("KV/Txn", &txn).await;
            answer.is_some_and(|answer| answer.succeeded)
        }
        Question::KeepAlive => unreachable!("renewals have streams of their own"),
    }
}

async fn put(connection: &Connection, at: usize) -> bool {
    connection.call::<PutResponse>("KV/Put", &pair(at)).await.is_some()
}

fn key(at: usize) -> bytes::Bytes {
    format!("bench/{:08}", at % KEY_SPACE).into()
}

fn pair(at: usize) -> PutRequest {
    PutRequest { key: key(at), value: vec![b'v'; VALUE_BYTES].into(), ..PutRequest::default() }
}

fn report(question: Question, in_flight: usize, clusters: &[Cluster], samples: &[Sample]) {
    let ours = &samples[0];
    for (cluster, sample) in clusters.iter().zip(samples) {
        print!(
            "{:<22}{in_flight:>6}  {:<10}{:>10.0}{:>9.2}{:>9.2}{:>12.0}",
            question.names().1,
            cluster.subject.name,
            sample.rate(),
            sample.percentile(0.5),
            sample.percentile(0.99),
            sample.cpu_micros(),
        );
        if sample.failures > 0 {
            print!("  {} failed", sample.failures);
        }
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
}
