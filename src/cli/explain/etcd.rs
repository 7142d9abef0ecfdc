/// Words that etcd writes into its log when it does not start, and what they mean.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) words: &'static str,
    pub(super) meaning: &'static str,
    pub(super) cure: &'static str,
}

const fn known(words: &'static str, meaning: &'static str, cure: &'static str) -> Known {
    Known { words, meaning, cure }
}

/// What etcd says after every failure of a discovery, in the line of the reason or after it.
pub(super) const AFTER_ALL: &str = "discovery token was already used";

/// The texts of etcd 3.4 to 3.6, in the order of a start.
pub(super) const WORDS: &[Known] = &[
    known(
        "multiple discovery or bootstrap flags are set",
        "More than one way into a cluster is configured, as a flag or in the environment.",
        "Keep one of --initial-cluster, --discovery and --discovery-srv; look for ETCD_ variables too.",
    ),
    known(
        "discovery URL should not be set when joining existing initial cluster",
        "Discovery makes new clusters; this node is to join an old one.",
        "Drop --discovery, or set --initial-cluster-state=new.",
    ),
    known(
        "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        "etcd does not guess what clients should use.",
        "Set --advertise-client-urls to an address that clients reach.",
    ),
    known(
        "first path segment in URL cannot contain colon",
        "A URL has no scheme.",
        "Write http:// or https:// in front of it.",
    ),
    known(
        "URL must not contain a path",
        "A peer or client URL has a path, perhaps only a slash at its end.",
        "Write scheme, host and port and nothing else.",
    ),
    known(
        "URL address does not have the form",
        "A URL has no port.",
        "Add the port; peers usually use 2380.",
    ),
    known(
        "URL scheme must be http, https, unix, or unixs",
        "A URL is empty or has another scheme.",
        "Write http:// or https:// in front of host and port.",
    ),
    known(
        "bind: address already in use",
        "Another program listens on that address.",
        "Stop it, or choose other --listen-peer-urls and --listen-client-urls.",
    ),
    known(
        "bind: cannot assign requested address",
        "This machine does not have the address to listen on.",
        "Listen on 0.0.0.0 or an address of this machine; advertise the one that others know.",
    ),
    known(
        "discovery token is ignored since cluster already initialized",
        "The data directory has a log, so the node restarts from it.",
        "Nothing, if it is meant to restart; an empty --data-dir makes a new node.",
    ),
    known(
        "discovery token ignored since a cluster has already been initialized",
        "The data directory has a log, so the node restarts from it.",
        "Nothing, if it is meant to restart; an empty --data-dir makes a new node.",
    ),
    known(
        "bad discovery endpoint",
        "The discovery URL leads to something that is no token: a wrong path, a proxy's page, a store without the v2 API.",
        "Open the URL with curl; it must be what /new printed.",
    ),
    known(
        "100: Key not found",
        "The token is unknown to the service: mistyped, expired, revoked, or made by another service.",
        "`quorate doctor token URL` says which; make a new token with /new.",
    ),
    known(
        "size key not found",
        "The token is unknown to the service: mistyped, expired, revoked, or made by another service.",
        "`quorate doctor token URL` says which; make a new token with /new.",
    ),
    known("size key is bad", "The size of the token is no number.", "Make the token with /new."),
    known(
        "found duplicate id",
        "A member with the id of this node is registered: it was started before with this token, or two nodes advertise the same URLs.",
        "Give every node its own peer URLs. A node that lost its data is replaced by member remove and member add.",
    ),
    known(
        "found duplicate name",
        "Two members have one name, or a registration was changed while others waited.",
        "Give every node its own --name and start all of them with a new token.",
    ),
    known(
        "discovery: cluster is full",
        "The token had all its members before this node came.",
        "Take a new token for a new cluster; add a member to a running one with `etcdctl member add`.",
    ),
    known(
        "discovery cluster is full, falling back to proxy",
        "The token had all its members before this node came; it runs as a v2 proxy and stores nothing.",
        "Take a new token for a new cluster, or add the node with `etcdctl member add` and an empty --data-dir.",
    ),
    known(
        "has previously registered with discovery service token",
        "This member registered with this token before, and its data directory has no cluster.",
        "If a cluster has formed, replace the member by member remove and member add; if none has, start all members with a new token.",
    ),
    known(
        "context deadline exceeded",
        "The service accepted the connection and did not answer in time, or a firewall drops the packets.",
        "curl the discovery URL from this machine; look for a proxy or a firewall in between.",
    ),
    known(
        "connect: connection refused",
        "Nothing listens there, yet. etcd tries again by itself.",
        "Check host and port; is the service, or the other member, running?",
    ),
    known(
        "no route to host",
        "The network has no way to that address.",
        "Check the address, and that both machines share a network.",
    ),
    known(
        "certificate signed by unknown authority",
        "This machine does not trust the certificate of the other side.",
        "Add the CA to the system's store for discovery, or give --peer-trusted-ca-file for peers.",
    ),
    known(
        "remote error: tls: bad certificate",
        "The other side did not accept the certificate of this node.",
        "Compare both --trusted-ca-file settings, and the names and addresses in the certificate.",
    ),
    known(
        "client sent an HTTP request to an HTTPS server",
        "One side speaks http where the other expects https.",
        "Use the same scheme in all URLs of the cluster.",
    ),
    known(
        "malformed HTTP response",
        "An http:// URL leads to a port that speaks TLS, or to one that speaks no HTTP at all.",
        "If the other side has a certificate, write https:// in the URL; else compare host and port.",
    ),
    known(
        "first record does not look like a TLS handshake",
        "An https:// URL leads to a port that speaks plain HTTP.",
        "Write http:// in the URL, or give the other side a certificate.",
    ),
    known(
        "server gave HTTP response to HTTPS client",
        "An https:// URL leads to a port that speaks plain HTTP.",
        "Write http:// in the URL, or give the other side a certificate.",
    ),
    known(
        "request cluster ID mismatch",
        "A peer belongs to another cluster: members were started with different lists, tokens, or spellings of the discovery URL.",
        "Start all members with the very same bootstrap settings and empty data directories; compare ids with `quorate predict`.",
    ),
    known(
        "cluster ID mismatch",
        "A peer belongs to another cluster: members were started with different lists, tokens, or spellings of the discovery URL.",
        "Start all members with the very same bootstrap settings and empty data directories; compare ids with `quorate predict`.",
    ),
    known(
        "couldn't find local name",
        "--initial-cluster does not have the --name of this node.",
        "Use the same name in --name and in --initial-cluster.",
    ),
    known(
        "but missing from --initial-advertise-peer-urls",
        "--initial-cluster has other URLs for this node than it advertises.",
        "Make --initial-advertise-peer-urls equal to the entry of this node, to the letter: localhost is not 127.0.0.1.",
    ),
    known(
        "but missing from --initial-cluster",
        "This node advertises a URL that --initial-cluster does not have.",
        "Make the entry of this node equal to --initial-advertise-peer-urls, to the letter.",
    ),
    known(
        "has duplicate url",
        "Two members have the same peer URL.",
        "Give every member its own --initial-advertise-peer-urls.",
    ),
    known(
        "error querying DNS SRV records",
        "No SRV record leads to members, or their names have no address.",
        "Ask the same DNS server: dig SRV _etcd-server._tcp.DOMAIN; check --discovery-srv and --discovery-srv-name.",
    ),
    known(
        "cannot find local etcd member",
        "None of the SRV records leads to a URL that this node advertises.",
        "Make host, port and scheme of --initial-advertise-peer-urls equal to a record; https belongs to _etcd-server-ssl.",
    ),
    known(
        "has scheme mismatch with expected peer",
        "The SRV record is for http and the node advertises https, or the other way round.",
        "Publish _etcd-server-ssl for https and _etcd-server for http.",
    ),
    known(
        "no such host",
        "A name has no address.",
        "Ask the DNS server of this machine for it; look into /etc/resolv.conf.",
    ),
    known(
        "server misbehaving",
        "The DNS server failed or refused the question.",
        "Ask it with dig; look into its log.",
    ),
    known(
        "member has already been bootstrapped",
        "The cluster knows this member as started, but its data directory is empty.",
        "Put its data back, or replace it: member remove, member add, then --initial-cluster-state=existing.",
    ),
    known(
        "the member has been permanently removed from the cluster",
        "Somebody removed this member; its id never comes back.",
        "Empty its data directory and add it again with `etcdctl member add`.",
    ),
    known(
        "member count is unequal",
        "--initial-cluster does not list the members that the running cluster has.",
        "Use the list that `etcdctl member add` printed.",
    ),
    known(
        "unmatched member while checking PeerURLs",
        "--initial-cluster names another URL than the running cluster has for a member.",
        "Use the list that `etcdctl member add` printed.",
    ),
    known(
        "mvcc: database space exceeded",
        "The store has reached its quota.",
        "Compact, defragment, and disarm the alarm; or raise --quota-backend-bytes.",
    ),
    known(
        "no space left on device",
        "The disk is full.",
        "Make room on the disk of the data directory.",
    ),
    known(
        AFTER_ALL,
        "etcd writes this for every failed discovery, whatever the reason.",
        "The line before it has the reason.",
    ),
];
