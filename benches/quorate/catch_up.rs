use std::time::Instant;

use super::Plan;
use super::subject::{Cluster, Subject};

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
        let joiner = cluster.joiner();
        let process = joiner.join(false, plan.keys).await;
        let took = started.elapsed();
        cluster.joined(joiner, process);
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
