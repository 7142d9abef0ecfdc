use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tracing::{info, warn};

use super::Request;
use super::peers::{self, PeerList, PeerMember};
use crate::membership::{ClusterId, InitialCluster, MemberId, PeerUrl};

/// How long the own name may take to appear in DNS.
const RESOLVE_ATTEMPTS: u32 = 30;
const RESOLVE_PAUSE: Duration = Duration::from_secs(1);
/// How long the others may take to say that the cluster runs already.
const BOOTSTRAPPED_LIMIT: Duration = Duration::from_secs(1);

/// Why a list is not one this node can be in. The texts are etcd's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("couldn't find local name \"{name}\" in the initial cluster configuration")]
    NoLocalName { name: String },
    #[error(
        "--initial-cluster has {extra} but missing from --initial-advertise-peer-urls={advertised} ({why})"
    )]
    NotAdvertised { extra: String, advertised: String, why: String },
    #[error(
        "--initial-advertise-peer-urls has {extra} but missing from --initial-cluster={listed} ({why})"
    )]
    NotListed { extra: String, listed: String, why: String },
    #[error("failed to resolve {advertised} to match --initial-cluster={listed} ({why})")]
    Unresolved { advertised: String, listed: String, why: String },
    #[error(
        "the members of --initial-cluster run as cluster {running} already, this list and token make {made}; to join them add this member with `etcdctl member add` and start with --initial-cluster-state existing"
    )]
    OtherCluster { running: ClusterId, made: ClusterId },
    #[error(
        "member {id} has already been bootstrapped; to replace it remove and add it with `etcdctl member` and start with --initial-cluster-state existing"
    )]
    Bootstrapped { id: MemberId },
}

/// A URL whose host is an address, or `localhost`, which is never resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    https: bool,
    host: String,
    port: u16,
}

/// The own name must be listed.
pub(super) fn check_name(request: &Request, list: &InitialCluster) -> Result<(), Error> {
    match list.urls(&request.name) {
        Some(_) => Ok(()),
        None => Err(Error::NoLocalName { name: request.name.clone() }),
    }
}

/// The own entry must be what this node advertises, compared by address.
pub(super) async fn check_urls(
    request: &Request,
    list: &InitialCluster,
    resolve: impl AsyncFn(&str) -> io::Result<IpAddr>,
) -> Result<(), Error> {
    let advertised = &request.peer_urls;
    let listed = list.urls(&request.name).unwrap_or_default();
    // Equal spelling needs no DNS, which may come up later than this node.
    if advertised == listed {
        return Ok(());
    }
    let why = match compare(advertised, listed, resolve).await {
        Ok(()) => return Ok(()),
        Err(why) => why,
    };
    let named = |urls: &[PeerUrl]| {
        let pairs: Vec<_> = urls.iter().map(|url| format!("{}={url}", request.name)).collect();
        pairs.join(",")
    };
    let without = |urls: &[PeerUrl], others: &[PeerUrl]| {
        urls.iter().filter(|url| !others.contains(url)).cloned().collect::<Vec<_>>()
    };
    let extra_listed = without(listed, advertised);
    let extra_advertised = without(advertised, listed);
    Err(if !extra_listed.is_empty() {
        Error::NotAdvertised { extra: named(&extra_listed), advertised: join(advertised), why }
    } else if !extra_advertised.is_empty() {
        Error::NotListed { extra: join(&extra_advertised), listed: named(advertised), why }
    } else {
        Error::Unresolved { advertised: join(advertised), listed: named(listed), why }
    })
}

fn join(urls: &[PeerUrl]) -> String {
    urls.iter().map(PeerUrl::as_str).collect::<Vec<_>>().join(",")
}

/// Whether two lists of URLs lead to the same places.
pub(super) async fn same_places(
    a: &[PeerUrl],
    b: &[PeerUrl],
    resolve: impl AsyncFn(&str) -> io::Result<IpAddr>,
) -> bool {
    compare(a, b, resolve).await.is_ok()
}

