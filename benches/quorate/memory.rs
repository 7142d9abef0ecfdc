use quorate::proto::etcdserverpb::PutRequest;
use quorate::proto::etcdserverpb::kv_client::KvClient;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

use super::Plan;
use super::subject::{Cluster, Subject};

const WRITERS: u64 = 256;
const VALUE_BYTES: usize = 256;

/// Memory at rest and with keys, and how long a start takes, of a single node.
pub(crate) async fn measure(plan: &Plan) {
    println!("\nmemory and start, one node, {} keys with values of {VALUE_BYTES} bytes", plan.keys);
    for subject in Subject::all() {
        let mut cluster = Cluster::start(subject, 1, &[]).await;
        let idle = cluster.usage().rss_mib;
        let empty = cluster.restart().await;
        fill(&cluster, plan.keys).await;
        let full = cluster.usage().rss_mib;
        let filled = cluster.restart().await;
        let restarted = cluster.usage().rss_mib;
        println!(
            "{:<10}  idle {idle:.0} MiB, with keys {full:.0} MiB, after restart {restarted:.0} MiB; \
             start empty {:.0} ms, with keys {:.0} ms",
            cluster.subject.name,
            empty.as_secs_f64() * 1e3,
            filled.as_secs_f64() * 1e3,
        );
    }
}

/// Puts that many keys.
pub(crate) async fn fill(cluster: &Cluster, keys: u64) {
    let endpoint = Endpoint::from_shared(cluster.endpoints[0].clone()).unwrap();
    let channel = endpoint.connect_lazy();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let mut client = KvClient::new(channel.clone());
        writers.spawn(async move {
            let mut key = writer;
            while key < keys {
                let put = PutRequest {
                    key: format!("fill/{key:012}").into(),
                    value: vec![b'v'; VALUE_BYTES].into(),
                    ..PutRequest::default()
                };
                client.put(put).await.unwrap();
                key += WRITERS;
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
}
