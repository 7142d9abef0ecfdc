use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use hickory_proto::rr::rdata::SRV;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::entries::{Entries, Owners};
use super::lexer::Fault;
use super::packed::RecordSet;
use super::tree::{Key, Zone};

/// Below it are the ports that only the administrator may open.
const LEAST_USUAL_PORT: u16 = 1024;

/// Something odd or wrong in a zone, and the place it is best mended at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// None if the flaw is that something is nowhere.
    pub place: Option<Place>,
    pub flaw: Flaw,
}

/// A place in a master file or in one that it includes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As `$INCLUDE` spells it; none for the master file itself.
    pub file: Option<Arc<str>>,
    /// Counts from 1.
    pub line: u32,
    /// Counts bytes from 1; none for a whole line.
    pub column: Option<u32>,
}

/// What [`check`] found, and the zone that was made of the records.
#[derive(Debug, Default)]
pub struct Findings {
    /// With one of these the zone must not be served.
    pub errors: Vec<Finding>,
    pub warnings: Vec<Finding>,
    /// None without an SOA.
    pub zone: Option<Zone>,
}

/// A way in which well-formed records make a bad zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("{0}")]
    Syntax(Fault),
    #[error("the zone has no SOA record")]
    NoSoa,
    #[error("a second SOA record; the zone has one, at its apex")]
    SecondSoa,
    #[error("the apex `{apex}` has no NS record")]
    NoNs { apex: Name },
    #[error("`{owner}` has a {kind} record, which allows no {other} beside it")]
    NotAlone { owner: Name, kind: RecordType, other: RecordType },
    #[error("`{owner}` is below the DNAME `{dname}`, where nothing can be")]
    BelowDname { owner: Name, dname: Name },
    #[error("`{owner}` is outside of the zone `{apex}` and left out")]
    Outside { owner: Name, apex: Name },
    #[error("TTLs of the {kind} records of `{owner}` differ; the lowest, {ttl}, is used")]
    MixedTtl { owner: Name, kind: RecordType, ttl: u32 },
    #[error("{kind} target `{target}` has no address in this zone")]
    NoAddress { kind: RecordType, target: Name },
    #[error("{kind} target `{target}` is an alias (CNAME); it has to own its address")]
    AliasTarget { kind: RecordType, target: Name },
    #[error(
        "SRV port {port}: the fields are priority, weight, port, target{}",
        if *.port == 1 { "; 1 is what dnsmasq takes when none is written" } else { "" }
    )]
    OddPort { port: u16 },
    #[error(
        "SRV has priority {priority}, weight {weight} and port {port}: are they in the order of \
         dnsmasq? A zone file wants priority, weight, port, target"
    )]
    SwappedFields { priority: u16, weight: u16, port: u16 },
    #[error("`{owner}` is spelled with an underscore inside; etcd asks for `{meant}`")]
    Underscore { owner: Name, meant: String },
    #[error("`{owner}` and `{ssl}` name the same host; members would form two clusters")]
    BothServices { owner: Name, ssl: Name },
    #[error("the records changed and the serial did not move forward ({old} to {new})")]
    SerialStood { old: u32, new: u32 },
}

/// Judges the records of a master file; `previous` is the zone in service under the same name.
pub fn check(entries: &Entries, previous: Option<&Zone>) -> Findings {
    let mut findings = Findings::default();
    let Some(soa) = entries.of_kind(RecordType::SOA).next() else {
        findings.error(None, Flaw::NoSoa);
        return findings;
    };
    let apex = entries.owner(soa);
    let places = Places(Owners::of(entries));
    check_records(&places.0, &apex, &mut findings);
    let Some(zone) = Zone::of(&places.0) else {
        return findings;
    };
    if zone.node(&apex).is_none_or(|node| !node.has(RecordType::NS)) {
        findings.error(None, Flaw::NoNs { apex });
    }
    check_exclusive(&zone, &places, &mut findings);
    check_targets(&zone, &places, &mut findings);
    check_services(&zone, &places, &mut findings);
    if let Some(previous) = previous {
        check_serial(&zone, previous, &places, &mut findings);
    }
    findings.zone = Some(zone);
    findings
}

