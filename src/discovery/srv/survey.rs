use std::net::{IpAddr, SocketAddr};

use super::names::Names;
use super::{Error, SrvRequest};
use crate::membership::PeerUrl;

/// The services that list members, with the scheme that each stands for, in etcd's order.
pub(super) const SERVER_SERVICES: [(&str, &str); 2] =
    [("https", "etcd-server-ssl"), ("http", "etcd-server")];
/// Those for clients, and for Patroni.
const OTHER_SERVICES: [&str; 4] = ["etcd-client-ssl", "etcd-client", "etcd-ssl", "etcd"];
/// Spellings that people publish and nobody asks for.
const MISSPELLED: [&str; 2] = ["etcd_server_ssl", "etcd_server"];

/// Everything that DNS says about one domain of etcd members.
#[derive(Debug, Clone)]
pub struct Survey {
    pub domain: String,
    pub suffix: String,
    /// `_etcd-server-ssl` and `_etcd-server`, in this order.
    pub servers: Vec<Service>,
    /// Services that members do not read.
    pub others: Vec<Service>,
    /// Owners with an underscore inside that have records.
    pub misspelled: Vec<String>,
    /// Where the own URLs lead, if there are some; or the first lookup that failed.
    pub own: Result<Vec<(IpAddr, u16)>, String>,
}

/// What one service lists, or why the lookup failed.
#[derive(Debug, Clone)]
pub struct Service {
    /// Without underscore, with the suffix: `etcd-server`.
    pub label: String,
    pub owner: String,
    pub targets: Result<Vec<Target>, String>,
    /// The lookup failed because there is nothing, not because nobody answered.
    pub absent: bool,
}

/// One SRV record and where it leads.
#[derive(Debug, Clone)]
pub struct Target {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// Without the trailing dot.
    pub host: String,
    pub addresses: Result<Vec<IpAddr>, String>,
    /// The name that the target is an alias of.
    pub alias_of: Option<String>,
    /// The addresses without a name.
    pub nameless: Vec<IpAddr>,
}

impl Survey {
    /// Asks for everything; changes nothing anywhere.
    pub async fn take(way: &SrvRequest, own: &[PeerUrl]) -> Result<Self, Error> {
        let names = Names::new(way.resolver)?;
        let mut survey = Self {
            domain: way.domain.trim_end_matches('.').to_owned(),
            suffix: way.suffix.clone(),
            own: places(&names, own).await,
            servers: Vec::new(),
            others: Vec::new(),
            misspelled: Vec::new(),
        };
        for (_, label) in SERVER_SERVICES {
            survey.servers.push(service(&names, label, way).await);
        }
        for label in OTHER_SERVICES {
            let service = service(&names, label, way).await;
            if service.targets.is_ok() {
                survey.others.push(service);
            }
        }
        for label in MISSPELLED {
            let service = service(&names, label, way).await;
            if service.targets.is_ok() {
                survey.misspelled.push(service.owner);
            }
        }
        Ok(survey)
    }
}

async fn places(names: &Names, own: &[PeerUrl]) -> Result<Vec<(IpAddr, u16)>, String> {
    let mut places = Vec::new();
    for url in own {
        let addresses = names.addresses(url.host()).await?;
        places.extend(addresses.into_iter().map(|address| (address, url.port())));
    }
    Ok(places)
}

async fn service(names: &Names, label: &str, way: &SrvRequest) -> Service {
    let label = match way.suffix.as_str() {
        "" => label.to_owned(),
        suffix => format!("{label}-{suffix}"),
    };
    let owner = format!("_{label}._tcp.{}", way.domain.trim_end_matches('.'));
    let records = match names.services(&owner).await {
        Ok(records) => records,
        Err(reason) => {
            let absent = reason.ends_with("no such host");
            return Service { label, owner, targets: Err(reason), absent };
        }
    };
    let mut targets = Vec::new();
    for record in records {
        let addresses = names.addresses(&record.host).await;
        let mut nameless = Vec::new();
        for address in addresses.iter().flatten() {
            if names.pointers(*address).await.is_empty() {
                nameless.push(*address);
            }
        }
        targets.push(Target {
            priority: record.priority,
            weight: record.weight,
            port: record.port,
            alias_of: names.alias_of(&record.host).await,
            host: record.host,
            addresses,
            nameless,
        });
    }
    Service { label, owner, targets: Ok(targets), absent: false }
}

/// The address of a resolver, with port 53 if none is written.
pub fn resolver_address(text: &str) -> Result<SocketAddr, String> {
    let plain = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
    plain.or_else(|_not_alone| text.parse()).map_err(|_reason| {
        format!("`{text}` is no address of a DNS server; write IP or IP:port, such as 10.0.0.1:53")
    })
}
