use std::time::{Duration, Instant, SystemTime};

use prometheus::{
    Histogram, IntCounter, IntGauge, Registry, exponential_buckets as exponential,
    register_histogram_vec_with_registry, register_histogram_with_registry,
    register_int_counter_with_registry, register_int_gauge_with_registry,
};

use crate::apply;
use crate::node::Error;

/// How long what happens seldom takes, and reading ranges, under etcd's names and in its buckets.
#[derive(Debug)]
pub struct Durations {
    pub(in crate::node) hash: Histogram,
    pub(in crate::node) hash_of_revision: Histogram,
    /// Snapshots sent to clients.
    pub snapshot: Histogram,
    pub(in crate::node) defragmentation: Histogram,
    pub(in crate::node) defragmenting: IntGauge,
    snapshot_saved: Histogram,
    snapshot_synced: Histogram,
    ranges: Histogram,
    ranges_failed: Histogram,
    compaction_millis: Histogram,
    compaction_index_millis: Histogram,
    compaction_pause_millis: Histogram,
    compaction_last: IntGauge,
    compaction_keys: IntCounter,
}

impl Durations {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            register_histogram_with_registry!(name, help, buckets, registry)
        };
        let gauge =
            |name: &str, help: &str| register_int_gauge_with_registry!(name, help, registry);
        let ranges = register_histogram_vec_with_registry!(
            "etcd_server_range_duration_seconds",
            "Time to read a range once it may be read.",
            &["success"],
            exponential(0.0001, 2.0, 20)?,
            registry
        )?;
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
            snapshot_saved: histogram(
                "etcd_snap_db_save_total_duration_seconds",
                "Time until a snapshot that a peer sent was on disk.",
                exponential(0.1, 2.0, 10)?,
            )?,
            snapshot_synced: histogram(
                "etcd_snap_db_fsync_duration_seconds",
                "Time to sync a snapshot of which the peer has sent all.",
                exponential(0.001, 2.0, 14)?,
            )?,
            ranges: ranges.with_label_values(&["true"]),
            ranges_failed: ranges.with_label_values(&["false"]),
            compaction_millis: histogram(
                "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
                "Time to remove what a compaction drops.",
                exponential(100.0, 2.0, 14)?,
            )?,
            compaction_index_millis: histogram(
                "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
                "Time for which one step of a compaction through the index holds the state.",
                exponential(0.5, 2.0, 14)?,
            )?,
            compaction_pause_millis: histogram(
                "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
                "Time for which one step of a compaction that removes records holds the state.",
                exponential(1.0, 2.0, 13)?,
            )?,
            compaction_last: gauge(
                "etcd_debugging_mvcc_db_compaction_last",
                "Unix time of the last compaction, 0 when there was none since the start.",
            )?,
            compaction_keys: register_int_counter_with_registry!(
                "etcd_debugging_mvcc_db_compaction_keys_total",
                "Records removed by compaction.",
                registry
            )?,
        })
    }

    /// Notes a range; who may not read it began none.
    pub fn range<T>(&self, read: &Result<T, Error>, took: Duration) {
        match read {
            Err(Error::Apply(apply::Error::Auth(_))) => {}
            Ok(_) => self.ranges.observe(took.as_secs_f64()),
            Err(_) => self.ranges_failed.observe(took.as_secs_f64()),
        }
    }

    /// Notes a snapshot that a peer has sent, and how much of the time was for the disk alone.
    pub(in crate::node) fn snapshot_saved(&self, took: Duration, synced_in: Duration) {
        self.snapshot_saved.observe(took.as_secs_f64());
        self.snapshot_synced.observe(synced_in.as_secs_f64());
    }

    /// Notes one step of a compaction through the index.
    pub(in crate::node) fn compacted_index(&self, took: Duration) {
        self.compaction_index_millis.observe(took.as_secs_f64() * 1000.0);
    }

    /// Notes one step of a compaction that removed records.
    pub(in crate::node) fn compacted_some(&self, took: Duration, removed: u64) {
        self.compaction_pause_millis.observe(took.as_secs_f64() * 1000.0);
        self.compaction_keys.inc_by(removed);
    }

    /// Notes that nothing is left to be removed.
    pub(in crate::node) fn compacted(&self, begun: Instant) {
        self.compaction_millis.observe(begun.elapsed().as_secs_f64() * 1000.0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.compaction_last.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }
}
