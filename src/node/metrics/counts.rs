use std::sync::atomic::{AtomicI64, Ordering};

use prometheus::{
    Gauge, IntCounter, IntGauge, Registry, register_gauge_with_registry,
    register_int_counter_with_registry, register_int_gauge_with_registry,
};
use rustix::process::{Resource, getrlimit};

use super::lease_counts::LeaseCounts;
use crate::apply::{Outcome, Response};
use crate::proto::etcdserverpb as pb;
use pb::response_op::Response as Answer;

/// What a node counts while it works, under etcd's names. All of it is atomics, touched where the
/// thing happens; nothing here waits or allocates.
#[derive(Debug)]
pub struct Counts {
    puts: IntCounter,
    deletes: IntCounter,
    transactions: IntCounter,
    pub(in crate::node) put_bytes: AtomicI64,
    put_bytes_shown: IntGauge,
    /// Ranges read for clients; those within transactions count as well.
    pub ranges: IntCounter,
    /// Events sent to watchers of this member.
    pub events: IntCounter,
    /// Watchers of this member's clients, in step or not.
    pub watchers: IntGauge,
    /// Streams that watchers are on.
    pub watch_streams: IntGauge,
    slow_watchers: IntGauge,
    pub(in crate::node) leases: LeaseCounts,
    pub(in crate::node) promotions: IntCounter,
    pub(in crate::node) reads_failed: IntCounter,
    pub(in crate::node) reads_slow: IntCounter,
    pub(in crate::node) applies_slow: IntCounter,
    pub(in crate::node) late_heartbeats: IntCounter,
    pub(in crate::node) log_bytes: IntGauge,
    pub(in crate::node) installing: IntGauge,
    /// Probes of `/health` that went well, and those that did not.
    pub healthy: IntCounter,
    pub unhealthy: IntCounter,
    descriptors_used: IntGauge,
    descriptors_limit: IntGauge,
    /// A float: without a limit it is the largest number of 64 bits.
    memory_limit: Gauge,
}

impl Counts {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge =
            |name: &str, help: &str| register_int_gauge_with_registry!(name, help, registry);
        let counter =
            |name: &str, help: &str| register_int_counter_with_registry!(name, help, registry);
        Ok(Self {
            puts: counter("etcd_mvcc_put_total", "Puts applied.")?,
            deletes: counter(
                "etcd_mvcc_delete_total",
                "Deletions applied, of one key or of a range.",
            )?,
            transactions: counter("etcd_mvcc_txn_total", "Transactions of several operations.")?,
            put_bytes: AtomicI64::new(0),
            put_bytes_shown: gauge(
                "etcd_debugging_mvcc_total_put_size_in_bytes",
                "Bytes of keys and values put.",
            )?,
            ranges: counter(
                "etcd_mvcc_range_total",
                "Ranges read for clients, those within transactions included.",
            )?,
            events: counter("etcd_debugging_mvcc_events_total", "Events sent to watchers.")?,
            watchers: gauge("etcd_debugging_mvcc_watcher_total", "Watchers.")?,
            watch_streams: gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams.")?,
            slow_watchers: gauge(
                "etcd_debugging_mvcc_slow_watcher_total",
                "Watchers that catch up from the store.",
            )?,
            leases: LeaseCounts::new(registry)?,
            promotions: counter(
                "etcd_server_learner_promote_successes",
                "Learners promoted while this member led.",
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
            descriptors_used: gauge("os_fd_used", "File descriptors in use.")?,
            descriptors_limit: gauge("os_fd_limit", "File descriptors that may be in use.")?,
            memory_limit: register_gauge_with_registry!(
                "process_virtual_memory_max_bytes",
                "Bytes of virtual memory that may be in use.",
                registry
            )?,
        })
    }

