//! The level of etcd that clients may take this node for. The only place that names it.

use prometheus::core::Collector as _;
use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};

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

/// Puts the version of the server on `/metrics`.
pub(super) fn show(registry: &Registry) {
    let gauge = labelled("etcd_server_version", "server_version", SERVER);
    // Only a second router of one node finds the name taken, and it would show the same.
    drop(registry.register(Box::new(gauge)));
}

/// The line of `/metrics` with the cluster version, which a downgrade changes.
pub(super) fn cluster_metric(handle: &Handle) -> String {
    let version = cluster(handle);
    let minor = version.rsplit_once('.').map_or(version.as_str(), |(minor, _)| minor);
    let gauge = labelled("etcd_cluster_version", "cluster_version", minor);
    let text = TextEncoder::new().encode_to_string(&gauge.collect());
    text.expect("the metric is ours and well-formed")
}

/// A gauge that is 1 for the version in its label.
fn labelled(name: &str, label: &str, version: &str) -> IntGaugeVec {
    let opts = Opts::new(name, "1 for the version in the label.");
    let gauge = IntGaugeVec::new(opts, &[label]).expect("name and label are well-formed");
    gauge.with_label_values(&[version]).set(1);
    gauge
}
