use super::{Flag, flag};
use crate::config::node::flag::Treatment::{Alias, Honoured, Silent, Warn};
use crate::config::node::value::Kind::{Bool, Duration, Gates, Int, Text, Uint};

#[rustfmt::skip] // a table reads by its lines
pub(super) const FLAGS: &[Flag] = &[
    flag("feature-gates", Gates, "", Honoured, "Features to turn on or off, as Name=true,...: InitialCorruptCheck and CompactHashCheck. Leases are always checkpointed; the others tune what this node does not have."),
    flag("corrupt-check-time", Duration, "0s", Honoured, "Interval at which the leader compares hashes with the other members; 0 never."),
    flag("compact-hash-check-time", Duration, "1m", Honoured, "Interval at which the leader compares what compactions left."),
    flag("compaction-batch-limit", Int, "0", Honoured, "Revisions that compaction takes at a time; 0 means 2000."),
    flag("compaction-sleep-interval", Duration, "0s", Honoured, "Pause of compaction between two batches."),
    flag("watch-progress-notify-interval", Duration, "0s", Honoured, "Interval of progress notifications; 0 means 10 minutes."),
    flag("warning-apply-duration", Duration, "100ms", Honoured, "Entries that take longer to apply are logged."),
    flag("bootstrap-defrag-threshold-megabytes", Uint, "0", Silent, "Tunes a storage engine this node does not have."),
    flag("downgrade-check-time", Duration, "5s", Silent, "Interval of the downgrade monitor."),
    flag("wait-cluster-ready-timeout", Duration, "5s", Honoured, "Wait for the cluster at a start, after which clients are served anyway: what needs no quorum works then."),
];

#[rustfmt::skip] // a table reads by its lines
pub(super) const EXPERIMENTAL: &[Flag] = &[
    flag("experimental-initial-corrupt-check", Bool, "false", Honoured, "Compare hashes with other members before serving."),
    flag("experimental-corrupt-check-time", Duration, "0s", Alias("corrupt-check-time"), ""),
    flag("experimental-compact-hash-check-enabled", Bool, "false", Honoured, "As the leader, compare what each compaction left with the other members."),
    flag("experimental-compact-hash-check-time", Duration, "1m", Alias("compact-hash-check-time"), ""),
    flag("experimental-enable-lease-checkpoint", Bool, "false", Silent, "Replicate the remaining TTL of leases; always done."),
    flag("experimental-enable-lease-checkpoint-persist", Bool, "false", Silent, "Keep it on disk; always done."),
    flag("experimental-compaction-batch-limit", Int, "0", Alias("compaction-batch-limit"), ""),
    flag("experimental-compaction-sleep-interval", Duration, "0s", Alias("compaction-sleep-interval"), ""),
    flag("experimental-watch-progress-notify-interval", Duration, "0s", Alias("watch-progress-notify-interval"), ""),
    flag("experimental-warning-apply-duration", Duration, "100ms", Alias("warning-apply-duration"), ""),
    flag("experimental-warning-unary-request-duration", Duration, "300ms", Alias("warning-unary-request-duration"), ""),
    flag("experimental-txn-mode-write-with-shared-buffer", Bool, "true", Silent, "Tunes a storage engine this node does not have."),
    flag("experimental-bootstrap-defrag-threshold-megabytes", Uint, "0", Alias("bootstrap-defrag-threshold-megabytes"), ""),
    flag("experimental-downgrade-check-time", Duration, "5s", Alias("downgrade-check-time"), ""),
    flag("experimental-stop-grpc-service-on-defrag", Bool, "false", Silent, "Defragmentation does not stop this node."),
    flag("experimental-snapshot-catchup-entries", Uint, "5000", Alias("snapshot-catchup-entries"), "").at("experimental-snapshot-catch-up-entries"),
    flag("experimental-memory-mlock", Bool, "false", Alias("memory-mlock"), ""),
    flag("experimental-peer-skip-client-san-verification", Bool, "false", Alias("peer-skip-client-san-verification"), ""),
    flag("experimental-max-learners", Int, "1", Alias("max-learners"), ""),
    flag("experimental-wait-cluster-ready-timeout", Duration, "5s", Alias("wait-cluster-ready-timeout"), ""),
    flag("experimental-enable-distributed-tracing", Bool, "false", Alias("enable-distributed-tracing"), ""),
    flag("experimental-distributed-tracing-address", Text, "localhost:4317", Alias("distributed-tracing-address"), ""),
    flag("experimental-distributed-tracing-service-name", Text, "etcd", Alias("distributed-tracing-service-name"), ""),
    flag("experimental-distributed-tracing-instance-id", Text, "", Alias("distributed-tracing-instance-id"), ""),
    flag("experimental-distributed-tracing-sampling-rate", Uint, "0", Alias("distributed-tracing-sampling-rate"), ""),
    flag("experimental-enable-v2v3", Text, "", Warn("the v2 keys API is not served in this release"), "Serve the v2 keys API from v3 keys."),
    flag("experimental-backend-bbolt-freelist-type", Text, "array", Silent, "Tunes a storage engine this node does not have."),
];

#[rustfmt::skip] // a table reads by its lines
pub(super) const UNSAFE: &[Flag] = &[
    flag("unsafe-no-fsync", Bool, "false", Honoured, "Do not wait for the disk: a crash may lose what was acknowledged."),
    flag("force-new-cluster", Bool, "false", Honoured, "Take all other members out of the cluster of this data directory, for when they are lost."),
];