/// What can be said while the lines are still known one by one.
fn check_records(owners: &Owners<'_>, apex: &Name, findings: &mut Findings) {
    let entries = owners.entries;
    let mut soas = entries.of_kind(RecordType::SOA);
    let first = soas.next();
    // The same record once more is one that is written twice, as any other may be.
    let same = |one, second| entries.key(one) == entries.key(second) && entries.same(one, second);
    for second in soas.filter(|second| first.is_some_and(|first| !same(first, *second))) {
        findings.error(entries.place(second), Flaw::SecondSoa);
    }
    let apex_key = Key::of(apex);
    let mut odd: Vec<(u32, Flaw)> = Vec::new();
    for (key, group) in owners.iter() {
        if !key.starts_with(apex_key.as_bytes()) {
            let outside = group.iter().filter(|it| entries.kind(**it) != RecordType::SOA);
            odd.extend(outside.map(|entry| {
                let owner = entries.owner(*entry);
                (*entry, Flaw::Outside { owner, apex: apex.clone() })
            }));
            continue;
        }
        // Of each type the first TTL, and whether another was found.
        let mut ttls: Vec<(RecordType, u32, bool)> = Vec::new();
        for entry in group {
            let (kind, ttl) = (entries.kind(*entry), entries.ttl(*entry));
            match ttls.iter_mut().find(|(seen, ..)| *seen == kind) {
                None => ttls.push((kind, ttl, false)),
                Some((_, first, mixed)) if *first != ttl && !*mixed => {
                    *mixed = true;
                    let (owner, ttl) = (entries.owner(*entry), ttl.min(*first));
                    odd.push((*entry, Flaw::MixedTtl { owner, kind, ttl }));
                }
                Some(_) => {}
            }
        }
    }
    odd.sort_unstable_by_key(|(entry, _)| *entry);
    odd.into_iter().for_each(|(entry, flaw)| findings.warn(entries.place(entry), flaw));
}

/// CNAME and DNAME want to be alone (RFC 2181 §10.1, RFC 6672 §2.3 and §2.4).
fn check_exclusive(zone: &Zone, places: &Places<'_>, findings: &mut Findings) {
    let mut dname: Option<(Key, Name)> = None;
    for (key, node) in zone.nodes.iter() {
        if node.kinds().next().is_none() {
            continue;
        }
        let owner = node.owner();
        match &dname {
            Some((above, name)) if key.starts_with(above.as_bytes()) => {
                let flaw = Flaw::BelowDname { owner: owner.clone(), dname: name.clone() };
                findings.error(places.first_of(&owner), flaw);
            }
            _ => dname = None,
        }
        for kind in [RecordType::CNAME, RecordType::DNAME] {
            let Some(set) = node.set(kind) else { continue };
            let beside = match set.records().len() {
                1 => node.kinds().find(|other| {
                    *other != kind && (kind == RecordType::CNAME || *other == RecordType::CNAME)
                }),
                _ => Some(kind),
            };
            if let Some(other) = beside {
                let flaw = Flaw::NotAlone { owner: owner.clone(), kind, other };
                findings.error(places.of_kind(&owner, kind), flaw);
            }
            if kind == RecordType::DNAME {
                dname = Some((Key::of(&owner), owner.clone()));
            }
        }
    }
}

/// Targets inside the zone have addresses here and are no aliases (RFC 2782, RFC 2181 §10.3).
fn check_targets(zone: &Zone, places: &Places<'_>, findings: &mut Findings) {
    for record in zone.records() {
        let kind = record.record_type();
        let Some(target) = target_of(&record) else { continue };
        if target.is_root() || !Key::of(target).is_within(&zone.apex) {
            continue;
        }
        let target = target.clone();
        // Glue is not authoritative, so ask the tree before the lookup.
        let own = zone.node(&target);
        let has = |kind| own.is_some_and(|node| node.has(kind));
        if has(RecordType::A) || has(RecordType::AAAA) {
            continue;
        }
        let answer = zone.lookup(&target, RecordType::A);
        if answer.answers.first().is_some_and(|first| first.record_type() == RecordType::CNAME) {
            let flaw = Flaw::AliasTarget { kind, target: target.clone() };
            findings.warn(places.of_record(&record), flaw);
            continue;
        }
        let addressed = !answer.answers.is_empty()
            || !zone.lookup(&target, RecordType::AAAA).answers.is_empty();
        // A target below a delegation without glue is known to the servers there.
        if !addressed && (answer.authoritative || kind == RecordType::NS) {
            findings.warn(places.of_record(&record), Flaw::NoAddress { kind, target });
        }
    }
}

fn target_of(record: &Record) -> Option<&Name> {
    match &record.data {
        RData::SRV(srv) => Some(&srv.target),
        RData::NS(ns) => Some(&ns.0),
        RData::MX(mx) => Some(&mx.exchange),
        _ => None,
    }
}

/// Fields that are right for the format and for nothing else.
fn check_fields(set: &RecordSet, places: &Places<'_>, findings: &mut Findings) {
    for record in set.records() {
        let RData::SRV(SRV { priority, weight, port, target, .. }) = &record.data else { continue };
        let (priority, weight, port) = (*priority, *weight, *port);
        // No etcd has a privileged port, and nobody gives its members such a priority or weight.
        let etcd = record.name.iter().next().is_some_and(|label| label.starts_with(b"_etcd"));
        if etcd && port < LEAST_USUAL_PORT && priority.max(weight) >= LEAST_USUAL_PORT {
            let flaw = Flaw::SwappedFields { priority, weight, port };
            findings.warn(places.of_record(record), flaw);
        } else if port <= 1 && !target.is_root() {
            findings.warn(places.of_record(record), Flaw::OddPort { port });
        }
    }
}

