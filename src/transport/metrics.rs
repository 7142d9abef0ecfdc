use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, exponential_buckets,
};

use crate::membership::MemberId;

/// What is counted of the traffic between members, under etcd's names. Counters are looked up once for
/// each peer, when the way to it or from it is opened.
#[derive(Debug, Clone)]
pub struct PeerMetrics {
    local: MemberId,
    sent_bytes: IntCounterVec,
    received_bytes: IntCounterVec,
    sent_failures: IntCounterVec,
    round_trip: HistogramVec,
    active: IntGaugeVec,
    disconnected: IntCounterVec,
    snapshots_sent: IntCounterVec,
    snapshots_failed: IntCounterVec,
    snapshots_received: IntCounterVec,
}

/// The counters of the way to one peer.
#[derive(Debug)]
pub(super) struct LinkMetrics {
    pub(super) sent_bytes: IntCounter,
    pub(super) sent_failures: IntCounter,
    pub(super) round_trip: Histogram,
    pub(super) active: IntGauge,
    pub(super) disconnected: IntCounter,
}

impl PeerMetrics {
    pub(super) fn new(local: MemberId) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels)
        };
        let buckets = exponential_buckets(0.0001, 2.0, 16)?;
        let ends = ["Local", "Remote"];
        let round_trip = HistogramOpts::new(
            "etcd_network_peer_round_trip_time_seconds",
            "Time until a peer answers.",
        );
        Ok(Self {
            local,
            sent_bytes: counter(
                "etcd_network_peer_sent_bytes_total",
                "Bytes of messages sent to peers.",
                &["To"],
            )?,
            received_bytes: counter(
                "etcd_network_peer_received_bytes_total",
                "Bytes of messages received from peers.",
                &["From"],
            )?,
            sent_failures: counter(
                "etcd_network_peer_sent_failures_total",
                "Messages that were dropped, and streams that broke.",
                &["To"],
            )?,
            round_trip: HistogramVec::new(round_trip.buckets(buckets), &["To"])?,
            active: IntGaugeVec::new(
                Opts::new("etcd_network_active_peers", "Peers that are connected."),
                &ends,
            )?,
            disconnected: counter(
                "etcd_network_disconnected_peers_total",
                "Connections to peers that were lost.",
                &ends,
            )?,
            snapshots_sent: counter(
                "etcd_network_snapshot_send_success",
                "Snapshots delivered to peers.",
                &["To"],
            )?,
            snapshots_failed: counter(
                "etcd_network_snapshot_send_failures",
                "Snapshots that did not reach a peer.",
                &["To"],
            )?,
            snapshots_received: counter(
                "etcd_network_snapshot_receive_success",
                "Snapshots received from peers.",
                &["From"],
            )?,
        })
    }

    /// Shows the counters on `/metrics`.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.sent_bytes.clone()))?;
        registry.register(Box::new(self.received_bytes.clone()))?;
        registry.register(Box::new(self.sent_failures.clone()))?;
        registry.register(Box::new(self.round_trip.clone()))?;
        registry.register(Box::new(self.active.clone()))?;
        registry.register(Box::new(self.disconnected.clone()))?;
        registry.register(Box::new(self.snapshots_sent.clone()))?;
        registry.register(Box::new(self.snapshots_failed.clone()))?;
        registry.register(Box::new(self.snapshots_received.clone()))
    }

    /// Bytes received from one peer.
    pub fn received_bytes(&self, from: MemberId) -> IntCounter {
        self.received_bytes.with_label_values(&[from.to_string()])
    }

    /// Notes a snapshot that has arrived whole.
    pub fn snapshot_received(&self, from: MemberId) {
        self.snapshots_received.with_label_values(&[from.to_string()]).inc();
    }

    pub(super) fn snapshot_sent(&self, to: MemberId, delivered: bool) {
        let counter = if delivered { &self.snapshots_sent } else { &self.snapshots_failed };
        counter.with_label_values(&[to.to_string()]).inc();
    }

    pub(super) fn link(&self, to: MemberId) -> LinkMetrics {
        let (local, to) = (self.local.to_string(), to.to_string());
        let ends = [&local, &to];
        LinkMetrics {
            sent_bytes: self.sent_bytes.with_label_values(&[&to]),
            sent_failures: self.sent_failures.with_label_values(&[&to]),
            round_trip: self.round_trip.with_label_values(&[&to]),
            active: self.active.with_label_values(&ends),
            disconnected: self.disconnected.with_label_values(&ends),
        }
    }
}
