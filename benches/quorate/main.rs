//! Named questions, answered against a real etcd in the same run with the same client.
//!
//! ```text
//! cargo bench --bench quorate                         everything, a few minutes
//! cargo bench --bench quorate -- put range            some questions of:
//!     put range many txn lease watch catch-up memory stall registry tokens
//!     herd polls million dns
//! cargo bench --bench quorate -- --seconds 1 put      shorter measurements
//! cargo bench --bench quorate -- --keys 1000000 memory    of `tokens`, a tenth as many
//! cargo bench --bench quorate -- --nodes 3 --in-flight 64 put     one cluster, one depth of it
//! ```
//!
//! Name servers are measured beside Knot and dnsmasq, where these are installed.
//!
//! The token service is measured beside the Go service of discovery.etcd.io, where `DISCOVERYSERVER`
//! names one.
//!
//! Etcd is looked for in `PATH` (or `ETCD34`), in `ETCD35` or `target/ci-venv`, and in `ETCD36` and
//! `ETCD37`; an empty variable leaves one out, and without any the numbers stand alone. Subjects take
//! turns in every round, so that a disturbance meets all of them.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people who measure")]

mod catch_up;
mod cluster;
mod dns;
mod flood;
mod frames;
mod grpc;
mod herd;
mod load;
mod machine;
mod memory;
mod million;
mod registry;
mod stall;
mod subject;
mod watchers;
mod wire;

use std::time::Duration;

/// What the command line asks for.
#[derive(Debug, Clone)]
struct Plan {
    questions: Vec<String>,
    /// One measurement.
    span: Duration,
    rounds: u32,
    /// Keys stored before memory and start time are measured.
    keys: u64,
    /// The only cluster that is asked what is asked often, and how many are in flight there.
    nodes: Option<usize>,
    in_flight: Option<usize>,
}

impl Plan {
    fn from_arguments() -> Self {
        let mut plan = Self {
            questions: Vec::new(),
            span: Duration::from_secs(3),
            rounds: 3,
            keys: 100_000,
            nodes: None,
            in_flight: None,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok());
            match argument.as_str() {
                "--seconds" => plan.span = Duration::from_secs(number().expect("--seconds N")),
                "--rounds" => {
                    plan.rounds = number().and_then(|n| n.try_into().ok()).expect("--rounds N");
                }
                "--keys" => plan.keys = number().expect("--keys N"),
                "--nodes" => plan.nodes = number().map(|n| n.try_into().unwrap()),
                "--in-flight" => plan.in_flight = number().map(|n| n.try_into().unwrap()),
                // What `cargo bench` adds by itself.
                "--bench" => {}
                question => plan.questions.push(question.to_owned()),
            }
        }
        plan
    }

    fn asks(&self, question: &str) -> bool {
        self.questions.is_empty() || self.questions.iter().any(|asked| asked == question)
    }
}

fn main() {
    let plan = Plan::from_arguments();
    println!("{}", machine::describe());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for size in [1, 3] {
            if plan.nodes.is_some_and(|only| only != size) {
                continue;
            }
            cluster::measure(&plan, size).await;
        }
        if plan.asks("watch") {
            watchers::measure(&plan).await;
        }
        if plan.asks("catch-up") {
            catch_up::measure(&plan).await;
        }
        if plan.asks("memory") {
            memory::measure(&plan).await;
        }
        if plan.asks("stall") {
            stall::measure(&plan).await;
        }
        if plan.asks("registry") {
            registry::rates(&plan).await;
        }
        if plan.asks("tokens") {
            registry::memory(&plan).await;
        }
        if plan.asks("herd") {
            herd::herd().await;
        }
        if plan.asks("polls") {
            herd::polls().await;
        }
        if plan.asks("million") {
            million::measure(&plan).await;
        }
        if plan.asks("dns") {
            tokio::task::block_in_place(|| dns::measure(&plan));
        }
    });
}