/// Service names that etcd will never find, or finds twice.
fn check_services(zone: &Zone, places: &Places<'_>, findings: &mut Findings) {
    let services = zone.nodes.iter().filter_map(|(_, node)| node.set(RecordType::SRV));
    for set in services {
        check_fields(&set, places, findings);
        let owner = &set.records()[0].name;
        let place = places.of_kind(owner, RecordType::SRV);
        let Some(label) = owner.iter().next() else { continue };
        let label = String::from_utf8_lossy(label).to_ascii_lowercase();
        if let Some(rest) = label.strip_prefix("_etcd_") {
            let meant = format!("_etcd-{}", rest.replace('_', "-"));
            findings.warn(place.clone(), Flaw::Underscore { owner: owner.clone(), meant });
        }
        // Members of etcd 3.5 merge the two and number them alike, those of 3.4 read only one.
        let suffix = ["_etcd-server", "_etcd-client"].iter().find_map(|service| {
            let rest = label.strip_prefix(service)?;
            let plain = !rest.starts_with("-ssl") && (rest.is_empty() || rest.starts_with('-'));
            plain.then(|| format!("{service}-ssl{rest}"))
        });
        let Some(ssl_label) = suffix else { continue };
        let Ok(ssl) = owner.base_name().prepend_label(ssl_label.as_bytes()) else { continue };
        let Some(other) = zone.node(&ssl).and_then(|node| node.set(RecordType::SRV)) else {
            continue;
        };
        // A member has one list of peers, whatever the ports; clients may have a port of each kind.
        let members = label.starts_with("_etcd-server");
        let hosts = |records: &[Record]| -> BTreeSet<(Key, Option<u16>)> {
            let host = |record: &Record| match &record.data {
                RData::SRV(srv) => Some((Key::of(&srv.target), (!members).then_some(srv.port))),
                _ => None,
            };
            records.iter().filter_map(host).collect()
        };
        if !hosts(set.records()).is_disjoint(&hosts(other.records())) {
            findings.warn(place.clone(), Flaw::BothServices { owner: owner.clone(), ssl });
        }
    }
}

/// Serials are compared in a circle (RFC 1982 §3.2).
fn check_serial(zone: &Zone, previous: &Zone, places: &Places<'_>, findings: &mut Findings) {
    let (old, new) = (previous.serial(), zone.serial());
    let ahead = new.wrapping_sub(old);
    let forward = ahead != 0 && ahead < 1 << 31;
    let same = zone.records().eq(previous.records())
        && zone.records().zip(previous.records()).all(|(a, b)| a.ttl == b.ttl);
    if !forward && !same {
        let place = places.of_kind(zone.origin(), RecordType::SOA);
        findings.warn(place.clone(), Flaw::SerialStood { old, new });
    }
}

/// The place each record was written at.
struct Places<'e>(Owners<'e>);

impl Places<'_> {
    fn find(&self, owner: &Name, wanted: impl Fn(&Entries, u32) -> bool) -> Option<Place> {
        let entries = self.0.entries;
        let found = self.0.find(owner).iter().find(|entry| wanted(entries, **entry));
        found.and_then(|entry| entries.place(*entry))
    }

    fn first_of(&self, owner: &Name) -> Option<Place> {
        self.find(owner, |_, _| true)
    }

    fn of_kind(&self, owner: &Name, kind: RecordType) -> Option<Place> {
        self.find(owner, |entries, entry| entries.kind(entry) == kind)
    }

    fn of_record(&self, record: &Record) -> Option<Place> {
        let kind = record.record_type();
        self.find(&record.name, |entries, entry| {
            entries.kind(entry) == kind && entries.record(entry).data == record.data
        })
    }
}

impl Flaw {
    /// A short name of the kind of flaw; it never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax(Fault::Include { .. }) => "zone-include",
            Self::Syntax(_) => "zone-syntax",
            Self::NoSoa => "zone-no-soa",
            Self::SecondSoa => "zone-second-soa",
            Self::NoNs { .. } => "zone-no-ns",
            Self::NotAlone { .. } => "zone-not-alone",
            Self::BelowDname { .. } => "zone-below-dname",
            Self::Outside { .. } => "zone-owner-outside",
            Self::MixedTtl { .. } => "zone-mixed-ttl",
            Self::NoAddress { .. } => "zone-target-no-address",
            Self::AliasTarget { .. } => "zone-target-alias",
            Self::OddPort { .. } => "zone-srv-port",
            Self::SwappedFields { .. } => "zone-srv-fields",
            Self::Underscore { .. } => "zone-srv-underscore",
            Self::BothServices { .. } => "zone-srv-both-services",
            Self::SerialStood { .. } => "zone-serial-stood",
        }
    }
}

impl Findings {
    fn error(&mut self, place: Option<Place>, flaw: Flaw) {
        self.errors.push(Finding { place, flaw });
    }

    fn warn(&mut self, place: Option<Place>, flaw: Flaw) {
        self.warnings.push(Finding { place, flaw });
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.flaw),
            None => write!(f, "{}", self.flaw),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "included file `{file}`, ")?;
        }
        write!(f, "line {}", self.line)?;
        self.column.map_or(Ok(()), |column| write!(f, ", column {column}"))
    }
}
