use super::{Flag, flag};
use crate::config::node::flag::Treatment::{Honoured, Silent, Warn};
use crate::config::node::value::Kind::{Bool, ClientUrls, Duration, Text, Urls, Word};

#[rustfmt::skip] // a table reads by its lines
pub(super) const FLAGS: &[Flag] = &[
    flag("initial-advertise-peer-urls", Urls, "http://localhost:2380", Honoured, "Comma-separated URLs under which the other members reach this one."),
    flag("initial-cluster", Text, "", Honoured, "The founders as name=url,...; 'default=http://localhost:2380' when nothing is set."),
    flag("initial-cluster-state", Word(&["new", "existing"]), "new", Honoured, "'new' to found a cluster, 'existing' to join a running one."),
    flag("initial-cluster-token", Text, "etcd-cluster", Honoured, "Goes into the ids, so that clusters with equal URLs stay apart."),
    flag("advertise-client-urls", ClientUrls, "http://localhost:2379", Honoured, "Comma-separated URLs under which clients reach this member."),
    flag("strict-reconfig-check", Bool, "true", Honoured, "Refuse membership changes that would lose the quorum."),
    flag("pre-vote", Bool, "true", Honoured, "Ask before an election, so that a returning member does not disturb."),
    flag("auto-compaction-retention", Text, "0", Honoured, "History to keep: hours or a duration, or a number of revisions in mode 'revision'; 0 keeps all."),
    flag("auto-compaction-mode", Text, "periodic", Honoured, "'periodic' or 'revision'."),
    flag("enable-v2", Bool, "false", Warn("the v2 keys API is not served in this release"), "Serve the v2 keys API."),
    flag("v2-deprecation", Word(&["not-yet", "write-only", "write-only-skip-check", "write-only-drop-data", "gone"]), "write-only", Silent, "Phase of the v2 store; this node has none."),
];

#[rustfmt::skip] // a table reads by its lines
pub(super) const DISCOVERY: &[Flag] = &[
    flag("discovery", Text, "", Honoured, "Discovery URL of the token with which the members find each other."),
    flag("discovery-fallback", Word(&["proxy", "exit"]), "proxy", Honoured, "When the cluster of the --discovery token is full: become a 'proxy', or 'exit'."),
    flag("discovery-proxy", Text, "", Honoured, "HTTP proxy for discovery only."),
    flag("discovery-srv", Text, "", Honoured, "DNS domain whose SRV records name the founders."),
    flag("discovery-srv-name", Text, "", Honoured, "Suffix of the SRV service names: _etcd-server-NAME."),
    flag("discovery-resolver", Text, "", Honoured, "DNS server as address[:port] for --discovery-srv and the peers found by it, instead of resolv.conf."),
    flag("discovery-token", Text, "", Honoured, "Token of v3 discovery, which the service or an etcd v3 store at --discovery-endpoints knows.").at("discovery-config.token"),
    flag("discovery-endpoints", Text, "", Honoured, "Comma-separated gRPC endpoints of v3 discovery, as host:port, http://host:port or https://host:port.").at("discovery-config.client.endpoints"),
    flag("discovery-dial-timeout", Duration, "2s", Honoured, "Limit of a connection attempt in v3 discovery.").at("discovery-config.client.dial-timeout"),
    flag("discovery-request-timeout", Duration, "5s", Honoured, "Limit of a call in v3 discovery.").at("discovery-config.client.request-timeout"),
    flag("discovery-keepalive-time", Duration, "2s", Honoured, "Interval of pings in v3 discovery.").at("discovery-config.client.keepalive-time"),
    flag("discovery-keepalive-timeout", Duration, "6s", Honoured, "Wait for the answer to a ping in v3 discovery.").at("discovery-config.client.keepalive-timeout"),
    flag("discovery-insecure-transport", Bool, "true", Honoured, "Ask the endpoints of v3 discovery without TLS unless certificates or https:// ask for it.").at("discovery-config.client.secure.insecure-transport"),
    flag("discovery-insecure-skip-tls-verify", Bool, "false", Honoured, "Do not verify the certificates of the endpoints of v3 discovery.").at("discovery-config.client.secure.insecure-skip-tls-verify"),
    flag("discovery-cert", Text, "", Honoured, "Certificate shown to the endpoints of v3 discovery.").at("discovery-config.client.secure.cert"),
    flag("discovery-key", Text, "", Honoured, "Its key.").at("discovery-config.client.secure.key"),
    flag("discovery-cacert", Text, "", Honoured, "Authority of the endpoints of v3 discovery; those of the system without it.").at("discovery-config.client.secure.cacert"),
    flag("discovery-user", Text, "", Honoured, "User of v3 discovery in a store with authentication.").at("discovery-config.client.auth.username"),
    flag("discovery-password", Text, "", Honoured, "The password of that user.").at("discovery-config.client.auth.password"),
];
