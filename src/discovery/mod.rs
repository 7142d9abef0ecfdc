//! Three ways into a cluster: a static list, a discovery token (by v2 or v3), DNS SRV records.
//!
//! Each ends in one [`InitialCluster`], from which ids follow by arithmetic; a node that joins a
//! running cluster adopts the ids that its members have. Who is in is decided by pure functions of
//! what was read (`roll`, `srv::assemble`, `static_list::compare`); around them are the HTTP, gRPC
//! and DNS clients. The refusals have etcd's texts, because people search for them.
//!
//! What this module does not do: decide whether to look at all. A node that has a log never does;
//! that is `node::bootstrap`.

mod attempt;
mod existing;
mod http;
mod memo;
mod pace;
mod peers;
pub mod rehearsal;
mod roll;
pub mod srv;
mod static_list;
mod token;
mod token_error;
mod token_v3;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

pub use memo::Memo;
pub use pace::Pace;
pub use peers::{PeerList, PeerMember, Reach, Silence, reach};
pub use static_list::Error as StaticError;

pub use token::redact;
pub use token_v3::{Credentials, TokenV3Request};

use srv::Names;

use crate::membership::{ClusterId, DuplicateUrl, InitialCluster, PeerUrl};
use crate::transport::tls::TlsClient;

/// How this node finds the cluster it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The name of this member.
    pub name: String,
    /// Where the others reach this member; sorted.
    pub peer_urls: Vec<PeerUrl>,
    pub way: Way,
    /// Goes into the ids of a static or SRV cluster; a token cluster takes the discovery URL or token.
    pub cluster_token: String,
    /// Join a running cluster whose members know of this one already.
    pub existing: bool,
    /// For members whose URLs ask for it.
    pub tls: Option<TlsClient>,
}

/// The three ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    Static(InitialCluster),
    Token(TokenRequest),
    TokenV3(Box<TokenV3Request>),
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
    pub resolver: Option<SocketAddr>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The founders of a new cluster, and the token that goes into their ids.
    New { founders: InitialCluster, token: String },
    /// The members of a running cluster, this one among them.
    Running { cluster: ClusterId, members: Vec<PeerMember>, own: PeerMember },
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Static(#[from] static_list::Error),
    #[error(transparent)]
    Existing(#[from] existing::Error),
    #[error("failed to join discovery cluster ({0})")]
    Token(token_error::Error),
    #[error("error setting up initial cluster: {0}")]
    Srv(srv::Error),
    #[error(transparent)]
    DuplicateUrl(#[from] DuplicateUrl),
    #[error("discovery cluster {list} has duplicate url")]
    DuplicateTokenUrl { list: String },
    /// The token's cluster is complete without this node; these are the peer URLs of its members.
    #[error("failed to join discovery cluster (discovery: cluster is full)")]
    Full { peer_urls: Vec<PeerUrl> },
    #[error("the HTTP client cannot be set up")]
    Client(#[from] reqwest::Error),
}

impl Error {
    /// What a person can do about it, when the text alone does not say.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Token(error) => error.advice(),
            Self::Existing(existing::Error::Etcd { .. }) => Some(
                "start an etcd in this place, or take the place back with `etcdctl member remove`; a \
                 cluster of quorate-node begins with the data of an etcd by `etcdctl snapshot save` \
                 and `quorate-node snapshot restore`",
            ),
            Self::Full { .. } => Some(
                "add this node to the running cluster with `etcdctl member add` and start it with \
                 --initial-cluster-state existing, or ask for a token with a larger size",
            ),
            _ => None,
        }
    }

    /// Which of etcd's explanations of a failed token fits.
    pub fn token_trouble(&self) -> Option<TokenTrouble> {
        match self {
            Self::Token(token_error::Error::DuplicateId { .. }) => Some(TokenTrouble::DuplicateId),
            Self::Token(token_error::Error::DuplicateName) => Some(TokenTrouble::DuplicateName),
            Self::Token(_) | Self::Full { .. } => Some(TokenTrouble::Other),
            _ => None,
        }
    }
}

/// The explanations that etcd gives after a token failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenTrouble {
    DuplicateId,
    DuplicateName,
    Other,
}

/// Finds the cluster. `data_dir` keeps the memo of a token registration.
pub async fn discover(request: &Request, data_dir: &Path) -> Result<Found, Error> {
    let tls = request.tls.as_ref();
    let http = http::client(None, None, tls)?;
    let found = match &request.way {
        Way::Token(way) => {
            let founders = token::join(request, way, &Memo::new(data_dir), Pace::default()).await?;
            Found::New { founders, token: way.url.clone() }
        }
        Way::TokenV3(way) => {
            let founders = token_v3::join(request, way, &Memo::new(data_dir)).await?;
            Found::New { founders, token: way.token.clone() }
        }
        Way::Static(list) => {
            named(request, list.clone(), &http, static_list::resolve_patiently).await?
        }
        Way::Srv(way) => {
            let names = Arc::new(Names::new(way.resolver).map_err(Error::Srv)?);
            let list = srv::look_up(request, way, &names).await.map_err(Error::Srv)?;
            let http = match way.resolver {
                Some(_) => http::client(None, Some(Arc::clone(&names)), tls)?,
                None => http,
            };
            named(request, list, &http, async |host: &str| names.address(host).await).await?
        }
    };
    Ok(found)
}

/// Checks a list that names its members, and asks them whether the cluster runs already.
async fn named(
    request: &Request,
    list: InitialCluster,
    http: &reqwest::Client,
    resolve: impl AsyncFn(&str) -> io::Result<IpAddr>,
) -> Result<Found, Error> {
    static_list::check_name(request, &list)?;
    list.check_unique_urls()?;
    if request.existing {
        return Ok(existing::join(request, &list, http, resolve).await?);
    }
    static_list::check_urls(request, &list, resolve).await?;
    static_list::check_not_bootstrapped(request, &list, http).await?;
    Ok(Found::New { founders: list, token: request.cluster_token.clone() })
}

/// Says who has registered with a token or its URL, and how many are missing.
fn remind(token: &str, roll: &roll::Roll) {
    let here: Vec<&str> = roll.entries().map(|entry| entry.value.as_str()).collect();
    tracing::info!(
        discovery_token = redact(token),
        registered = here.join(","),
        "waiting for {} of {} members",
        roll.missing(),
        roll.size()
    );
}
