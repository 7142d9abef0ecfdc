mod apply_times;
mod counts;
mod durations;
mod labelled;
mod lease_counts;

use std::time::Duration;

use prometheus::{
    Encoder as _, Histogram, IntCounter, IntGauge, Registry, TextEncoder, exponential_buckets,
    register_histogram_with_registry, register_int_counter_with_registry,
    register_int_gauge_vec_with_registry, register_int_gauge_with_registry,
};

use crate::node::{Feature, Status};
use crate::raft::Role;
use crate::transport::Identity;

pub(super) use apply_times::ApplyTimes;
pub(super) use counts::Counts;
pub(super) use durations::Durations;
pub(super) use labelled::Labelled;

/// What a node counts, under etcd's names where etcd has the metric.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    counts: Counts,
    durations: Durations,
    labelled: Labelled,
    is_learner: IntGauge,
    quota: IntGauge,
    has_leader: IntGauge,
    is_leader: IntGauge,
    leader_changes: IntCounter,
    proposals_committed: IntGauge,
    proposals_applied: IntGauge,
    proposals_pending: IntGauge,
    proposals_failed: IntCounter,
    wal_write: Histogram,
    fsync: Histogram,
    backend_commit: Histogram,
    db_size: IntGauge,
    db_size_in_use: IntGauge,
    revision: IntGauge,
    compact_revision: IntGauge,
    keys: IntGauge,
    auth_revision: IntGauge,
}

/// Numbers that are read when somebody asks.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) status: Status,
    pub(super) pending: i64,
    pub(super) revision: i64,
    pub(super) compact_revision: i64,
    pub(super) keys: usize,
    pub(super) auth_revision: u64,
    pub(super) quota_bytes: i64,
}

impl Metrics {
    pub(super) fn new(identity: Identity, gates: &[Feature]) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let gauge =
            |name: &str, help: &str| register_int_gauge_with_registry!(name, help, registry);
        let counter =
            |name: &str, help: &str| register_int_counter_with_registry!(name, help, registry);
        let histogram = |name: &str, help: &str| {
            let buckets = exponential_buckets(0.001, 2.0, 14)?;
            register_histogram_with_registry!(name, help, buckets, registry)
        };
        let id = register_int_gauge_vec_with_registry!(
            "etcd_server_id",
            "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
            &["server_id"],
            registry
        )?;
        id.with_label_values(&[&identity.member.to_string()]).set(1);
        show(gates, &registry)?;
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process))?;
        Ok(Self {
            counts: Counts::new(&registry)?,
            durations: Durations::new(&registry)?,
            labelled: Labelled::new(&registry)?,
            is_learner: gauge("etcd_server_is_learner", "1 if this member has no vote.")?,
            quota: gauge("etcd_server_quota_backend_bytes", "Bytes the store may take.")?,
            has_leader: gauge("etcd_server_has_leader", "1 if this member knows a leader.")?,
            is_leader: gauge("etcd_server_is_leader", "1 if this member leads.")?,
            leader_changes: counter(
                "etcd_server_leader_changes_seen_total",
                "Leader changes seen by this member.",
            )?,
            proposals_committed: gauge(
                "etcd_server_proposals_committed_total",
                "Highest log index known to be committed.",
            )?,
            proposals_applied: gauge(
                "etcd_server_proposals_applied_total",
                "Highest log index applied.",
            )?,
            proposals_pending: gauge(
                "etcd_server_proposals_pending",
                "Requests of this member's clients that are not applied yet.",
            )?,
            proposals_failed: counter(
                "etcd_server_proposals_failed_total",
                "Requests that were not applied in time.",
            )?,
            wal_write: histogram(
                "etcd_disk_wal_write_duration_seconds",
                "Time to hand a batch of the log to the system.",
            )?,
            fsync: histogram(
                "etcd_disk_wal_fsync_duration_seconds",
                "Time until the disk has what was written to the log.",
            )?,
            backend_commit: histogram(
                "etcd_disk_backend_commit_duration_seconds",
                "Time the store takes to commit a batch.",
            )?,
            db_size: gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes the store takes on disk.")?,
            db_size_in_use: gauge(
                "etcd_mvcc_db_total_size_in_use_in_bytes",
                "Bytes of the store that hold data.",
            )?,
            revision: gauge("etcd_debugging_mvcc_current_revision", "Current revision.")?,
            compact_revision: gauge(
                "etcd_debugging_mvcc_compact_revision",
                "Revision up to which history is compacted.",
            )?,
            keys: gauge("etcd_debugging_mvcc_keys_total", "Keys that exist.")?,
            auth_revision: gauge("etcd_debugging_auth_revision", "Revision of users and roles.")?,
            registry,
        })
    }

    /// What is counted where it happens.
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What happens seldom, by its labels.
    pub(super) fn labelled(&self) -> &Labelled {
        &self.labelled
    }

    /// How long took what happens seldom.
    pub(super) fn durations(&self) -> &Durations {
        &self.durations
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(super) fn leader_changed(&self, known: bool) {
        self.has_leader.set(i64::from(known));
        self.leader_changes.inc();
    }

    /// Notes how long it took to write a batch of the log, and then to sync it.
    pub(super) fn synced(&self, write: Duration, sync: Duration) {
        self.wal_write.observe(write.as_secs_f64());
        self.fsync.observe(sync.as_secs_f64());
    }

    pub(super) fn backend_commit(&self, took: Duration) {
        self.backend_commit.observe(took.as_secs_f64());
    }

    pub(super) fn proposal_failed(&self) {
        self.proposals_failed.inc();
    }

    /// The text that Prometheus scrapes.
    pub(super) fn text(&self, now: &Gauges) -> String {
        let number = |index: u64| i64::try_from(index).unwrap_or(i64::MAX);
        self.has_leader.set(i64::from(now.status.leader.is_some()));
        self.is_leader.set(i64::from(now.status.role == Role::Leader));
        self.proposals_committed.set(number(now.status.commit.0));
        self.proposals_applied.set(number(now.status.applied.0));
        self.proposals_pending.set(now.pending);
        self.db_size.set(now.status.db_size);
        self.db_size_in_use.set(now.status.db_size_in_use);
        self.revision.set(now.revision);
        self.is_learner.set(i64::from(now.status.learner));
        self.quota.set(now.quota_bytes.max(0));
        self.compact_revision.set(now.compact_revision);
        self.keys.set(i64::try_from(now.keys).unwrap_or(i64::MAX));
        self.auth_revision.set(number(now.auth_revision));
        let mut text = Vec::new();
        let encoded = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        encoded.expect("the metric families are ours and well-formed");
        String::from_utf8(text).expect("the text encoder writes UTF-8")
    }
}

/// What the gates of etcd come to here.
fn show(gates: &[Feature], registry: &Registry) -> Result<(), prometheus::Error> {
    let features = register_int_gauge_vec_with_registry!(
        "etcd_server_feature_enabled",
        "1 if this member does what the gate says.",
        &["name", "stage"],
        registry
    )?;
    for gate in gates {
        features.with_label_values(&[gate.name, gate.stage]).set(i64::from(gate.enabled));
    }
    Ok(())
}
