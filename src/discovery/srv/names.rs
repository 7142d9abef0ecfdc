use std::io;
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::Error;
use crate::transport;

/// A resolver that follows resolv.conf, or asks one server.
#[derive(Debug)]
pub(in crate::discovery) struct Names {
    resolver: Resolver,
    /// Who is asked, for the texts.
    server: String,
}

/// Keeps `Debug` where the resolver has none.
struct Resolver(TokioResolver);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

/// An SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) priority: u16,
    pub(super) weight: u16,
}

impl Names {
    /// Asks this server, or those of the system.
    pub(in crate::discovery) fn new(server: Option<SocketAddr>) -> Result<Self, Error> {
        let setup = |error: NetError| Error::Setup { reason: error.to_string() };
        let resolver = Resolver(transport::resolver(server).map_err(setup)?);
        let server = match server {
            Some(address) => address.to_string(),
            None => system_server().unwrap_or_else(|| "resolv.conf".to_owned()),
        };
        Ok(Self { resolver, server })
    }

    /// The SRV records of a name, by priority. Targets come without the trailing dot.
    pub(super) async fn services(&self, name: &str) -> Result<Vec<Record>, String> {
        let lookup = self.resolver.0.lookup(parse(name)?, RecordType::SRV).await;
        let lookup = lookup.map_err(|error| self.failed(name, &error))?;
        let record = |data: &RData| match data {
            RData::SRV(srv) => Some(Record {
                host: srv.target.to_utf8().trim_end_matches('.').to_owned(),
                port: srv.port,
                priority: srv.priority,
                weight: srv.weight,
            }),
            _ => None,
        };
        let mut records: Vec<Record> =
            lookup.answers().iter().filter_map(|answer| record(&answer.data)).collect();
        if records.is_empty() {
            return Err(format!("lookup {name} on {}: no such host", self.server));
        }
        // Equal priority: by name, so that every node numbers alike.
        records.sort_by(|a, b| (a.priority, &a.host, a.port).cmp(&(b.priority, &b.host, b.port)));
        Ok(records)
    }

    /// The name that a host is an alias of.
    pub(super) async fn alias_of(&self, host: &str) -> Option<String> {
        let lookup = self.resolver.0.lookup(parse(host).ok()?, RecordType::CNAME).await.ok()?;
        lookup.answers().iter().find_map(|answer| match &answer.data {
            RData::CNAME(name) => Some(name.to_utf8().trim_end_matches('.').to_owned()),
            _ => None,
        })
    }

    /// The names of an address; none also if nobody answers.
    pub(super) async fn pointers(&self, address: IpAddr) -> Vec<String> {
        let Ok(lookup) = self.resolver.0.lookup(Name::from(address), RecordType::PTR).await else {
            return Vec::new();
        };
        let pointer = |data: &RData| match data {
            RData::PTR(name) => Some(name.to_utf8().trim_end_matches('.').to_owned()),
            _ => None,
        };
        lookup.answers().iter().filter_map(|answer| pointer(&answer.data)).collect()
    }

    /// The addresses of a host; an address is its own.
    pub(in crate::discovery) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let lookup = self.resolver.0.lookup_ip(parse(host)?).await;
        let addresses: Vec<IpAddr> =
            lookup.map_err(|error| self.failed(host, &error))?.iter().collect();
        if addresses.is_empty() {
            return Err(format!("lookup {host} on {}: no such host", self.server));
        }
        Ok(addresses)
    }

    /// The address of a host that counts: IPv4 is preferred.
    pub(in crate::discovery) async fn address(&self, host: &str) -> io::Result<IpAddr> {
        let addresses = self.addresses(host).await.map_err(io::Error::other)?;
        let preferred = addresses.iter().find(|address| address.is_ipv4());
        let preferred = preferred.or_else(|| addresses.first());
        preferred.copied().ok_or_else(|| io::Error::other("no such host"))
    }

    /// The words that Go's resolver has for it.
    fn failed(&self, name: &str, error: &NetError) -> String {
        let reason = match error {
            NetError::Dns(DnsError::NoRecordsFound(_)) => "no such host".to_owned(),
            NetError::Dns(DnsError::ResponseCode(_)) => "server misbehaving".to_owned(),
            NetError::Timeout => "i/o timeout".to_owned(),
            error => error.to_string(),
        };
        format!("lookup {name} on {}: {reason}", self.server)
    }
}

fn parse(name: &str) -> Result<Name, String> {
    Name::from_utf8(name).map_err(|error| format!("lookup {name}: {error}"))
}

/// The first server of resolv.conf.
fn system_server() -> Option<String> {
    let text = std::fs::read_to_string("/etc/resolv.conf").ok()?;
    let server = text.lines().find_map(|line| line.trim().strip_prefix("nameserver"))?;
    let server: IpAddr = server.trim().parse().ok()?;
    Some(SocketAddr::new(server, 53).to_string())
}
