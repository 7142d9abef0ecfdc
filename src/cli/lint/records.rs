//! SRV records in a configuration of dnsmasq, against the members that look for them.

use std::rc::Rc;

use super::finding::{Finding, Place};
use super::member::Member;
use crate::local::dnsmasq::{self, Setting};
use crate::membership::PeerUrl;

/// One `srv-host` line of a cluster.
#[derive(Debug)]
pub(super) struct Record {
    place: Place,
    /// Whether members are reached by TLS.
    tls: bool,
    /// What follows `_etcd-server-ssl-` or the like; empty for most.
    suffix: String,
    domain: String,
    target: String,
    port: u16,
}

/// Reads the records of members. Lines that are wrong are findings; others are passed by.
pub(super) fn read(file: &Rc<str>, text: &str, findings: &mut Vec<Finding>) -> Vec<Record> {
    let (settings, wrong) = dnsmasq::read(text);
    let place = |line: u32| Place::new(file, usize::try_from(line).unwrap_or(1));
    for it in wrong {
        // The reasons have their way out.
        let text = it.fault.to_string();
        let (text, advice) = text.split_once([';', ':']).unwrap_or((&text, "see dnsmasq(8)"));
        findings.push(Finding::error("dnsmasq", &place(it.line), text, advice.trim()));
    }
    let record = |(line, setting): (u32, Setting)| {
        let Setting::Service { name, data } = setting else { return None };
        let name = name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let (service, domain) = name.split_once("._tcp.").or_else(|| {
            // A name without a domain gets that of `domain=`.
            name.strip_suffix("._tcp").map(|service| (service, ""))
        })?;
        let rest = service.strip_prefix("_etcd-server")?;
        let (tls, rest) = match rest.strip_prefix("-ssl") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let target = data.target.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        Some(Record {
            place: place(line),
            tls,
            suffix: rest.trim_start_matches('-').to_owned(),
            domain: domain.to_owned(),
            target,
            port: data.port,
        })
    };
    settings.into_iter().filter_map(record).collect()
}

/// Holds the members of a domain against its records.
pub(super) fn check(records: &[Record], members: &[Member], findings: &mut Vec<Finding>) {
    twice(records, findings);
    if records.is_empty() {
        return;
    }
    let mut met = Vec::new();
    for member in members {
        let Some(domain) = member.text("discovery-srv") else { continue };
        let domain = domain.trim_end_matches('.').to_ascii_lowercase();
        let suffix = member.text("discovery-srv-name").unwrap_or_default().to_ascii_lowercase();
        let own: Vec<&Record> =
            records.iter().filter(|it| it.domain == domain && it.suffix == suffix).collect();
        if own.is_empty() {
            let text = format!("no srv-host line of {} is about {domain}", records[0].place.file);
            let advice =
                format!("add srv-host=_etcd-server._tcp.{domain},HOST,2380,0,100 for each member");
            let place = member.place_of("discovery-srv");
            findings.push(Finding::error("srv-without-record", place, text, advice));
            continue;
        }
        for url in member.urls("initial-advertise-peer-urls").0 {
            let leading: Vec<&&Record> = own.iter().filter(|it| it.leads_to(&url)).collect();
            met.extend(leading.iter().map(|record| record.place.clone()));
            match leading.first() {
                Some(record) => scheme(record, member, &url, findings),
                None => absent(&own, member, &url, findings),
            }
        }
    }
    forgotten(records, members, &met, findings);
}

impl Record {
    fn leads_to(&self, url: &PeerUrl) -> bool {
        self.target.eq_ignore_ascii_case(url.host()) && self.port == url.port()
    }
}

fn twice(records: &[Record], findings: &mut Vec<Finding>) {
    for (at, record) in records.iter().enumerate() {
        let same = |other: &&Record| {
            (&other.target, other.port, &other.domain, &other.suffix)
                == (&record.target, record.port, &record.domain, &record.suffix)
        };
        if let Some(other) = records[..at].iter().find(same) {
            let text = format!(
                "{}:{} is in a record already, {}",
                record.target, record.port, other.place
            );
            let advice = "name another member, or take the line out";
            findings.push(Finding::error("record-twice", &record.place, text, advice));
        }
    }
}

fn scheme(record: &Record, member: &Member, url: &PeerUrl, findings: &mut Vec<Finding>) {
    if record.tls != url.is_https() {
        let (service, scheme) =
            if record.tls { ("_etcd-server-ssl", "https") } else { ("_etcd-server", "http") };
        let text =
            format!("{url} has a record of {service} ({}), which is for {scheme}", record.place);
        let advice = "_etcd-server-ssl is for https, and _etcd-server for http";
        let place = member.place_of("initial-advertise-peer-urls");
        findings.push(Finding::error("scheme-differs", place, text, advice));
    }
}

fn absent(own: &[&Record], member: &Member, url: &PeerUrl, findings: &mut Vec<Finding>) {
    let is_address = url.host().parse::<std::net::IpAddr>().is_ok();
    let targets: Vec<String> = own.iter().map(|it| format!("{}:{}", it.target, it.port)).collect();
    // An address may be that of a target; which, the records do not tell.
    if is_address && own.iter().any(|it| it.port == url.port()) {
        return;
    }
    let text = format!("no record leads to {url}; they lead to {}", targets.join(", "));
    let advice = "advertise one of these names, or add a srv-host line for this member";
    let place = member.place_of("initial-advertise-peer-urls");
    findings.push(Finding::error("srv-without-record", place, text, advice));
}

/// Records of members that nobody starts, where several are given.
fn forgotten(records: &[Record], members: &[Member], met: &[Place], findings: &mut Vec<Finding>) {
    let several = members.iter().filter(|it| it.setting("discovery-srv").is_some()).count() > 1;
    if !several || met.is_empty() {
        return;
    }
    for record in records.iter().filter(|it| !met.contains(&it.place)) {
        let text = format!("no member here is {}:{}", record.target, record.port);
        let advice = "start it, or take the line out: members wait for all that are named";
        findings.push(Finding::warning("record-without-member", &record.place, text, advice));
    }
}
