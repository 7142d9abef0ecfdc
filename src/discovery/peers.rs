use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

use super::http as shared;
use crate::membership::{ClusterId, MemberId, PeerUrl};
use crate::transport::tls::TlsClient;
use crate::v2::X_ETCD_CLUSTER_ID;

/// A member list longer than this is none.
const MAX_BODY_BYTES: usize = 1 << 20;

/// A member as `GET /members` on a peer port shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerMember {
    pub id: MemberId,
    pub name: String,
    pub peer_urls: Vec<String>,
    /// Empty until the member has started.
    pub client_urls: Vec<String>,
    pub learner: bool,
}

/// A cluster as one of its members knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerList {
    /// The member that said so.
    pub told_by: PeerUrl,
    pub cluster: ClusterId,
    pub members: Vec<PeerMember>,
}

/// Why a member did not say who is in its cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    #[error("nobody listens at {address}")]
    Refused { address: String },
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("{0}")]
    Tls(String),
    #[error("{0}")]
    Unreached(String),
    #[error("the answer is not HTTP: it speaks TLS, or is something else")]
    NotHttp,
    #[error("/members is answered with HTTP {0}: this is no peer port")]
    Status(u16),
    #[error("/members is answered with something that is no member list: this is no peer port")]
    NoList,
}

impl Silence {
    pub(super) fn of(error: &reqwest::Error, peer: &PeerUrl) -> Self {
        let address = format!("{}:{}", peer.host(), peer.port());
        let mut cause: &(dyn std::error::Error + 'static) = error;
        loop {
            if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
                return Self::NotHttp;
            }
            let Some(deeper) = cause.source() else { break };
            cause = deeper;
        }
        let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        match kind {
            Some(std::io::ErrorKind::ConnectionRefused) => Self::Refused { address },
            _ if shared::is_tls(cause) => Self::Tls(shared::reason(error, &address)),
            _ => Self::Unreached(shared::reason(error, &address)),
        }
    }
}

#[derive(Deserialize)]
struct Listed {
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default, rename = "peerURLs")]
    peer_urls: Option<Vec<String>>,
    #[serde(default, rename = "clientURLs")]
    client_urls: Option<Vec<String>>,
    #[serde(default, rename = "isLearner")]
    learner: bool,
}

/// Asks one member who is in its cluster.
pub(super) async fn ask(
    http: &reqwest::Client,
    peer: &PeerUrl,
    limit: Duration,
) -> Result<PeerList, Silence> {
    let asked = async {
        let response = http.get(format!("{peer}/members")).send().await;
        let response = response.map_err(|error| Silence::of(&error, peer))?;
        if !response.status().is_success() {
            return Err(Silence::Status(response.status().as_u16()));
        }
        let cluster = response.headers().get(X_ETCD_CLUSTER_ID);
        let cluster = cluster.and_then(|id| id.to_str().ok()?.parse().ok());
        let cluster = cluster.ok_or(Silence::NoList)?;
        let body = shared::body(response, MAX_BODY_BYTES).await;
        let body = body.map_err(|error| Silence::of(&error, peer))?.ok_or(Silence::NoList)?;
        let listed: Vec<Listed> =
            serde_json::from_slice(&body).map_err(|_other| Silence::NoList)?;
        let member = |listed: Listed| PeerMember {
            id: MemberId(listed.id),
            name: listed.name,
            peer_urls: listed.peer_urls.unwrap_or_default(),
            client_urls: listed.client_urls.unwrap_or_default(),
            learner: listed.learner,
        };
        let members = listed.into_iter().map(member).collect();
        Ok(PeerList { told_by: peer.clone(), cluster, members })
    };
    tokio::time::timeout(limit, asked).await.unwrap_or(Err(Silence::TimedOut(limit)))
}

/// Whether this is a member of etcd: theirs take each other's messages at `/raft`, from POST alone.
pub(super) async fn is_etcd(http: &reqwest::Client, peer: &PeerUrl, limit: Duration) -> bool {
    let asked = http.get(format!("{peer}/raft")).send();
    match tokio::time::timeout(limit, asked).await {
        Ok(Ok(answer)) => answer.status() == StatusCode::METHOD_NOT_ALLOWED,
        _ => false,
    }
}

/// Asks all of them at once; the first that answers counts, of this cluster where one is named.
pub(super) async fn first_list(
    http: &reqwest::Client,
    peers: &[PeerUrl],
    cluster: Option<ClusterId>,
    limit: Duration,
) -> Option<PeerList> {
    let mut asked = tokio::task::JoinSet::new();
    for peer in peers {
        let (http, peer) = (http.clone(), peer.clone());
        asked.spawn(async move { ask(&http, &peer, limit).await });
    }
    while let Some(answer) = asked.join_next().await {
        if let Ok(Ok(list)) = answer
            && cluster.is_none_or(|cluster| cluster == list.cluster)
        {
            return Some(list);
        }
    }
    None
}

/// What a proxy has to know of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    pub cluster: ClusterId,
    pub client_urls: Vec<String>,
    pub peer_urls: Vec<PeerUrl>,
}

/// How the cluster of these peers is reached now. A peer of another cluster than `cluster`, which has
/// the address of one that is gone, does not count.
pub async fn reach(
    peers: &[PeerUrl],
    cluster: Option<ClusterId>,
    limit: Duration,
    tls: Option<&TlsClient>,
) -> Option<Reach> {
    let http = shared::client(None, None, tls).ok()?;
    let list = first_list(&http, peers, cluster, limit).await?;
    let client_urls = list.members.iter().flat_map(|member| member.client_urls.clone()).collect();
    let peers = list.members.iter().flat_map(|member| &member.peer_urls);
    let peer_urls = peers.filter_map(|url| PeerUrl::parse(url).ok()).collect();
    Some(Reach { cluster: list.cluster, client_urls, peer_urls })
}
