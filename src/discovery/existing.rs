use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tracing::info;

use super::peers::{self, PeerList, PeerMember};
use super::static_list::others;
use super::{Found, Request, static_list};
use crate::membership::{ClusterId, InitialCluster, PeerUrl};

/// How long one member may take to list the others.
const LIMIT: Duration = Duration::from_secs(10);

/// Why a running cluster cannot be joined. The texts are etcd's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs"
    )]
    Unreachable,
    #[error(
        "error validating peerURLs {list}: member count is unequal ({known} in the cluster, {listed} in --initial-cluster); use the list that `etcdctl member add` printed"
    )]
    Count { list: String, known: usize, listed: usize },
    #[error(
        "error validating peerURLs {list}: PeerURLs: no match found for existing member ({id}, [{urls}])"
    )]
    NoMatch { list: String, id: String, urls: String },
    /// Not a text of etcd's, which knows no members but its own.
    #[error(
        "the member at {url} is one of etcd: a quorate-node cannot be a member of its cluster {cluster}"
    )]
    Etcd { url: PeerUrl, cluster: ClusterId },
}

/// Reads the members of a running cluster, which must be those of the list, and finds the own one.
pub(super) async fn join(
    request: &Request,
    list: &InitialCluster,
    http: &reqwest::Client,
    resolve: impl AsyncFn(&str) -> io::Result<IpAddr>,
) -> Result<Found, Error> {
    let running = peers::first_list(http, &others(request, list), None, LIMIT).await;
    let running = running.ok_or(Error::Unreachable)?;
    if peers::is_etcd(http, &running.told_by, LIMIT).await {
        return Err(Error::Etcd { url: running.told_by, cluster: running.cluster });
    }
    info!(cluster.id = %running.cluster, members = running.members.len(), "joining a running cluster");
    let own = match_members(request, list, &running, resolve).await?;
    Ok(Found::Running { cluster: running.cluster, members: running.members, own })
}

/// Pairs every member of the cluster with an entry of the list; the one paired with the own entry.
pub(super) async fn match_members(
    request: &Request,
    list: &InitialCluster,
    running: &PeerList,
    resolve: impl AsyncFn(&str) -> io::Result<IpAddr>,
) -> Result<PeerMember, Error> {
    let mut entries: Vec<(&str, &[PeerUrl])> = list.members().collect();
    if entries.len() != running.members.len() {
        let (known, listed) = (running.members.len(), entries.len());
        return Err(Error::Count { list: describe(running), known, listed });
    }
    let mut own = None;
    for member in &running.members {
        let mut urls: Vec<PeerUrl> =
            member.peer_urls.iter().filter_map(|url| PeerUrl::parse(url).ok()).collect();
        urls.sort();
        let mut matched = None;
        for (at, (_, listed)) in entries.iter().enumerate() {
            if urls == *listed || static_list::same_places(&urls, listed, &resolve).await {
                matched = Some(at);
                break;
            }
        }
        let Some(at) = matched else {
            return Err(Error::NoMatch {
                list: describe(running),
                id: member.id.to_string(),
                urls: member.peer_urls.join(" "),
            });
        };
        let (name, _) = entries.swap_remove(at);
        if name == request.name {
            own = Some(member.clone());
        }
    }
    Ok(own.expect("the list has the own name, and every entry was paired"))
}

fn describe(running: &PeerList) -> String {
    let ids: Vec<String> = running.members.iter().map(|member| member.id.to_string()).collect();
    format!("{{ClusterID:{} Members:[{}]}}", running.cluster, ids.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::Way;
    use crate::membership::MemberId;

    fn member(id: u64, url: &str) -> PeerMember {
        PeerMember {
            id: MemberId(id),
            name: String::new(),
            peer_urls: vec![url.to_owned()],
            client_urls: Vec::new(),
            learner: false,
        }
    }

    #[tokio::test]
    async fn members_are_paired_with_the_list_by_place() {
        let running = PeerList {
            told_by: PeerUrl::parse("http://127.0.0.1:3001").unwrap(),
            cluster: ClusterId(7),
            members: vec![member(1, "http://127.0.0.1:3001"), member(2, "http://127.0.0.1:3002")],
        };
        let cases = [
            ("n1=http://127.0.0.1:3001,n2=http://127.0.0.1:3002", "1"),
            ("n1=http://a.test:3002,n2=http://127.0.0.1:3001", "2"),
            (
                "n1=http://127.0.0.1:3001",
                "error validating peerURLs {ClusterID:7 Members:[1 2]}: member count is unequal (2 in the cluster, 1 in --initial-cluster); use the list that `etcdctl member add` printed",
            ),
            (
                "n1=http://127.0.0.1:3001,n2=http://127.0.0.1:3003",
                "error validating peerURLs {ClusterID:7 Members:[1 2]}: PeerURLs: no match found for existing member (2, [http://127.0.0.1:3002])",
            ),
        ];
        for (text, outcome) in cases {
            let list: InitialCluster = text.parse().unwrap();
            let request = Request {
                name: "n1".to_owned(),
                peer_urls: Vec::new(),
                way: Way::Static(list.clone()),
                cluster_token: String::new(),
                existing: true,
                tls: None,
            };
            let resolve = async |_: &str| Ok(IpAddr::from([127, 0, 0, 1]));
            let paired = match match_members(&request, &list, &running, resolve).await {
                Ok(member) => member.id.to_string(),
                Err(error) => error.to_string(),
            };
            assert_eq!(paired, outcome, "{text}");
        }
    }
}
