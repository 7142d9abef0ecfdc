//! Why a domain of SRV records does not make the cluster that its operator wants.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::replay::Member;
use super::survey::{Service, Survey, Target};
use crate::membership::PeerUrl;

/// Ports below it are opened by the administrator only, and by no etcd.
const LEAST_USUAL_PORT: u16 = 1024;

/// One thing that is wrong, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symptom {
    /// Never changes.
    pub code: &'static str,
    pub text: String,
    pub advice: String,
}

/// Looks for everything that keeps members from one cluster; nothing is reported twice under two
/// names. `tls_names` are the DNS names in the member's certificate.
pub fn diagnose(
    survey: &Survey,
    member: Option<&Member>,
    tls_names: Option<&[String]>,
) -> Vec<Symptom> {
    let mut out = Vec::new();
    let present: Vec<&Service> =
        survey.servers.iter().filter(|service| service.targets.is_ok()).collect();
    for service in &survey.servers {
        if let (Err(reason), false) = (&service.targets, service.absent) {
            out.push(symptom(
                "srv-lookup",
                format!("{}: {reason}", service.owner),
                "a member waits for this answer and gives up; make the server answer NXDOMAIN for \
                 the service that is not used"
                    .to_owned(),
            ));
        }
    }
    for owner in &survey.misspelled {
        let meant = owner.replacen("etcd_server", "etcd-server", 1).replacen("_ssl", "-ssl", 1);
        out.push(symptom(
            "srv-underscore",
            format!("`{owner}` has SRV records, and no member asks for it"),
            format!("rename it to `{meant}`: a hyphen between etcd and server"),
        ));
    }
    if present.is_empty() && out.is_empty() {
        let owners: Vec<&str> = survey.servers.iter().map(|it| it.owner.as_str()).collect();
        out.push(symptom(
            "srv-none",
            format!("there are no SRV records: {}", owners.join(", ")),
            "publish one of the two, with a record for each member".to_owned(),
        ));
    }
    if let [ssl, plain] = present.as_slice() {
        both(ssl, plain, &mut out);
    }
    for service in &present {
        for target in service.targets.iter().flatten() {
            one_target(service, target, &mut out);
        }
        repeated(service, &mut out);
    }
    if let Some(member) = member {
        own(survey, member, &present, &mut out);
    }
    for service in present.iter().filter(|service| service.label.starts_with("etcd-server-ssl")) {
        certificates(survey, service, tls_names, &mut out);
    }
    out
}

fn both(ssl: &Service, plain: &Service, out: &mut Vec<Symptom>) {
    // Whatever the ports: a member finds itself in one list and takes the other for more members.
    let hosts = |service: &Service| -> BTreeSet<String> {
        let targets = service.targets.iter().flatten();
        targets.map(|target| target.host.to_ascii_lowercase()).collect()
    };
    if hosts(ssl).is_disjoint(&hosts(plain)) {
        return;
    }
    out.push(symptom(
        "srv-both-services",
        format!("`{}` and `{}` list the same hosts", ssl.owner, plain.owner),
        "members of 3.5 put both lists together and never agree; keep the one whose scheme the \
         peer URLs have"
            .to_owned(),
    ));
}

fn one_target(service: &Service, target: &Target, out: &mut Vec<Symptom>) {
    let Target { priority, weight, port, host, .. } = target;
    let record = format!("`{}` SRV {priority} {weight} {port} {host}", service.owner);
    if is_swapped(target) {
        out.push(symptom(
            "srv-fields",
            format!("{record}: the fields are in the order of dnsmasq"),
            format!("a zone file wants priority, weight, port, target: `0 100 {} {host}`", {
                (*priority).max(*weight)
            }),
        ));
    } else if *port <= 1 {
        out.push(symptom(
            "srv-port",
            format!("{record}: nothing listens on port {port}"),
            "write the peer port, usually 2380; dnsmasq takes 1 when srv-host names none"
                .to_owned(),
        ));
    }
    if let Some(real) = &target.alias_of {
        out.push(symptom(
            "srv-target-alias",
            format!("{record}: the target is an alias of `{real}`"),
            format!("RFC 2782 wants a name with an address of its own: write `{real}`"),
        ));
    }
    if let Err(reason) = &target.addresses {
        out.push(symptom(
            "srv-target-no-address",
            format!("{record}: {reason}"),
            "etcd leaves the member out without a word and founds a smaller cluster; give the \
             name an A or AAAA record"
                .to_owned(),
        ));
    }
}

fn is_swapped(target: &Target) -> bool {
    target.port < LEAST_USUAL_PORT && target.priority.max(target.weight) >= LEAST_USUAL_PORT
}

fn repeated(service: &Service, out: &mut Vec<Symptom>) {
    let mut seen = BTreeSet::new();
    for target in service.targets.iter().flatten() {
        if !seen.insert((target.host.to_ascii_lowercase(), target.port)) {
            out.push(symptom(
                "srv-target-twice",
                format!("`{}` lists {}:{} twice", service.owner, target.host, target.port),
                "take one of the two out: members refuse a list with a URL twice".to_owned(),
            ));
        }
    }
}