/// Compares two lists of URLs as places; the error says how they differ.
async fn compare(
    advertised: &[PeerUrl],
    listed: &[PeerUrl],
    resolve: impl AsyncFn(&str) -> io::Result<IpAddr>,
) -> Result<(), String> {
    if advertised.len() != listed.len() {
        let quoted = |urls: &[PeerUrl]| {
            urls.iter().map(|url| format!("\"{url}\"")).collect::<Vec<_>>().join(" ")
        };
        return Err(format!("len([{}]) != len([{}])", quoted(advertised), quoted(listed)));
    }
    let place = async |url: &PeerUrl| match place(url, &resolve).await {
        Ok(place) => Ok((place, url.clone())),
        Err(error) => Err(format!("failed to resolve \"{url}\" (lookup {}: {error})", url.host())),
    };
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for (urls, places) in [(advertised, &mut ours), (listed, &mut theirs)] {
        for url in urls {
            places.push(place(url).await?);
        }
    }
    ours.sort();
    theirs.sort();
    for ((our, our_url), (their, their_url)) in ours.iter().zip(&theirs) {
        if our != their {
            return Err(format!(
                "\"{our}\"(resolved from \"{our_url}\") != \"{their}\"(resolved from \"{their_url}\")"
            ));
        }
    }
    Ok(())
}

