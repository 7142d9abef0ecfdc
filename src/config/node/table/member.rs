use super::{Flag, flag};
use crate::config::node::flag::Treatment::{Honoured, Silent, Warn};
use crate::config::node::value::Kind::{Bool, ClientUrls, Duration, Int, Text, Uint, Urls, Word};

#[rustfmt::skip] // a table reads by its lines
pub(super) const FLAGS: &[Flag] = &[
    flag("name", Text, "default", Honoured, "Name of this member; it must stand in --initial-cluster."),
    flag("data-dir", Text, "", Honoured, "Data directory; '<name>.etcd' when not set."),
    flag("wal-dir", Text, "", Honoured, "Directory of the write-ahead log when it is to be on another disk."),
    flag("snapshot-count", Uint, "10000", Honoured, "Applied entries after which the log may be cut."),
    flag("snapshot-catchup-entries", Uint, "5000", Honoured, "Entries kept in the log for slow followers."),
    flag("heartbeat-interval", Uint, "100", Honoured, "Milliseconds between heartbeats of the leader."),
    flag("election-timeout", Uint, "1000", Honoured, "Milliseconds without a leader before an election; at least 5 heartbeats."),
    flag("initial-election-tick-advance", Bool, "true", Honoured, "Elect sooner right after the start."),
    flag("listen-peer-urls", Urls, "http://localhost:2380", Honoured, "Comma-separated URLs to listen on for members."),
    flag("listen-client-urls", ClientUrls, "http://localhost:2379", Honoured, "Comma-separated URLs to listen on for clients."),
    flag("listen-client-http-urls", ClientUrls, "", Honoured, "Comma-separated URLs to listen on for clients that speak HTTP only."),
    flag("max-snapshots", Uint, "5", Silent, "Snapshot files to keep; this node keeps what it needs."),
    flag("max-wals", Uint, "5", Silent, "Log files to keep; this node keeps what it needs."),
    flag("quota-backend-bytes", Int, "0", Honoured, "Size the store may reach; 0 means 2 GiB, less than 0 no limit."),
    flag("backend-bbolt-freelist-type", Word(&["map", "array"]), "map", Silent, "Tunes a storage engine this node does not have."),
    flag("backend-batch-interval", Duration, "0s", Silent, "Tunes a storage engine this node does not have."),
    flag("backend-batch-limit", Int, "0", Silent, "Tunes a storage engine this node does not have."),
    flag("max-txn-ops", Uint, "128", Honoured, "Operations a transaction may have."),
    flag("max-request-bytes", Uint, "1572864", Honoured, "Bytes a request may have."),
    flag("max-concurrent-streams", Uint, "4294967295", Honoured, "Streams a client may have open on one connection."),
    flag("max-learners", Int, "1", Honoured, "Learners a cluster may have."),
    flag("memory-mlock", Bool, "false", Warn("memory is not locked"), "Lock the store's pages in memory."),
    flag("grpc-keepalive-min-time", Duration, "5s", Honoured, "Shortest interval of client pings; connections with more end. 0 means 5m."),
    flag("grpc-keepalive-interval", Duration, "2h", Honoured, "Silence on a connection after which the server pings; 0 for never."),
    flag("grpc-keepalive-timeout", Duration, "20s", Honoured, "Wait for the answer to a server ping; 0 for no pings."),
    flag("socket-reuse-port", Bool, "false", Warn("the port stays exclusive to this process"), "Share the listening port.").at("socket-options.reuse-port"),
    flag("socket-reuse-address", Bool, "false", Silent, "Bind addresses in TIME_WAIT; always done.").at("socket-options.reuse-address"),
    flag("raft-read-timeout", Duration, "5s", Silent, "Tunes a peer transport this node does not have."),
    flag("raft-write-timeout", Duration, "5s", Silent, "Tunes a peer transport this node does not have."),
    flag("enable-grpc-gateway", Bool, "true", Honoured, "Serve the calls as JSON below /v3/ too."),
];
