use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Error;
use crate::membership::{InitialCluster, PeerUrl};

/// Who this node is, and the places it advertises.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) name: String,
    pub(super) urls: Vec<PeerUrl>,
    pub(super) places: Vec<(IpAddr, u16, PeerUrl)>,
}

/// What one service lists, or why its lookup failed.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) scheme: &'static str,
    /// The service name without underscore: `etcd-server`, with the suffix if there is one.
    pub(super) label: String,
    /// In the order of the records.
    pub(super) targets: Result<Vec<Target>, String>,
}

/// One SRV record, its target resolved or not.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Without the trailing dot.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) addresses: Result<Vec<IpAddr>, String>,
}

/// Makes one member list of what both services list.
///
/// A target at one of the own places has the own name; the others are numbered, past a number that
/// is the own name. The names go no further than this list: the ids follow from the URLs.
pub(super) fn assemble(own: &Own, services: &[Service]) -> Result<InitialCluster, Error> {
    let mut list = InitialCluster::new();
    let mut texts = Vec::new();
    let mut seen: BTreeMap<(String, u16), &str> = BTreeMap::new();
    let mut number = 0_u32;
    for service in services {
        let failed = |reason: &str| {
            format!("error querying DNS SRV records for _{} {reason}", service.label)
        };
        let targets = match &service.targets {
            Ok(targets) => targets,
            Err(reason) => {
                texts.push(failed(reason));
                continue;
            }
        };
        let mut dropped = None;
        let before = list.len();
        for target in targets {
            let (addresses, url) = match located(service, target) {
                Ok(located) => located,
                Err(reason) => {
                    dropped = Some(reason);
                    continue;
                }
            };
            let place = (target.host.clone(), target.port);
            if seen.insert(place, service.scheme).is_some_and(|other| other != service.scheme) {
                let place = format!("{}:{}", target.host, target.port);
                return Err(Error::BothSchemes { place });
            }
            let ours = own
                .places
                .iter()
                .find(|(ip, port, _)| *port == target.port && addresses.contains(ip));
            match ours {
                Some((_, _, advertised)) if advertised.is_https() != url.is_https() => {
                    dropped = Some(format!(
                        "bootstrap at {url} from DNS for {} has scheme mismatch with expected peer {advertised}",
                        service.label
                    ));
                }
                Some(_) => list.add(&own.name, url),
                None => {
                    if number.to_string() == own.name {
                        number += 1;
                    }
                    list.add(&number.to_string(), url);
                    number += 1;
                }
            }
        }
        if list.len() == before
            && let Some(reason) = dropped
        {
            texts.push(failed(&reason));
        }
    }
    if list.is_empty() {
        return Err(Error::Lookups { texts });
    }
    if list.urls(&own.name).is_none() {
        let advertised = own.urls.iter().map(PeerUrl::as_str).collect::<Vec<_>>().join(",");
        let listed = list.members().flat_map(|(_, urls)| urls).map(PeerUrl::as_str);
        let listed = listed.collect::<Vec<_>>().join(",");
        return Err(Error::SelfMissing { name: own.name.clone(), advertised, listed });
    }
    Ok(list)
}

/// The addresses of a target and its URL, or why it is left out.
fn located<'t>(service: &Service, target: &'t Target) -> Result<(&'t [IpAddr], PeerUrl), String> {
    let addresses = target.addresses.as_ref().map_err(Clone::clone)?;
    let url = format!("{}://{}:{}", service.scheme, target.host, target.port);
    let url =
        PeerUrl::parse(&url).map_err(|_reason| format!("`{}` is no host name", target.host))?;
    Ok((addresses, url))
}
