use std::time::Duration;

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
pub(super) struct PeerList {
    pub(super) cluster: ClusterId,
    pub(super) members: Vec<PeerMember>,
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

/// Asks one member who is in its cluster; `None` when it does not say in time or in this form.
pub(super) async fn members(
    http: &reqwest::Client,
    peer: &PeerUrl,
    limit: Duration,
) -> Option<PeerList> {
    let ask = async {
        let response = http.get(format!("{peer}/members")).send().await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let cluster = response.headers().get(X_ETCD_CLUSTER_ID)?.to_str().ok()?.parse().ok()?;
        let body = shared::body(response, MAX_BODY_BYTES).await.ok()??;
        let listed: Vec<Listed> = serde_json::from_slice(&body).ok()?;
        let member = |listed: Listed| PeerMember {
            id: MemberId(listed.id),
            name: listed.name,
            peer_urls: listed.peer_urls.unwrap_or_default(),
            client_urls: listed.client_urls.unwrap_or_default(),
            learner: listed.learner,
        };
        Some(PeerList { cluster, members: listed.into_iter().map(member).collect() })
    };
    tokio::time::timeout(limit, ask).await.ok().flatten()
}

/// Asks all of them at once; the first that answers counts.
pub(super) async fn first_list(
    http: &reqwest::Client,
    peers: &[PeerUrl],
    limit: Duration,
) -> Option<PeerList> {
    let mut asked = tokio::task::JoinSet::new();
    for peer in peers {
        let (http, peer) = (http.clone(), peer.clone());
        asked.spawn(async move { members(&http, &peer, limit).await });
    }
    while let Some(answer) = asked.join_next().await {
        if let Ok(Some(list)) = answer {
            return Some(list);
        }
    }
    None
}

/// The client URLs of the cluster that these peers belong to, and the peer URLs it has now.
pub async fn client_urls(
    peers: &[PeerUrl],
    limit: Duration,
    tls: Option<&TlsClient>,
) -> Option<(Vec<String>, Vec<PeerUrl>)> {
    let http = shared::client(None, None, tls).ok()?;
    let list = first_list(&http, peers, limit).await?;
    let clients = list.members.iter().flat_map(|member| member.client_urls.clone()).collect();
    let peers = list.members.iter().flat_map(|member| &member.peer_urls);
    Some((clients, peers.filter_map(|url| PeerUrl::parse(url).ok()).collect()))
}
