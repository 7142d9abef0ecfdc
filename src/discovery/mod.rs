//! Three ways into a cluster: a static list, a discovery token, DNS SRV records.
//!
//! Each ends in one [`InitialCluster`], from which ids follow by arithmetic.

use crate::membership::{InitialCluster, PeerUrl};

/// How this node finds the cluster it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The name of this member.
    pub name: String,
    /// Where the others reach this member; sorted.
    pub peer_urls: Vec<PeerUrl>,
    pub way: Way,
    /// Goes into the ids of a static or SRV cluster; a token cluster takes the discovery URL.
    pub cluster_token: String,
    /// Join a running cluster whose members know of this one already.
    pub existing: bool,
}

/// The three ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    Static(InitialCluster),
    Token(TokenRequest),
    Srv(SrvRequest),
}

/// A discovery token and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// Exactly as it was given: the ids depend on its spelling.
    pub url: String,
    /// HTTP proxy for the way to the discovery service.
    pub proxy: Option<String>,
}

/// The domain that lists the members, and who to ask about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvRequest {
    pub domain: String,
    /// Suffix of the service name; empty for none.
    pub suffix: String,
    /// A DNS server instead of those of the system.
    pub resolver: Option<std::net::SocketAddr>,
}
