//! The level of etcd that clients may take this node for. The only place that names it.

use prometheus::{IntGaugeVec, Opts, Registry};

use crate::node::Handle;

/// What `/version` and `Status` call the server.
pub const SERVER: &str = "3.6.14";
/// The cluster version: no member may do what this level does not know.
pub const CLUSTER: &str = "3.6.0";
/// The version of the data in a snapshot.
pub const STORAGE: &str = "3.6.0";

/// The cluster version as it is now: that of the release to which the cluster is on its way back, if it is.
pub(super) fn cluster(handle: &Handle) -> String {
    let state = handle.state();
    let downgrade = state.downgrade();
    if downgrade.enabled { downgrade.target_version.clone() } else { CLUSTER.to_owned() }
}

/// Puts the versions on `/metrics`, as labels of gauges that are 1.
pub(super) fn show(registry: &Registry) {
    let minor = CLUSTER.rsplit_once('.').map_or(CLUSTER, |(minor, _)| minor);
    for (name, label, version) in [
        ("etcd_server_version", "server_version", SERVER),
        ("etcd_cluster_version", "cluster_version", minor),
    ] {
        let opts = Opts::new(name, "1 for the version in the label.");
        let gauge = IntGaugeVec::new(opts, &[label]).expect("name and label are well-formed");
        gauge.with_label_values(&[version]).set(1);
        // Only a second router of one node finds the name taken, and it would show the same.
        drop(registry.register(Box::new(gauge)));
    }
}