async fn place(
    url: &PeerUrl,
    resolve: &impl AsyncFn(&str) -> io::Result<IpAddr>,
) -> io::Result<Place> {
    let host = match url.host() {
        "localhost" => "localhost".to_owned(),
        host => match host.parse::<IpAddr>() {
            Ok(address) => address.to_string(),
            Err(_) => resolve(host).await?.to_string(),
        },
    };
    Ok(Place { https: url.is_https(), host, port: url.port() })
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// Resolves a name, again and again for half a minute: a node may be up before its DNS record is.
pub(super) async fn resolve_patiently(host: &str) -> io::Result<IpAddr> {
    let mut attempt = 1;
    loop {
        let error = match look_up(host).await {
            Ok(address) => return Ok(address),
            Err(error) => error,
        };
        if attempt >= RESOLVE_ATTEMPTS {
            return Err(error);
        }
        warn!(host, error = %error, attempt, "failed to resolve URL Host");
        attempt += 1;
        tokio::time::sleep(RESOLVE_PAUSE).await;
    }
}

/// The first address of a name; IPv4 is preferred.
pub(super) async fn look_up(host: &str) -> io::Result<IpAddr> {
    let addresses: Vec<IpAddr> =
        tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect();
    let preferred =
        addresses.iter().find(|address| address.is_ipv4()).or_else(|| addresses.first());
    preferred.copied().ok_or_else(|| io::Error::other("no such host"))
}

/// Asks the others whether this member has served before. Starting it anew would let it vote twice.
pub(super) async fn check_not_bootstrapped(
    request: &Request,
    list: &InitialCluster,
    http: &reqwest::Client,
) -> Result<(), Error> {
    let others = others(request, list);
    if others.is_empty() {
        return Ok(());
    }
    info!(members = others.len(), "asking the other members whether the cluster runs already");
    let running = peers::first_list(http, &others, None, BOOTSTRAPPED_LIMIT).await;
    running.map_or(Ok(()), |running| check_new(request, list, &running))
}

/// The cluster that runs must be the one that this list makes, and this member must not have served in it.
pub(super) fn check_new(
    request: &Request,
    list: &InitialCluster,
    running: &PeerList,
) -> Result<(), Error> {
    let id = list.member_id(&request.name, &request.cluster_token);
    let made = list.cluster_id(&request.cluster_token);
    if running.cluster != made {
        return Err(Error::OtherCluster { running: running.cluster, made });
    }
    let served = |member: &&PeerMember| Some(member.id) == id && !member.client_urls.is_empty();
    match running.members.iter().find(served) {
        Some(member) => Err(Error::Bootstrapped { id: member.id }),
        None => Ok(()),
    }
}

/// The peer URLs of everybody else on the list.
pub(super) fn others(request: &Request, list: &InitialCluster) -> Vec<PeerUrl> {
    let others = list.members().filter(|(name, _)| *name != request.name);
    others.flat_map(|(_, urls)| urls.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::Way;

    async fn check(advertised: &str, list: &str) -> String {
        let mut peer_urls: Vec<PeerUrl> =
            advertised.split(',').map(|url| PeerUrl::parse(url).unwrap()).collect();
        peer_urls.sort();
        let list: InitialCluster = list.parse().unwrap();
        let request = Request {
            name: "n1".to_owned(),
            peer_urls,
            way: Way::Static(list.clone()),
            cluster_token: "t".to_owned(),
            existing: false,
            tls: None,
        };
        if let Err(error) = check_name(&request, &list) {
            return error.to_string();
        }
        let resolve = async |host: &str| match host {
            "a.test" => Ok(IpAddr::from([127, 0, 0, 1])),
            _ => Err(io::Error::other("no such host")),
        };
        match check_urls(&request, &list, resolve).await {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn the_own_entry_must_be_what_is_advertised() {
        let cases = [
            ("http://127.0.0.1:3001", "n1=http://127.0.0.1:3001,n2=http://h:1", "ok"),
            ("http://127.0.0.1:3001", "n1=http://a.test:3001", "ok"),
            ("http://nosuch.invalid:3001", "n1=http://nosuch.invalid:3001", "ok"),
            (
                "http://127.0.0.1:3001",
                "n2=http://127.0.0.1:3001",
                "couldn't find local name \"n1\" in the initial cluster configuration",
            ),
            (
                "http://127.0.0.1:3001",
                "",
                "couldn't find local name \"n1\" in the initial cluster configuration",
            ),
            (
                "http://127.0.0.1:3001",
                "n1=http://127.0.0.1:3099",
                "--initial-cluster has n1=http://127.0.0.1:3099 but missing from --initial-advertise-peer-urls=http://127.0.0.1:3001 (\"http://127.0.0.1:3001\"(resolved from \"http://127.0.0.1:3001\") != \"http://127.0.0.1:3099\"(resolved from \"http://127.0.0.1:3099\"))",
            ),
            (
                "http://127.0.0.1:3001,http://127.0.0.1:3099",
                "n1=http://127.0.0.1:3001",
                "--initial-advertise-peer-urls has http://127.0.0.1:3099 but missing from --initial-cluster=n1=http://127.0.0.1:3001,n1=http://127.0.0.1:3099 (len([\"http://127.0.0.1:3001\" \"http://127.0.0.1:3099\"]) != len([\"http://127.0.0.1:3001\"]))",
            ),
            (
                "http://127.0.0.1:3001",
                "n1=http://localhost:3001",
                "--initial-cluster has n1=http://localhost:3001 but missing from --initial-advertise-peer-urls=http://127.0.0.1:3001 (\"http://127.0.0.1:3001\"(resolved from \"http://127.0.0.1:3001\") != \"http://localhost:3001\"(resolved from \"http://localhost:3001\"))",
            ),
            (
                "http://127.0.0.1:3001",
                "n1=https://127.0.0.1:3001",
                "--initial-cluster has n1=https://127.0.0.1:3001 but missing from --initial-advertise-peer-urls=http://127.0.0.1:3001 (\"http://127.0.0.1:3001\"(resolved from \"http://127.0.0.1:3001\") != \"https://127.0.0.1:3001\"(resolved from \"https://127.0.0.1:3001\"))",
            ),
            (
                "http://127.0.0.1:3001",
                "n1=http://zzz.test:3001",
                "--initial-cluster has n1=http://zzz.test:3001 but missing from --initial-advertise-peer-urls=http://127.0.0.1:3001 (failed to resolve \"http://zzz.test:3001\" (lookup zzz.test: no such host))",
            ),
        ];
        for (advertised, list, outcome) in cases {
            assert_eq!(check(advertised, list).await, outcome, "{advertised} {list}");
        }
    }
}
