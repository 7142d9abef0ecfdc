use std::net::{IpAddr, SocketAddr};

use hickory_proto::rr::rdata::SRV;
use hickory_proto::rr::{Name, RData, Record};

use super::{PublishError, Published, TTL, address_record, below};
use crate::membership::{InitialCluster, PeerUrl};

/// Service labels of a cluster by the scheme of its peer URLs: what its members ask for, and what clients do.
const TLS: (&str, [&str; 2]) = ("_etcd-server-ssl", ["_etcd-client-ssl", "_etcd-ssl"]);
const PLAIN: (&str, [&str; 2]) = ("_etcd-server", ["_etcd-client", "_etcd"]);

/// What a cluster looks like in DNS, below `label` of the domain.
///
/// An SRV record for each peer URL, and one for the clients of each host. A URL with a host name has that name as its
/// target; one with an address gets a name made of the member's, since targets have to be names.
pub(super) fn records(
    domain: &Name,
    label: &str,
    published: &Published,
) -> Result<Vec<Record>, PublishError> {
    let (peer_service, client_services) = services(&published.cluster)?;
    let service = |name: &str| below(domain, &[name, "_tcp", label]);
    let mut hosts = Hosts { domain, label, named: Vec::new() };
    let mut targets: Vec<Target> = Vec::new();
    let mut records = Vec::new();
    for (member, urls) in published.cluster.members() {
        for url in urls {
            let name = hosts.target(member, url)?;
            if targets.iter().all(|target| target.name != name) {
                targets.push(Target { name: name.clone(), open: published.is_open(url) });
            }
            records.push(srv(service(peer_service), url.port(), name));
        }
    }
    // If nobody takes connections, who looks is more likely wrong than all of them; and the
    // services of members are always whole, because a part of them makes another cluster.
    let nobody = targets.iter().all(|target| !target.open);
    targets.retain(|target| target.open || nobody);
    for name in client_services {
        let one = |target: &Target| srv(service(name), published.port, target.name.clone());
        records.extend(targets.iter().map(one));
    }
    records.extend(hosts.named.into_iter().map(|host| address_record(host.name, host.address)));
    Ok(records)
}

fn services(cluster: &InitialCluster) -> Result<(&'static str, [&'static str; 2]), PublishError> {
    let mut urls = cluster.members().flat_map(|(_, urls)| urls);
    let first = urls.next().ok_or(PublishError::Empty)?;
    if urls.any(|url| url.is_https() != first.is_https()) {
        return Err(PublishError::MixedSchemes);
    }
    Ok(if first.is_https() { TLS } else { PLAIN })
}

fn srv(service: Name, port: u16, target: Name) -> Record {
    Record::from_rdata(service, TTL, RData::SRV(SRV::new(0, 100, port, target)))
}

impl Published {
    /// Whether clients can be sent to the host of this URL, as far as is known.
    fn is_open(&self, url: &PeerUrl) -> bool {
        let address = url.host().parse().map(|address| SocketAddr::new(address, self.port));
        !address.is_ok_and(|address| self.closed.contains(&address))
    }
}

/// A host that clients are sent to.
struct Target {
    name: Name,
    /// It takes connections of clients.
    open: bool,
}

/// The names that are given to addresses.
struct Hosts<'a> {
    domain: &'a Name,
    label: &'a str,
    named: Vec<Host<'a>>,
}

struct Host<'a> {
    member: &'a str,
    label: String,
    name: Name,
    address: IpAddr,
}

impl<'a> Hosts<'a> {
    /// The host in a URL as a name.
    fn target(&mut self, member: &'a str, url: &PeerUrl) -> Result<Name, PublishError> {
        let Ok(address) = url.host().parse::<IpAddr>() else { return host_name(url) };
        // One name for each address: which of two addresses of a name a resolver puts first is
        // nobody's promise.
        let known = |host: &&Host<'_>| host.member == member && host.address == address;
        if let Some(host) = self.named.iter().find(known) {
            return Ok(host.name.clone());
        }
        let label = self.unused_label(member);
        let name = below(self.domain, &[&label, self.label]);
        self.named.push(Host { member, label, name: name.clone(), address });
        Ok(name)
    }

    /// A label made of a member's name that no other host of the cluster has.
    fn unused_label(&self, member: &str) -> String {
        let legal = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let text: String = member.chars().map(legal).take(50).collect();
        let base = match text.trim_matches('-') {
            "" => "member",
            trimmed => trimmed,
        };
        let is_free = |label: &String| self.named.iter().all(|host| host.label != *label);
        let numbered = (2..).map(|n| format!("{base}-{n}"));
        let mut candidates = std::iter::once(base.to_owned()).chain(numbered);
        candidates.find(is_free).expect("there are more numbers than hosts")
    }
}

fn host_name(url: &PeerUrl) -> Result<Name, PublishError> {
    let host = url.host().trim_end_matches('.');
    let Ok(mut name) = Name::from_ascii(host) else {
        return Err(PublishError::Host { url: url.clone() });
    };
    if name.iter().next().is_none() {
        return Err(PublishError::Host { url: url.clone() });
    }
    name.set_fqdn(true);
    Ok(name)
}
