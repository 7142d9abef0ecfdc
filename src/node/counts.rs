use std::sync::atomic::{AtomicI64, Ordering};

use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

use crate::mvcc::Event;

/// What a node counts while it works, under etcd's names. All of it is atomics, touched where the
/// thing happens; nothing here waits or allocates.
#[derive(Debug)]
pub struct Counts {
    puts: IntCounter,
    deletes: IntCounter,
    transactions: IntCounter,
    pub(super) put_bytes: AtomicI64,
    put_bytes_shown: IntGauge,
    /// Ranges read for clients.
    pub ranges: IntCounter,
    /// Events sent to watchers of this member.
    pub events: IntCounter,
    /// Watchers of this member's clients, in step or not.
    pub watchers: IntGauge,
    /// Streams that watchers are on.
    pub watch_streams: IntGauge,
    slow_watchers: IntGauge,
    pub(super) leases_granted: IntCounter,
    pub(super) leases_revoked: IntCounter,
    pub(super) leases_renewed: IntCounter,
    pub(super) leases_expired: IntCounter,
    pub(super) promotions: IntCounter,
    pub(super) reads_failed: IntCounter,
    pub(super) reads_slow: IntCounter,
    pub(super) applies_slow: IntCounter,
    pub(super) late_heartbeats: IntCounter,
    pub(super) log_bytes: IntGauge,
    pub(super) installing: IntGauge,
    /// Probes of `/health` that went well, and those that did not.
    pub healthy: IntCounter,
    pub unhealthy: IntCounter,
    known_peers: IntGaugeVec,
    descriptors_used: IntGauge,
    descriptors_limit: IntGauge,
}

impl Counts {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let known_peers = IntGaugeVec::new(
            Opts::new("etcd_network_known_peers", "Members that this member knows."),
            &["Local", "Remote"],
        )?;
        registry.register(Box::new(known_peers.clone()))?;
        Ok(Self {
            puts: counter("etcd_mvcc_put_total", "Puts applied.")?,
            deletes: counter("etcd_mvcc_delete_total", "Keys deleted.")?,
            transactions: counter("etcd_mvcc_txn_total", "Transactions of several operations.")?,
            put_bytes: AtomicI64::new(0),
            put_bytes_shown: gauge(
                "etcd_debugging_mvcc_total_put_size_in_bytes",
                "Bytes of keys and values put.",
            )?,
            ranges: counter("etcd_mvcc_range_total", "Ranges read for clients.")?,
            events: counter("etcd_debugging_mvcc_events_total", "Events sent to watchers.")?,
            watchers: gauge("etcd_debugging_mvcc_watcher_total", "Watchers.")?,
            watch_streams: gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams.")?,
            slow_watchers: gauge(
                "etcd_debugging_mvcc_slow_watcher_total",
                "Watchers that catch up from the store.",
            )?,
            leases_granted: counter("etcd_debugging_lease_granted_total", "Leases granted.")?,
            leases_revoked: counter("etcd_debugging_lease_revoked_total", "Leases revoked.")?,
            leases_renewed: counter(
                "etcd_debugging_lease_renewed_total",
                "Renewals seen by the leader.",
            )?,
            leases_expired: counter(
                "etcd_debugging_server_lease_expired_total",
                "Leases revoked because their time was up.",
            )?,
            promotions: counter(
                "etcd_server_learner_promote_successes",
                "Learners promoted while this member knew of it.",
            )?,
            reads_failed: counter(
                "etcd_server_read_indexes_failed_total",
                "Linearizable reads that failed.",
            )?,
            reads_slow: counter(
                "etcd_server_slow_read_indexes_total",
                "Read-index rounds without an answer in time.",
            )?,
            applies_slow: counter(
                "etcd_server_slow_apply_total",
                "Entries that took longer to apply than --warning-apply-duration.",
            )?,
            late_heartbeats: counter(
                "etcd_server_heartbeat_send_failures_total",
                "Heartbeats that the leader sent late, likely because it is overloaded.",
            )?,
            log_bytes: gauge("etcd_disk_wal_write_bytes_total", "Bytes written to the log.")?,
            installing: gauge(
                "etcd_server_snapshot_apply_in_progress_total",
                "1 while a received snapshot is being installed.",
            )?,
            healthy: counter("etcd_server_health_success", "Health checks passed.")?,
            unhealthy: counter("etcd_server_health_failures", "Health checks failed.")?,
            known_peers,
            descriptors_used: gauge("os_fd_used", "File descriptors in use.")?,
            descriptors_limit: gauge("os_fd_limit", "File descriptors that may be in use.")?,
        })
    }

    /// Notes the changes of one applied request. `several` says that it was a transaction of more
    /// than one operation.
    pub(super) fn changed(&self, events: &[Event], several: bool) {
        let mut puts = 0;
        let mut bytes = 0;
        for event in events.iter().filter(|event| !event.deleted) {
            puts += 1;
            bytes += event.kv.key.len() + event.kv.value.len();
        }
        if puts > 0 {
            self.puts.inc_by(puts);
            self.put_bytes.fetch_add(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
        let deletes = events.len() as u64 - puts;
        if deletes > 0 {
            self.deletes.inc_by(deletes);
        }
        if several {
            self.transactions.inc();
        }
    }

    /// Fills in what is known only when somebody asks.
    pub(super) fn refresh(&self, in_step: usize, local: &str, peers: &[String]) {
        self.put_bytes_shown.set(self.put_bytes.load(Ordering::Relaxed));
        let in_step = i64::try_from(in_step).unwrap_or(i64::MAX);
        self.slow_watchers.set((self.watchers.get() - in_step).max(0));
        self.known_peers.reset();
        for peer in peers {
            self.known_peers.with_label_values(&[local, peer]).set(1);
        }
        let used = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        self.descriptors_used.set(i64::try_from(used).unwrap_or(i64::MAX));
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limit = limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(i64::MAX);
        self.descriptors_limit.set(limit);
    }
}
