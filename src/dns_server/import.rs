use std::collections::BTreeMap;
use std::path::Path;

use hickory_proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_proto::rr::{Name, RData, Record};

use super::dnsmasq::Dnsmasq;
use super::local::files_of;
use crate::local::dnsmasq::Policy;
use crate::local::hosts;
use crate::zone::{Key, print};

/// How long the absence of a name may be kept, as for published clusters.
const NEGATIVE_TTL: u32 = 5;
const SYSTEM_HOSTS: &str = "/etc/hosts";

/// What became of a configuration of dnsmasq.
#[derive(Debug)]
pub struct Imported {
    /// The text of each zone file by the zone's name without the dot at the end.
    pub zones: BTreeMap<String, String>,
    /// What zone files cannot say, and what to do instead.
    pub notes: Vec<String>,
}

/// Turns the names of dnsmasq into zone files.
///
/// A zone says of a name that it does not exist, where dnsmasq asks the next server: that is the
/// one thing in which the two differ. `server` is the name server that the zones name.
pub fn import(mut dnsmasq: Dnsmasq, server: &Name, serial: u32) -> Imported {
    let mut notes: Vec<String> = dnsmasq.unsupported.iter().map(ToString::to_string).collect();
    let late = add_hosts(&mut dnsmasq, &mut notes);
    let mut records: Vec<Record> = dnsmasq.sources.names.records().cloned().collect();
    let ttl = records.first().map_or(0, |record| record.ttl);
    let mut origins: Vec<Name> = Vec::new();
    for (domain, policy) in &dnsmasq.domains {
        match policy {
            Policy::Address(address) if !domain.is_root() => {
                let data = match address {
                    std::net::IpAddr::V4(address) => RData::A(A(*address)),
                    std::net::IpAddr::V6(address) => RData::AAAA(AAAA(*address)),
                };
                let below = domain.prepend_label("*").into_iter();
                for owner in below.chain([domain.clone()]) {
                    records.push(Record::from_rdata(owner, ttl, data.clone()));
                }
            }
            Policy::Local if !domain.is_root() => origins.push(domain.clone()),
            Policy::Server(server) => notes.push(format!(
                "server=/{domain}/{server} stays with dnsmasq's file: serve it with --dnsmasq-conf"
            )),
            _ => notes.push(format!("{policy:?} for `{domain}` has no form in a zone file")),
        }
    }
    for server in &dnsmasq.servers {
        notes.push(format!("server={server}: give --upstream {server} to quorate serve"));
    }
    for file in &dnsmasq.resolv_files {
        let file = file.display();
        notes.push(format!("resolv-file={file}: give --resolv-conf {file} to quorate serve"));
    }
    origins.extend(records.iter().filter_map(|record| origin_of(&record.name)));
    let origins = outermost(origins);
    // The hosts of the system are there for the targets, not to open zones of their own.
    records.extend(late.into_iter().filter(|record| home(&origins, &record.name).is_some()));
    // One that nothing is in says that nothing is there, as `local=/DOMAIN/` does.
    let zone = |origin: &Name| (file_name(origin), head(origin, server, serial));
    let mut zones: BTreeMap<String, Vec<Record>> = origins.iter().map(zone).collect();
    for record in records {
        let zone = home(&origins, &record.name);
        match zone.and_then(|origin| zones.get_mut(&file_name(origin))) {
            Some(zone) => zone.push(record),
            None => notes.push(format!(
                "`{}` has no domain, so no zone: serve it with --dnsmasq-conf or --hosts",
                record.name
            )),
        }
    }
    let zones = zones.into_iter().map(|(name, records)| (name, text(&records))).collect();
    Imported { zones, notes }
}

/// Adds what the hosts files say; those of the system file come back apart.
fn add_hosts(dnsmasq: &mut Dnsmasq, notes: &mut Vec<String>) -> Vec<Record> {
    let sources = &mut dnsmasq.sources;
    let mut files = sources.hosts.clone();
    for directory in &sources.hosts_dirs {
        match files_of(directory) {
            Ok(found) => files.extend(found),
            Err(error) => {
                let directory = directory.display();
                notes.push(format!("hosts directory `{directory}` cannot be read: {error}"));
            }
        }
    }
    let mut system = sources.names.clone();
    for file in files {
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(error) => {
                notes.push(format!("hosts file `{}` cannot be read: {error}", file.display()));
                continue;
            }
        };
        let (hosts, findings) = hosts::read(&String::from_utf8_lossy(&text));
        let names = if file == Path::new(SYSTEM_HOSTS) { &mut system } else { &mut sources.names };
        hosts.iter().for_each(|host| names.add_host(host, &sources.expand));
        for finding in findings {
            notes.push(format!(
                "hosts file `{}`, line {}: {}",
                file.display(),
                finding.line,
                finding.fault
            ));
        }
    }
    let known: Vec<&Record> = sources.names.records().collect();
    system.records().filter(|record| !known.contains(record)).cloned().collect()
}

/// The zone that a name would be looked for in: what is behind a service or behind the host.
fn origin_of(name: &Name) -> Option<Name> {
    let labels: Vec<&[u8]> = name.iter().collect();
    let reverse = |ending: &[&[u8]]| labels.ends_with(ending);
    let skip = if reverse(&[b"in-addr", b"arpa"]) {
        labels.len().saturating_sub(5).max(1)
    } else if reverse(&[b"ip6", b"arpa"]) {
        // Sixteen digits are the network.
        labels.len().saturating_sub(18)
    } else {
        let services = labels.iter().take_while(|label| label.starts_with(b"_")).count();
        if services > 0 { services } else { 1 }
    };
    // A top-level domain is nobody's own zone: what is right below it is a zone itself.
    let skip = if labels.len() > 1 { skip.min(labels.len() - 2) } else { skip };
    let origin = Name::from_labels(labels.into_iter().skip(skip)).ok()?;
    (!origin.is_root()).then_some(origin)
}

/// The names that are below none of the others.
fn outermost(mut names: Vec<Name>) -> Vec<Name> {
    names.sort_by_key(|name| name.iter().count());
    let mut kept: Vec<Name> = Vec::new();
    for name in names {
        if home(&kept, &name).is_none() {
            kept.push(name);
        }
    }
    kept
}

fn home<'o>(origins: &'o [Name], name: &Name) -> Option<&'o Name> {
    let key = Key::of(name);
    origins.iter().find(|origin| key.is_within(&Key::of(origin)))
}

fn file_name(origin: &Name) -> String {
    origin.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

fn head(origin: &Name, server: &Name, serial: u32) -> Vec<Record> {
    const TTL: u32 = 300;
    let mailbox = origin.prepend_label("hostmaster").unwrap_or_else(|_too_long| origin.clone());
    let soa = SOA::new(server.clone(), mailbox, serial, 3_600, 600, 604_800, NEGATIVE_TTL);
    vec![
        Record::from_rdata(origin.clone(), TTL, RData::SOA(soa)),
        Record::from_rdata(origin.clone(), TTL, RData::NS(NS(server.clone()))),
    ]
}

fn text(records: &[Record]) -> String {
    records.iter().map(|record| print(record) + "\n").collect()
}
