use std::time::{Duration, Instant};

use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::proto::etcdserverpb::{
    CompactionRequest, DefragmentRequest, PutRequest, RangeRequest, SnapshotRequest,
};
use tonic::transport::{Channel, Endpoint};

use super::Plan;
use super::load::{self, Sample};
use super::subject::{Cluster, Joiner, Subject};

const IN_FLIGHT: usize = 64;
const CONNECTIONS: usize = 4;
const VALUE_BYTES: usize = 256;
const RANGE_KEYS: i64 = 100_000;

/// What disturbs the writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disturbance {
    Nothing,
    Range,
    Snapshot,
    Compaction,
    Defragmentation,
    /// An empty learner that is sent everything.
    Learner,
}

const ALL: [Disturbance; 6] = [
    Disturbance::Nothing,
    Disturbance::Range,
    Disturbance::Snapshot,
    Disturbance::Compaction,
    Disturbance::Defragmentation,
    Disturbance::Learner,
];

/// The longest put while the store is read, saved, compacted, rewritten and sent to a new member: one node
/// that holds `--keys` revisions, 64 puts in flight.
pub(crate) async fn measure(plan: &Plan) {
    println!("\nlongest put of {IN_FLIGHT} in flight, one node, {} revisions", plan.keys);
    let mut clusters = Vec::new();
    for subject in Subject::all() {
        let cluster = Cluster::start(subject, 1, &["--snapshot-count=10000"]).await;
        super::memory::fill(&cluster, plan.keys).await;
        clusters.push(cluster);
    }
    println!(
        "{:<18}{:<10}{:>12}{:>12}{:>12}{:>12}",
        "", "", "max ms", "p99 ms", "puts/s", "took ms"
    );
    for disturbance in ALL {
        for cluster in &clusters {
            let (sample, took) = one(cluster, disturbance, plan).await;
            println!(
                "{:<18}{:<10}{:>12.1}{:>12.1}{:>12.0}{:>12.0}",
                format!("{disturbance:?}"),
                cluster.subject.name,
                sample.percentile(1.0),
                sample.percentile(0.99),
                sample.rate(),
                took.as_secs_f64() * 1e3,
            );
        }
    }
}

async fn one(cluster: &Cluster, disturbance: Disturbance, plan: &Plan) -> (Sample, Duration) {
    let (span, keys) = (plan.span, plan.keys);
    let joiner = cluster.joiner();
    let endpoint = Endpoint::from_shared(cluster.endpoints[0].clone()).unwrap();
    let clients: Vec<KvClient<Channel>> =
        (0..CONNECTIONS).map(|_| KvClient::new(endpoint.connect_lazy())).collect();
    let mut first = clients[0].clone();
    put(&mut first, 0).await;
    // On a thread of its own: a large answer that is decoded beside them keeps puts waiting as well.
    let disturbing = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let channel = endpoint.connect_lazy();
            tokio::time::sleep(span / 4).await;
            let began = Instant::now();
            disturb(channel, disturbance, &joiner, keys).await;
            began.elapsed()
        })
    });
    let request = move |worker: usize, number: usize| {
        let mut client = clients[worker % CONNECTIONS].clone();
        async move { put(&mut client, worker * 1000 + number % 1000).await }
    };
    // As long as the disturbance lasts, and a while after it: what it left behind counts as well.
    load::run_while(IN_FLIGHT, span, disturbing, request).await
}

async fn put(client: &mut KvClient<Channel>, key: usize) -> bool {
    let put = PutRequest {
        key: format!("stall/{key:08}").into(),
        value: vec![b'v'; VALUE_BYTES].into(),
        ..PutRequest::default()
    };
    client.put(put).await.is_ok()
}

async fn disturb(channel: Channel, disturbance: Disturbance, joiner: &Joiner, keys: u64) {
    let mut kv = KvClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
    let mut maintenance = MaintenanceClient::new(channel).max_decoding_message_size(usize::MAX);
    let all = RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        limit: RANGE_KEYS,
        ..RangeRequest::default()
    };
    match disturbance {
        Disturbance::Nothing => {}
        Disturbance::Range => drop(kv.range(all).await.unwrap()),
        Disturbance::Snapshot => {
            let mut stream = maintenance.snapshot(SnapshotRequest {}).await.unwrap().into_inner();
            while stream.message().await.unwrap().is_some() {}
        }
        Disturbance::Compaction => {
            let one = RangeRequest { key: "stall".into(), ..RangeRequest::default() };
            let header = kv.range(one).await.unwrap().into_inner().header.unwrap();
            let revision = header.revision;
            kv.compact(CompactionRequest { revision, physical: true }).await.unwrap();
        }
        Disturbance::Defragmentation => {
            drop(maintenance.defragment(DefragmentRequest {}).await.unwrap());
        }
        Disturbance::Learner => drop(joiner.join(true, keys).await),
    }
}
