use prost::Message as _;
use quorate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, PutRequest, PutResponse,
    RangeRequest, RequestOp, TxnRequest, request_op,
};
use tokio::task::JoinSet;

use super::Plan;
use super::flood::{self, Ask, Load, Use};
use super::grpc::Connection;
use super::load::Sample;
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
const MANY: usize = 1000;
const SOME: usize = 100;

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
            if plan.in_flight.is_some_and(|only| only != *in_flight) {
                continue;
            }
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
    // Leaders are known and leases exist before the clock starts.
    let leases = leases(cluster, if question == Question::KeepAlive { in_flight } else { 1 }).await;
    let (method, usage) = match question {
        Question::Put => ("KV/Put", Use::Unary),
        Question::Linearizable | Question::Serializable | Question::Many => {
            ("KV/Range", Use::Unary)
        }
        Question::Mixed => ("KV/Txn", Use::Unary),
        Question::KeepAlive => ("Lease/LeaseKeepAlive", Use::Streaming),
    };
    let ask = move |worker: usize, number: usize| ask(question, &leases, worker, number);
    let mut endpoints = cluster.endpoints.clone();
    // A few requests reach a few members, and whether the leader is among them matters: each gets its turn.
    let turns = if in_flight < endpoints.len() { endpoints.len() } else { 1 };
    let span = plan.span / u32::try_from(turns).unwrap();
    let load = Load { method, usage, in_flight, span, ask };
    let before = cluster.usage().cpu_seconds;
    let mut sample = Sample::default();
    for _ in 0..turns {
        sample.add(flood::run(&endpoints, CONNECTIONS, load.clone()).await);
        endpoints.rotate_left(1);
    }
    sample.cpu_seconds = cluster.usage().cpu_seconds - before;
    sample
}

/// So many leases, granted by every node in turn.
async fn leases(cluster: &Cluster, count: usize) -> Vec<i64> {
    let connections = Connection::open_all(&cluster.endpoints, 1).await;
    let mut leases = Vec::new();
    for at in 0..count.max(connections.len()) {
        let grant = LeaseGrantRequest { ttl: 600, id: 0 };
        let connection = &connections[at % connections.len()];
        let granted: Option<LeaseGrantResponse> = connection.call("Lease/LeaseGrant", &grant).await;
        leases.push(granted.expect("a lease is granted").id);
    }
    leases
}

fn ask(question: Question, leases: &[i64], worker: usize, number: usize) -> Ask {
    let at = worker * 7919 + number;
    match question {
        Question::Put => Ask { message: pair(at).encode_to_vec(), least: 1 },
        Question::Linearizable | Question::Serializable => {
            let serializable = question == Question::Serializable;
            let range = RangeRequest { key: key(at), serializable, ..RangeRequest::default() };
            Ask { message: range.encode_to_vec(), least: VALUE_BYTES }
        }
        Question::Many => {
            // As many pairs are left behind the first.
            let first = at % (KEY_SPACE - MANY);
            let range = RangeRequest {
                key: key(first),
                range_end: key(first + MANY),
                ..RangeRequest::default()
            };
            Ask { message: range.encode_to_vec(), least: MANY * VALUE_BYTES }
        }
        Question::Mixed => {
            let writes = number.is_multiple_of(2);
            let op = if writes {
                request_op::Request::RequestPut(pair(at))
            } else {
                request_op::Request::RequestRange(RangeRequest {
                    key: vec![0].into(),
                    range_end: vec![0].into(),
                    limit: i64::try_from(SOME).unwrap(),
                    ..RangeRequest::default()
                })
            };
            let success = vec![RequestOp { request: Some(op) }];
            let txn = TxnRequest { success, ..TxnRequest::default() };
            let least = if writes { 1 } else { SOME * VALUE_BYTES };
            Ask { message: txn.encode_to_vec(), least }
        }
        Question::KeepAlive => {
            let keep_alive = LeaseKeepAliveRequest { id: leases[worker] };
            Ask { message: keep_alive.encode_to_vec(), least: 1 }
        }
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