/// Whether the member finds itself, unless something above says already why not.
fn own(survey: &Survey, member: &Member, present: &[&Service], out: &mut Vec<Symptom>) {
    let places = match &survey.own {
        Ok(places) => places,
        Err(reason) => {
            out.push(symptom(
                "srv-own-address",
                format!("the own URLs lead nowhere: {reason}"),
                "etcd resolves --initial-advertise-peer-urls first; give the host an address"
                    .to_owned(),
            ));
            return;
        }
    };
    if present.is_empty() {
        return;
    }
    let ours = |target: &&Target| {
        target.addresses.iter().flatten().any(|ip| places.contains(&(*ip, target.port)))
    };
    let schemes: BTreeSet<bool> = member.urls.iter().map(PeerUrl::is_https).collect();
    let mut found: Vec<(&Service, usize)> = Vec::new();
    for service in present {
        found.push((service, service.targets.iter().flatten().filter(ours).count()));
    }
    let is_ssl = |service: &Service| service.label.starts_with("etcd-server-ssl");
    let right =
        |(service, count): &&(&Service, usize)| *count > 0 && schemes.contains(&is_ssl(service));
    if let Some((service, count)) = found.iter().find(right) {
        if *count > member.urls.len() {
            out.push(symptom(
                "srv-self-twice",
                format!("{count} targets of `{}` lead to this member", service.owner),
                "one for each of its peer URLs is right; give the other members their own \
                 addresses"
                    .to_owned(),
            ));
        }
        return;
    }
    match found.iter().find(|(_, count)| *count > 0) {
        Some((service, _)) => {
            let (has, wants) = if is_ssl(service) { ("https", "http") } else { ("http", "https") };
            out.push(symptom(
                "srv-scheme",
                format!("`{}` stands for {has}, and the member advertises {wants}", service.owner),
                format!("advertise {has}://, or publish the service for {wants}"),
            ));
        }
        None => unlisted(member, places, present, out),
    }
}

/// No target leads to the member: says so, unless a broken record of its own address explains it.
fn unlisted(
    member: &Member,
    places: &[(IpAddr, u16)],
    present: &[&Service],
    out: &mut Vec<Symptom>,
) {
    let address = |target: &Target| {
        target.addresses.iter().flatten().any(|ip| places.iter().any(|(own, _)| own == ip))
    };
    let own_hosts: Vec<&str> = member.urls.iter().map(PeerUrl::host).collect();
    let explained = |target: &Target| {
        let lost = target.addresses.is_err() && own_hosts.contains(&target.host.as_str());
        lost || (address(target) && (target.port <= 1 || is_swapped(target)))
    };
    let all = || present.iter().flat_map(|service| service.targets.iter().flatten());
    if all().any(explained) {
        return;
    }
    let near = all().find(|target| address(target));
    let advertised: Vec<String> =
        places.iter().map(|(ip, port)| std::net::SocketAddr::new(*ip, *port).to_string()).collect();
    out.push(symptom(
        "srv-self",
        format!("no target leads to {} (member `{}`)", advertised.join(", "), member.name),
        match near {
            Some(target) => {
                format!("{}:{} has another port; make the two equal", target.host, target.port)
            }
            None => "add a record whose target has the address of --initial-advertise-peer-urls"
                .to_owned(),
        },
    ));
}

/// What TLS asks of DNS and of the certificate.
fn certificates(
    survey: &Survey,
    service: &Service,
    tls_names: Option<&[String]>,
    out: &mut Vec<Symptom>,
) {
    let nameless: Vec<(&str, &IpAddr)> = service
        .targets
        .iter()
        .flatten()
        .flat_map(|target| target.nameless.iter().map(|ip| (target.host.as_str(), ip)))
        .collect();
    for (host, address) in nameless {
        out.push(symptom(
            "srv-tls-pointer",
            format!("{address} ({host}) has no PTR record"),
            format!(
                "a member looks up the names of an incoming connection when the certificate has a \
                 wildcard; point {address} to {host}"
            ),
        ));
    }
    let Some(names) = tls_names else { return };
    // Every member has a certificate of its own; who is not found may have any of them.
    let own = |target: &&Target| {
        let mut addresses = target.addresses.iter().flatten();
        addresses
            .any(|ip| survey.own.as_ref().is_ok_and(|places| places.contains(&(*ip, target.port))))
    };
    let targets: Vec<&Target> = service.targets.iter().flatten().collect();
    let found: Vec<&Target> = targets.iter().copied().filter(own).collect();
    for target in if found.is_empty() { targets } else { found } {
        if !names.iter().any(|name| covers(name, &target.host)) {
            out.push(symptom(
                "srv-tls-name",
                format!("the certificate names {}, not `{}`", list(names), target.host),
                "with --peer-trusted-ca-file members verify the target's name: put it into the \
                 subject alternative names"
                    .to_owned(),
            ));
        }
    }
    if !names.iter().any(|name| covers(name, &survey.domain)) {
        out.push(symptom(
            "srv-tls-domain",
            format!("the certificate names {}, not the domain `{}`", list(names), survey.domain),
            "without --peer-trusted-ca-file members verify the SRV domain: put it into the subject \
             alternative names"
                .to_owned(),
        ));
    }
}

/// Whether a name of a certificate speaks for a host; `*` stands for one label (RFC 6125 §6.4.3).
fn covers(name: &str, host: &str) -> bool {
    let wild = name.strip_prefix("*.").zip(host.split_once('.').map(|(_, parent)| parent));
    name.eq_ignore_ascii_case(host)
        || wild.is_some_and(|(domain, parent)| domain.eq_ignore_ascii_case(parent))
}

fn list(names: &[String]) -> String {
    match names {
        [] => "no host".to_owned(),
        names => names.join(", "),
    }
}

fn symptom(code: &'static str, text: String, advice: String) -> Symptom {
    Symptom { code, text, advice }
}
