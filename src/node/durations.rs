use std::time::{Duration, Instant, SystemTime};

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntGauge, Registry, exponential_buckets as exponential,
};

/// How long what happens seldom takes, under etcd's names and in its buckets.
#[derive(Debug)]
pub struct Durations {
    pub(super) hash: Histogram,
    pub(super) hash_of_revision: Histogram,
    /// Snapshots sent to clients.
    pub snapshot: Histogram,
    pub(super) defragmentation: Histogram,
    pub(super) defragmenting: IntGauge,
    compaction_millis: Histogram,
    compaction_pause_millis: Histogram,
    compaction_last: IntGauge,
    compaction_keys: IntCounter,
}

impl Durations {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
            registry.register(Box::new(histogram.clone())).map(|()| histogram)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        let compaction_keys = IntCounter::new(
            "etcd_debugging_mvcc_db_compaction_keys_total",
            "Records removed by compaction.",
        )?;
        registry.register(Box::new(compaction_keys.clone()))?;
        Ok(Self {
            hash: histogram(
                "etcd_mvcc_hash_duration_seconds",
                "Time to hash all that a snapshot would hold.",
                exponential(0.01, 2.0, 15)?,
            )?,
            hash_of_revision: histogram(
                "etcd_mvcc_hash_rev_duration_seconds",
                "Time to hash the records up to a revision.",
                exponential(0.01, 2.0, 15)?,
            )?,
            snapshot: histogram(
                "etcd_disk_backend_snapshot_duration_seconds",
                "Time to send a snapshot to a client.",
                exponential(0.01, 2.0, 17)?,
            )?,
            defragmentation: histogram(
                "etcd_disk_backend_defrag_duration_seconds",
                "Time to defragment the store.",
                exponential(0.1, 2.0, 13)?,
            )?,
            defragmenting: gauge(
                "etcd_disk_defrag_inflight",
                "1 while the store is being defragmented.",
            )?,
            compaction_millis: histogram(
                "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
                "Time to remove what a compaction drops.",
                exponential(100.0, 2.0, 14)?,
            )?,
            compaction_pause_millis: histogram(
                "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
                "Time for which one step of a compaction holds the state.",
                exponential(1.0, 2.0, 13)?,
            )?,
            compaction_last: gauge(
                "etcd_debugging_mvcc_db_compaction_last",
                "Unix time of the last compaction, 0 when there was none since the start.",
            )?,
            compaction_keys,
        })
    }

    /// Notes one step of a compaction.
    pub(super) fn compacted_some(&self, took: Duration, removed: u64) {
        self.compaction_pause_millis.observe(took.as_secs_f64() * 1000.0);
        self.compaction_keys.inc_by(removed);
    }

    /// Notes that nothing is left to be removed.
    pub(super) fn compacted(&self, begun: Instant) {
        self.compaction_millis.observe(begun.elapsed().as_secs_f64() * 1000.0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.compaction_last.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }
}