    /// Notes one applied request: what it put, and its operations as etcd counts them.
    pub(in crate::node) fn applied(&self, outcome: &Outcome) {
        let mut puts = 0;
        let mut bytes = 0;
        for event in outcome.events.iter().filter(|event| !event.deleted) {
            puts += 1;
            bytes += event.kv.key.len() + event.kv.value.len();
        }
        if puts > 0 {
            self.puts.inc_by(puts);
            self.put_bytes.fetch_add(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
        let (deletes, ranges) = match &outcome.response {
            Ok(Response::Put(_)) => (0, 0),
            Ok(Response::DeleteRange(_)) => (1, 0),
            Ok(Response::Txn(response)) => deletes_and_ranges(response),
            // A lease that ends takes its keys along one by one.
            _ => (outcome.events.len() as u64 - puts, 0),
        };
        if deletes > 0 {
            self.deletes.inc_by(deletes);
        }
        if ranges > 0 {
            self.ranges.inc_by(ranges);
        }
        if puts + deletes + ranges > 1 {
            self.transactions.inc();
        }
    }

    /// Notes a transaction that only read.
    pub fn read(&self, ranges: u64) {
        self.ranges.inc_by(ranges);
        if ranges > 1 {
            self.transactions.inc();
        }
    }

    /// Fills in what is known only when somebody asks.
    pub(in crate::node) fn refresh(&self, in_step: usize) {
        self.put_bytes_shown.set(self.put_bytes.load(Ordering::Relaxed));
        let in_step = i64::try_from(in_step).unwrap_or(i64::MAX);
        self.slow_watchers.set((self.watchers.get() - in_step).max(0));
        let used = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        self.descriptors_used.set(i64::try_from(used).unwrap_or(i64::MAX));
        let limit = |resource| getrlimit(resource).current;
        let descriptors = limit(Resource::Nofile).and_then(|limit| i64::try_from(limit).ok());
        self.descriptors_limit.set(descriptors.unwrap_or(i64::MAX));
        self.memory_limit.set(limit(Resource::As).unwrap_or(u64::MAX) as f64);
    }
}

/// The deletions and the ranges of a transaction, those of nested ones included.
fn deletes_and_ranges(response: &pb::TxnResponse) -> (u64, u64) {
    let mut sum = (0, 0);
    for answer in &response.responses {
        let (deletes, ranges) = match &answer.response {
            Some(Answer::ResponseDeleteRange(_)) => (1, 0),
            Some(Answer::ResponseRange(_)) => (0, 1),
            Some(Answer::ResponseTxn(nested)) => deletes_and_ranges(nested),
            Some(Answer::ResponsePut(_)) | None => (0, 0),
        };
        sum = (sum.0 + deletes, sum.1 + ranges);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mvcc::{Event, KeyValue};

    fn answer(response: Answer) -> pb::ResponseOp {
        pb::ResponseOp { response: Some(response) }
    }

    /// As etcd 3.6.14 does (`server/storage/mvcc/metrics_txn.go`): operations, not keys.
    #[test]
    fn operations_are_counted_as_in_etcd() {
        let range = || answer(Answer::ResponseRange(pb::RangeResponse::default()));
        let delete = || answer(Answer::ResponseDeleteRange(pb::DeleteRangeResponse::default()));
        let txn = |responses| pb::TxnResponse { responses, ..Default::default() };
        let put = Event { deleted: false, kv: KeyValue::default() };
        let gone = || Event { deleted: true, kv: KeyValue::default() };
        let counts = Counts::new(&Registry::new()).unwrap();
        let all = || {
            let counters = [&counts.puts, &counts.deletes, &counts.ranges, &counts.transactions];
            counters.map(IntCounter::get)
        };
        let apply = |response, events: &[Event]| {
            let events = events.to_vec();
            let (response, op, lease, auth) = (Ok(response), "any", None, None);
            counts.applied(&Outcome { id: 1, op, response, events, revision: 2, lease, auth });
            all()
        };
        assert_eq!(apply(Response::Put(pb::PutResponse::default()), &[put]), [1, 0, 0, 0]);
        let deleted = || Response::DeleteRange(pb::DeleteRangeResponse::default());
        assert_eq!(apply(deleted(), &[gone(), gone(), gone()]), [1, 1, 0, 0], "three keys");
        assert_eq!(apply(deleted(), &[]), [1, 2, 0, 0], "none");
        assert_eq!(apply(Response::Txn(txn(vec![range()])), &[]), [1, 2, 1, 0]);
        let nested = answer(Answer::ResponseTxn(txn(vec![range(), delete()])));
        assert_eq!(apply(Response::Txn(txn(vec![nested])), &[gone()]), [1, 3, 2, 1]);
        let revoked = Response::LeaseRevoke(pb::LeaseRevokeResponse::default());
        assert_eq!(apply(revoked, &[gone(), gone()]), [1, 5, 2, 2]);
        counts.read(2);
        assert_eq!(all(), [1, 5, 4, 3]);
        counts.read(1);
        assert_eq!(all(), [1, 5, 5, 3]);
    }
}
