//! A static start, asked about without starting: the same rules, without the patience of a node that
//! waits for its DNS, and with a reason wherever nobody answered.

use std::time::Duration;

use super::{Error, PeerList, PeerMember, Request, Silence, existing, http, peers, static_list};
use crate::membership::{InitialCluster, PeerUrl};
use crate::transport::tls::TlsClient;

/// The own name must be listed.
pub fn own_name(request: &Request, list: &InitialCluster) -> Result<(), Error> {
    Ok(static_list::check_name(request, list)?)
}

/// The own entry must lead where this node says that it is.
pub async fn own_urls(request: &Request, list: &InitialCluster) -> Result<(), Error> {
    Ok(static_list::check_urls(request, list, static_list::look_up).await?)
}

/// A node with these flags must not found what runs already.
pub fn is_new(request: &Request, list: &InitialCluster, running: &PeerList) -> Result<(), Error> {
    Ok(static_list::check_new(request, list, running)?)
}

/// Every member of the cluster must be listed; the one that is this node.
pub async fn place_among(
    request: &Request,
    list: &InitialCluster,
    running: &PeerList,
) -> Result<PeerMember, Error> {
    Ok(existing::match_members(request, list, running, static_list::look_up).await?)
}

/// Asks one member who is in its cluster, and of which program it is.
pub async fn ask(
    peer: &PeerUrl,
    tls: Option<&TlsClient>,
    limit: Duration,
) -> Result<(PeerList, Program), Silence> {
    let http = http::client(None, None, tls).map_err(|error| Silence::of(&error, peer))?;
    let list = peers::ask(&http, peer, limit).await?;
    let program = match peers::is_etcd(&http, peer, limit).await {
        true => Program::Etcd,
        false => Program::Quorate,
    };
    Ok((list, program))
}

/// Whose members speak to each other, and to nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    Etcd,
    Quorate,
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Etcd => "etcd",
            Self::Quorate => "quorate-node",
        })
    }
}
