use std::time::Instant;

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
    received_failures: IntCounterVec,
    sending: Transfers,
    receiving: Transfers,
}

/// What is counted of the snapshots that go one way.
#[derive(Debug, Clone)]
struct Transfers {
    done: IntCounterVec,
    failed: IntCounterVec,
    under_way: IntGaugeVec,
    durations: HistogramVec,
}

/// A snapshot on its way to a peer or from one. Dropped before it is done, it has failed.
#[derive(Debug)]
pub struct Transfer {
    began: Instant,
    finished: bool,
    done: IntCounter,
    failed: IntCounter,
    under_way: IntGauge,
    duration: Histogram,
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
            received_failures: counter(
                "etcd_network_peer_received_failures_total",
                "Streams from peers that broke.",
                &["From"],
            )?,
            sending: Transfers::new("send", "To", "sent to")?,
            receiving: Transfers::new("receive", "From", "received from")?,
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
        registry.register(Box::new(self.received_failures.clone()))?;
        self.sending.register(registry)?;
        self.receiving.register(registry)
    }

    /// Bytes received from one peer.
    pub fn received_bytes(&self, from: MemberId) -> IntCounter {
        self.received_bytes.with_label_values(&[from.to_string()])
    }

    /// Notes that the stream of a peer broke.
    pub fn broken(&self, from: MemberId) {
        self.received_failures.with_label_values(&[from.to_string()]).inc();
    }

    /// A snapshot begins to arrive.
    pub fn receiving(&self, from: MemberId) -> Transfer {
        self.receiving.begin(from)
    }

    /// A snapshot begins to be sent.
    pub(super) fn sending(&self, to: MemberId) -> Transfer {
        self.sending.begin(to)
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

impl Transfers {
    fn new(way: &str, peer: &str, went: &str) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| {
            let help = format!("{help} {went} peers.");
            Opts::new(format!("etcd_network_snapshot_{way}_{name}"), help)
        };
        let durations = opts("total_duration_seconds", "Time until a snapshot was");
        let durations = HistogramOpts::from(durations).buckets(exponential_buckets(0.1, 2.0, 10)?);
        Ok(Self {
            done: IntCounterVec::new(opts("success", "Snapshots"), &[peer])?,
            failed: IntCounterVec::new(opts("failures", "Snapshots not wholly"), &[peer])?,
            under_way: IntGaugeVec::new(opts("inflights_total", "Snapshots being"), &[peer])?,
            durations: HistogramVec::new(durations, &[peer])?,
        })
    }

    fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.done.clone()))?;
        registry.register(Box::new(self.failed.clone()))?;
        registry.register(Box::new(self.under_way.clone()))?;
        registry.register(Box::new(self.durations.clone()))
    }

    fn begin(&self, peer: MemberId) -> Transfer {
        let peer = [peer.to_string()];
        let transfer = Transfer {
            began: Instant::now(),
            finished: false,
            done: self.done.with_label_values(&peer),
            failed: self.failed.with_label_values(&peer),
            under_way: self.under_way.with_label_values(&peer),
            duration: self.durations.with_label_values(&peer),
        };
        transfer.under_way.inc();
        transfer
    }
}

impl Transfer {
    /// The receiver has all of it.
    pub fn done(mut self) {
        self.finished = true;
        self.done.inc();
        self.duration.observe(self.began.elapsed().as_secs_f64());
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.under_way.dec();
        if !self.finished {
            self.failed.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn a_snapshot_is_under_way_until_it_is_there_or_lost() {
        let (registry, metrics) = (Registry::new(), PeerMetrics::new(MemberId(1)).unwrap());
        metrics.register(&registry).unwrap();
        let numbers = || {
            let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            ["inflights_total", "success", "failures", "total_duration_seconds_count"].map(|name| {
                let series = format!("etcd_network_snapshot_receive_{name}{{From=\"2\"}} ");
                text.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok())
            })
        };
        assert_eq!(numbers(), [None; 4]);
        let (one, other) = (metrics.receiving(MemberId(2)), metrics.receiving(MemberId(2)));
        assert_eq!(numbers(), [2, 0, 0, 0].map(Some));
        one.done();
        assert_eq!(numbers(), [1, 1, 0, 1].map(Some));
        drop(other);
        assert_eq!(numbers(), [0, 1, 1, 1].map(Some));
    }
}
