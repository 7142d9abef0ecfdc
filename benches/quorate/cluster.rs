use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::{PutRequest, RangeRequest};
use tonic::transport::{Channel, Endpoint};

use super::Plan;
use super::load::{self, Sample};
use super::subject::{Cluster, Subject};

const IN_FLIGHT: [usize; 3] = [1, 64, 256];
/// Connections per node.
const CONNECTIONS: usize = 2;
const VALUE_BYTES: usize = 256;
/// Keys are overwritten after this many, so that stores stay of one size.
const KEY_SPACE: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Put,
    Linearizable,
    Serializable,
}

impl Question {
    fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Linearizable => "range, linearizable",
            Self::Serializable => "range, serializable",
        }
    }
}

/// Puts and ranges on `size` nodes, at 1, 64 and 256 in flight.
pub(crate) async fn measure(plan: &Plan, size: usize) {
    let mut clusters = Vec::new();
    for subject in Subject::all() {
        clusters.push(Cluster::start(subject, size, &[]).await);
    }
    println!("\n{size} node(s), values of {VALUE_BYTES} bytes, {CONNECTIONS} connections per node");
    println!(
        "{:<22}{:>6}  {:<10}{:>10}{:>9}{:>9}{:>12}",
        "", "", "", "per s", "p50 ms", "p99 ms", "server µs"
    );
    let mut questions = Vec::new();
    if plan.asks("put") {
        questions.push(Question::Put);
    }
    if plan.asks("range") {
        questions.extend([Question::Linearizable, Question::Serializable]);
    }
    for question in questions {
        for in_flight in IN_FLIGHT {
            let mut samples = vec![Sample::default(); clusters.len()];
            for _ in 0..plan.rounds {
                for (cluster, sample) in clusters.iter().zip(&mut samples) {
                    sample.add(one(cluster, question, in_flight, plan).await);
                }
            }
            report(question, in_flight, &clusters, &samples);
        }
    }
}

/// Puts with so many in flight.
pub(crate) async fn puts(cluster: &Cluster, in_flight: usize, plan: &Plan) -> Sample {
    one(cluster, Question::Put, in_flight, plan).await
}

async fn one(cluster: &Cluster, question: Question, in_flight: usize, plan: &Plan) -> Sample {
    let clients = clients(&cluster.endpoints);
    // Connections are made and leaders known before the clock starts.
    for client in &clients {
        assert!(
            ask(client.clone(), question, 0, 0).await,
            "{} does not answer",
            cluster.subject.name
        );
    }
    let before = cluster.usage().cpu_seconds;
    let request = move |worker: usize, number: usize| {
        let client = clients[worker % clients.len()].clone();
        ask(client, question, worker, number)
    };
    let mut sample = load::run(in_flight, plan.span, request).await;
    sample.cpu_seconds = cluster.usage().cpu_seconds - before;
    sample
}

async fn ask(
    mut client: KvClient<Channel>,
    question: Question,
    worker: usize,
    number: usize,
) -> bool {
    let key = format!("bench/{:08}", (worker * 7919 + number) % KEY_SPACE);
    if question == Question::Put {
        let value = vec![b'v'; VALUE_BYTES];
        let put = PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() };
        return client.put(put).await.is_ok();
    }
    let serializable = question == Question::Serializable;
    let range = RangeRequest { key: key.into(), serializable, ..RangeRequest::default() };
    client.range(range).await.is_ok()
}

fn clients(endpoints: &[String]) -> Vec<KvClient<Channel>> {
    let all = std::iter::repeat_n(endpoints, CONNECTIONS).flatten();
    let connect = |endpoint: &String| {
        KvClient::new(Endpoint::from_shared(endpoint.clone()).unwrap().connect_lazy())
    };
    all.map(connect).collect()
}

fn report(question: Question, in_flight: usize, clusters: &[Cluster], samples: &[Sample]) {
    let ours = &samples[0];
    for (cluster, sample) in clusters.iter().zip(samples) {
        print!(
            "{:<22}{in_flight:>6}  {:<10}{:>10.0}{:>9.2}{:>9.2}{:>12.0}",
            question.name(),
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
