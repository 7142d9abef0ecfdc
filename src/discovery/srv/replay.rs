//! What members of real etcd make of SRV records, release by release.

use super::survey::{SERVER_SERVICES, Survey};
use crate::membership::{InitialCluster, PeerUrl};

/// Releases that read the records differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// 3.4: only `_etcd-server-ssl` counts (`etcd/embed`: the test for the other is inverted).
    V34,
    /// 3.5 and later: both count, one behind the other.
    V35,
}

/// The member that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub urls: Vec<PeerUrl>,
}

/// Makes the member list of one release, or gives the text that it exits with.
///
/// Without a member only the list is made, with a number for every target.
pub fn replay(
    survey: &Survey,
    member: Option<&Member>,
    release: Release,
) -> Result<InitialCluster, String> {
    if let (Some(_), Err(reason)) = (member, &survey.own) {
        // 3.5 looks once for each service, and says so once for each.
        return Err(match release {
            Release::V34 => reason.clone(),
            Release::V35 => format!("{reason}; {reason}"),
        });
    }
    let mut pairs: Vec<(String, PeerUrl)> = Vec::new();
    let mut texts = Vec::new();
    for ((scheme, _), service) in SERVER_SERVICES.into_iter().zip(&survey.servers) {
        if release == Release::V34 && scheme == "http" {
            continue;
        }
        let failed = |reason: &str| {
            format!("error querying DNS SRV records for _{} {reason}", service.label)
        };
        match one_service(survey, service, scheme, member) {
            Ok(list) => pairs.extend(list),
            Err(reason) => texts.push(failed(&reason)),
        }
    }
    if pairs.is_empty() {
        return Err(texts.join("; "));
    }
    let mut list = InitialCluster::new();
    for (name, url) in pairs {
        list.add(&name, url);
    }
    if let Some(member) = member {
        check(&list, member)?;
    }
    Ok(list)
}

/// The pairs of one service; an error if nothing is left of it.
fn one_service(
    survey: &Survey,
    service: &super::survey::Service,
    scheme: &str,
    member: Option<&Member>,
) -> Result<Vec<(String, PeerUrl)>, String> {
    let targets = service.targets.as_ref().map_err(Clone::clone)?;
    let places = survey.own.as_deref().unwrap_or_default();
    let mut pairs = Vec::new();
    let mut left_out = None;
    let mut number = 0_u32;
    for target in targets {
        let addresses = match &target.addresses {
            Ok(addresses) => addresses,
            Err(reason) => {
                left_out = Some(reason.clone());
                continue;
            }
        };
        let text = format!("{scheme}://{}:{}", target.host, target.port);
        let Ok(url) = PeerUrl::parse(&text) else {
            left_out = Some(format!("`{}` is no host name", target.host));
            continue;
        };
        let ours =
            |(ip, port): &(std::net::IpAddr, u16)| *port == target.port && addresses.contains(ip);
        match member.filter(|_| places.iter().any(ours)) {
            Some(member) => match member.urls.iter().find(|own| own.is_https() != url.is_https()) {
                Some(own) => {
                    left_out = Some(format!(
                        "bootstrap at {url} from DNS for {} has scheme mismatch with expected peer {own}",
                        service.label
                    ));
                }
                None => pairs.push((member.name.clone(), url)),
            },
            None => {
                pairs.push((number.to_string(), url));
                number += 1;
            }
        }
    }
    match left_out {
        Some(reason) if pairs.is_empty() => Err(reason),
        _ => Ok(pairs),
    }
}

/// What etcd checks of a list before it starts.
fn check(list: &InitialCluster, member: &Member) -> Result<(), String> {
    let Some(urls) = list.urls(&member.name) else {
        return Err(format!("cannot find local etcd member \"{}\" in SRV records", member.name));
    };
    if urls.len() != member.urls.len() {
        let listed: Vec<String> = urls.iter().map(|url| format!("{}={url}", member.name)).collect();
        return Err(format!(
            "--initial-cluster has {} but missing from --initial-advertise-peer-urls={} (len([{}]) != len([{}]))",
            listed.join(","),
            texts(&member.urls).join(","),
            texts(&member.urls).join(" "),
            texts(urls).join(" "),
        ));
    }
    list.check_unique_urls().map_err(|error| error.to_string())
}

fn texts(urls: &[PeerUrl]) -> Vec<&str> {
    urls.iter().map(PeerUrl::as_str).collect()
}
