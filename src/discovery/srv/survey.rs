use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;

use super::names::Names;
use super::{Error, SrvRequest};
use crate::membership::PeerUrl;

/// The services that list members, with the scheme that each stands for, in etcd's order.
pub(super) const SERVER_SERVICES: [(&str, &str); 2] =
    [("https", "etcd-server-ssl"), ("http", "etcd-server")];
/// Those for clients, and for Patroni.
const OTHER_SERVICES: [&str; 4] = ["etcd-client-ssl", "etcd-client", "etcd-ssl", "etcd"];
/// How long it takes to hear that nobody listens.
const REFUSAL: Duration = Duration::from_millis(500);
/// Spellings that people publish and nobody asks for.
const MISSPELLED: [&str; 2] = ["etcd_server_ssl", "etcd_server"];

/// Everything that DNS says about one domain of etcd members.
#[derive(Debug, Clone)]
pub struct Survey {
    pub domain: String,
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
        if let Some(server) = way.resolver {
            listens(server).await?;
        }
        // All at once: a server that is silent is waited for once.
        let ask = |label: &'static str| service(&names, label, way);
        let (own, servers, others, misspelled) = tokio::join!(
            places(&names, own),
            join_all(SERVER_SERVICES.map(|(_, label)| ask(label))),
            join_all(OTHER_SERVICES.map(ask)),
            join_all(MISSPELLED.map(ask)),
        );
        let present = |service: &Service| service.targets.is_ok();
        Ok(Self {
            domain: way.domain.trim_end_matches('.').to_owned(),
            servers,
            others: others.into_iter().filter(present).collect(),
            misspelled: misspelled.into_iter().filter(present).map(|it| it.owner).collect(),
            own,
        })
    }
}

/// Sends the server a question of no use, for the one answer that comes at once: that nobody listens there.
/// The resolver does not hear that answer and would wait for another.
async fn listens(server: SocketAddr) -> Result<(), Error> {
    /// NS of the root.
    const QUESTION: [u8; 17] = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let asking = async {
        let socket = tokio::net::UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        socket.send(&QUESTION).await?;
        socket.recv(&mut [0; 512]).await
    };
    match tokio::time::timeout(REFUSAL, asking).await {
        Ok(Err(source)) => Err(Error::Refused { server, source }),
        Ok(Ok(_)) | Err(_) => Ok(()),
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
