use std::time::{Duration, Instant};

use quorate::proto::etcdserverpb::{RangeRequest, RangeResponse};

use super::Plan;
use super::grpc::Connection;
use super::subject::{Cluster, Subject};

/// How often the new member is asked how much it has.
const LOOK: Duration = Duration::from_millis(5);

/// How long an empty member takes to get everything from a single node with many keys, which no
/// longer has the log of them.
pub(crate) async fn measure(plan: &Plan) {
    println!("\nan empty follower of one node with {} keys", plan.keys);
    let mut ours = None;
    for subject in Subject::all() {
        let mut cluster = Cluster::start(subject, 1, &["--snapshot-count=10000"]).await;
        super::memory::fill(&cluster, plan.keys).await;
        let before = cluster.usage();
        let started = Instant::now();
        cluster.add_member().await;
        let connection = Connection::open(&cluster.endpoints[1]).await;
        let count = RangeRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            count_only: true,
            serializable: true,
            ..RangeRequest::default()
        };
        loop {
            let answer: Option<RangeResponse> = connection.call("KV/Range", &count).await;
            if answer.is_some_and(|answer| answer.count.unsigned_abs() >= plan.keys) {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        let took = started.elapsed();
        let after = cluster.usage();
        print!(
            "{:<10}  {:>7.2} s, {:.2} s of processor time, both members {:.0} MiB",
            cluster.subject.name,
            took.as_secs_f64(),
            after.cpu_seconds - before.cpu_seconds,
            after.rss_mib,
        );
        let ours = ours.get_or_insert(took);
        if *ours == took {
            println!();
        } else {
            println!("   ours: time x {:.2}", ours.as_secs_f64() / took.as_secs_f64());
        }
    }
}
