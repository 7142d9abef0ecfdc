//! Processes, clusters and clients for the end-to-end tests; the only code here that spawns.
//!
//! Everything runs on loopback, on ports that were free, is waited for by condition with a
//! deadline, is killed when the test ends however it ends, and shows its log only when it failed.

mod browser;
mod client;
mod lan;
mod load;
mod namespace;
mod node;
mod ports;
mod process;
mod service;
mod tenant;
pub mod tools;

use std::time::{Duration, Instant};

pub use browser::Browser;
pub use client::{Client, Put, etcdctl};
pub use lan::{Lan, in_a_network_of_its_own};
pub use load::Load;
pub use namespace::Namespace;
pub use node::{
    Flavor, Node, assert_all_agree, cluster_id, initial_cluster, leader, static_cluster,
    static_cluster_with, token_cluster, token_v3_cluster,
};
pub use ports::free_port;
pub use process::Process;
pub use service::{Answer, Service, http, http_with};
pub use tenant::Tenant;

/// The longest a test waits for anything: far more than it takes, since only a failure waits so long.
pub const DEADLINE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(20);

/// Looks until there is something to see; fails with `what` when the deadline passes.
#[track_caller]
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(started.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        std::thread::sleep(LOOK);
    }
}

/// A directory that goes with the test.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("quorate-it-").tempdir().unwrap()
}
