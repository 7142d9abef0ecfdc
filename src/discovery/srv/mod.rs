//! The way by DNS: SRV records name the members, and a node finds itself among them by address.

mod assemble;
mod diagnose;
mod names;
mod replay;
mod survey;

pub use diagnose::{Symptom, diagnose};
pub use replay::{Member, Release, replay};
pub use survey::{Service as SurveyedService, Survey, resolver_address};

pub(super) use names::Names;

use std::net::SocketAddr;

use tracing::{error, info, warn};

use super::{Request, SrvRequest};
use crate::membership::InitialCluster;
use assemble::{Own, Service, Target, assemble};

/// Why SRV records did not lead into a cluster. The texts are etcd's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the DNS resolver cannot be set up: {reason}")]
    Setup { reason: String },
    #[error("no DNS server answers at {server}")]
    Refused { server: SocketAddr, source: std::io::Error },
    /// One text per service.
    #[error("{}", .texts.join("; "))]
    Lookups { texts: Vec<String> },
    #[error(
        "cannot find local etcd member \"{name}\" in SRV records (this node advertises {advertised}, the records list {listed})"
    )]
    SelfMissing { name: String, advertised: String, listed: String },
    #[error(
        "{place} is listed under both _etcd-server-ssl and _etcd-server; publish one of the two services"
    )]
    BothSchemes { place: String },
}

/// Looks both services up and makes one list of them.
pub(super) async fn look_up(
    request: &Request,
    way: &SrvRequest,
    names: &Names,
) -> Result<InitialCluster, Error> {
    let mut own =
        Own { name: request.name.clone(), urls: request.peer_urls.clone(), places: Vec::new() };
    let mut own_failure = None;
    for url in &request.peer_urls {
        match names.addresses(url.host()).await {
            Ok(addresses) => {
                let places = addresses.into_iter().map(|ip| (ip, url.port(), url.clone()));
                own.places.extend(places);
            }
            Err(reason) => own_failure = Some(reason),
        }
    }
    if let Some(reason) = own_failure {
        error!(error = reason, "failed to resolve during SRV discovery");
        return Err(Error::Lookups { texts: vec![reason] });
    }
    let mut services = Vec::new();
    for (scheme, label) in [("https", "etcd-server-ssl"), ("http", "etcd-server")] {
        let label = match way.suffix.as_str() {
            "" => label.to_owned(),
            suffix => format!("{label}-{suffix}"),
        };
        services.push(service(names, scheme, label, &way.domain).await);
    }
    let assembled = assemble(&own, &services);
    for service in &services {
        info!(
            service_scheme = service.scheme,
            service_name = service.label,
            server_name = request.name,
            discovery_srv = way.domain,
            found = service.targets.as_ref().map_or(0, Vec::len),
            error = service.targets.as_ref().err(),
            "get cluster for {} SRV",
            service.label
        );
    }
    let list = assembled.inspect_err(|error| {
        error!(error = %error, "failed to resolve during SRV discovery");
    })?;
    for (name, urls) in list.members() {
        for url in urls {
            info!(node = format!("{name}={url}"), "got bootstrap from DNS for etcd-server");
        }
    }
    Ok(list)
}

async fn service(names: &Names, scheme: &'static str, label: String, domain: &str) -> Service {
    let query = format!("_{label}._tcp.{}", domain.trim_end_matches('.'));
    let targets = match names.services(&query).await {
        Ok(records) => {
            let mut targets = Vec::new();
            for record in records {
                let addresses = names.addresses(&record.host).await;
                if let Err(reason) = &addresses {
                    // etcd leaves it out without a word and founds a smaller cluster.
                    warn!(
                        service = query,
                        target = record.host,
                        error = reason,
                        "SRV target does not resolve and is left out: the cluster will have one member less"
                    );
                }
                targets.push(Target { host: record.host, port: record.port, addresses });
            }
            Ok(targets)
        }
        Err(reason) => Err(reason),
    };
    Service { scheme, label, targets }
}

#[cfg(test)]
mod tests;
