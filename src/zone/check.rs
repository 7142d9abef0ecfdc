use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::parse::Entry;
use super::tree::{Key, Zone};

/// Something odd or wrong in a zone, and the line it is best mended on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// None if the flaw is that something is nowhere.
    pub line: Option<u32>,
    pub flaw: Flaw,
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
    #[error("`{owner}` is spelled with an underscore inside; etcd asks for `{meant}`")]
    Underscore { owner: Name, meant: String },
    #[error("`{owner}` and `{ssl}` name the same host and port; members would form two clusters")]
    BothServices { owner: Name, ssl: Name },
    #[error("the records changed and the serial did not move forward ({old} to {new})")]
    SerialStood { old: u32, new: u32 },
}

/// Judges the records of a master file; `previous` is the zone in service under the same name.
pub fn check(entries: Vec<Entry>, previous: Option<&Zone>) -> Findings {
    let mut findings = Findings::default();
    let lines = Lines::of(&entries);
    let soa = entries.iter().find(|entry| entry.record.record_type() == RecordType::SOA);
    let Some(apex) = soa.map(|entry| entry.record.name.clone()) else {
        findings.error(None, Flaw::NoSoa);
        return findings;
    };
    check_records(&entries, &apex, &mut findings);
    let records = entries.into_iter().map(|entry| entry.record).collect();
    let Some(zone) = Zone::assemble(records) else {
        return findings;
    };
    if zone.node(&apex).is_none_or(|node| node.set(RecordType::NS).is_none()) {
        findings.error(None, Flaw::NoNs { apex });
    }
    check_exclusive(&zone, &lines, &mut findings);
    check_targets(&zone, &lines, &mut findings);
    check_services(&zone, &lines, &mut findings);
    if let Some(previous) = previous {
        check_serial(&zone, previous, &lines, &mut findings);
    }
    findings.zone = Some(zone);
    findings
}

/// What can be said while the lines are still known one by one.
fn check_records(entries: &[Entry], apex: &Name, findings: &mut Findings) {
    let apex_key = Key::of(apex);
    let mut soas = 0;
    let mut ttls: BTreeMap<(Key, u16), (u32, bool)> = BTreeMap::new();
    for Entry { line, record } in entries {
        let owner = record.name.clone();
        let key = Key::of(&owner);
        if record.record_type() == RecordType::SOA {
            soas += 1;
            if soas > 1 {
                findings.error(Some(*line), Flaw::SecondSoa);
            }
        } else if !key.is_within(&apex_key) {
            findings.warn(Some(*line), Flaw::Outside { owner, apex: apex.clone() });
            continue;
        }
        let kind = record.record_type();
        let (ttl, mixed) = ttls.entry((key, u16::from(kind))).or_insert((record.ttl, false));
        if *ttl != record.ttl && !*mixed {
            *mixed = true;
            let ttl = record.ttl.min(*ttl);
            findings.warn(Some(*line), Flaw::MixedTtl { owner, kind, ttl });
        }
    }
}

/// CNAME and DNAME want to be alone (RFC 2181 §10.1, RFC 6672 §2.3 and §2.4).
fn check_exclusive(zone: &Zone, lines: &Lines, findings: &mut Findings) {
    let mut dname: Option<(Key, Name)> = None;
    for (key, node) in &zone.nodes {
        let Some(owner) = node.sets().first().map(|set| set.records()[0].name.clone()) else {
            continue;
        };
        match &dname {
            Some((above, name)) if key.is_within(above) => {
                let flaw = Flaw::BelowDname { owner: owner.clone(), dname: name.clone() };
                findings.error(lines.first_of(&owner), flaw);
            }
            _ => dname = None,
        }
        for kind in [RecordType::CNAME, RecordType::DNAME] {
            let Some(set) = node.set(kind) else { continue };
            let beside = match set.records().len() {
                1 => node.sets().iter().map(super::RecordSet::kind).find(|other| {
                    *other != kind && (kind == RecordType::CNAME || *other == RecordType::CNAME)
                }),
                _ => Some(kind),
            };
            if let Some(other) = beside {
                let flaw = Flaw::NotAlone { owner: owner.clone(), kind, other };
                findings.error(lines.of_kind(&owner, kind), flaw);
            }
            if kind == RecordType::DNAME {
                dname = Some((Key::of(&owner), owner.clone()));
            }
        }
    }
}

/// Targets inside the zone have addresses here and are no aliases (RFC 2782, RFC 2181 §10.3).
fn check_targets(zone: &Zone, lines: &Lines, findings: &mut Findings) {
    for record in zone.records() {
        let kind = record.record_type();
        let Some(target) = target_of(record) else { continue };
        if target.is_root() || !Key::of(target).is_within(&zone.apex) {
            continue;
        }
        let line = lines.of_record(record);
        let target = target.clone();
        // Glue is not authoritative, so ask the tree before the lookup.
        let own = zone.node(&target);
        let has = |kind| own.is_some_and(|node| node.set(kind).is_some());
        if has(RecordType::A) || has(RecordType::AAAA) {
            continue;
        }
        let answer = zone.lookup(&target, RecordType::A);
        if answer.answers.first().is_some_and(|first| first.record_type() == RecordType::CNAME) {
            findings.warn(line, Flaw::AliasTarget { kind, target });
            continue;
        }
        let addressed = !answer.answers.is_empty()
            || !zone.lookup(&target, RecordType::AAAA).answers.is_empty();
        // A target below a delegation without glue is known to the servers there.
        if !addressed && (answer.authoritative || kind == RecordType::NS) {
            findings.warn(line, Flaw::NoAddress { kind, target });
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

/// Service names that etcd will never find, or finds twice.
fn check_services(zone: &Zone, lines: &Lines, findings: &mut Findings) {
    let services = zone.nodes.values().filter_map(|node| node.set(RecordType::SRV));
    for set in services {
        let owner = &set.records()[0].name;
        let line = lines.of_kind(owner, RecordType::SRV);
        let Some(label) = owner.iter().next() else { continue };
        let label = String::from_utf8_lossy(label).to_ascii_lowercase();
        if let Some(rest) = label.strip_prefix("_etcd_") {
            let meant = format!("_etcd-{}", rest.replace('_', "-"));
            findings.warn(line, Flaw::Underscore { owner: owner.clone(), meant });
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
        let hosts = |records: &[Record]| -> BTreeSet<(Key, u16)> {
            let host = |record: &Record| match &record.data {
                RData::SRV(srv) => Some((Key::of(&srv.target), srv.port)),
                _ => None,
            };
            records.iter().filter_map(host).collect()
        };
        if !hosts(set.records()).is_disjoint(&hosts(other.records())) {
            findings.warn(line, Flaw::BothServices { owner: owner.clone(), ssl });
        }
    }
}

/// Serials are compared in a circle (RFC 1982 §3.2).
fn check_serial(zone: &Zone, previous: &Zone, lines: &Lines, findings: &mut Findings) {
    let (old, new) = (previous.serial(), zone.serial());
    let ahead = new.wrapping_sub(old);
    let forward = ahead != 0 && ahead < 1 << 31;
    let same = zone.records().eq(previous.records())
        && zone.records().zip(previous.records()).all(|(a, b)| a.ttl == b.ttl);
    if !forward && !same {
        let line = lines.of_kind(zone.origin(), RecordType::SOA);
        findings.warn(line, Flaw::SerialStood { old, new });
    }
}

/// The line each record was written on.
struct Lines(BTreeMap<Key, Vec<(u32, Record)>>);

impl Lines {
    fn of(entries: &[Entry]) -> Self {
        let mut lines: BTreeMap<Key, Vec<(u32, Record)>> = BTreeMap::new();
        for entry in entries {
            let line = (entry.line, entry.record.clone());
            lines.entry(Key::of(&entry.record.name)).or_default().push(line);
        }
        Self(lines)
    }

    fn find(&self, owner: &Name, wanted: impl Fn(&Record) -> bool) -> Option<u32> {
        let lines = self.0.get(&Key::of(owner))?;
        lines.iter().find(|(_, record)| wanted(record)).map(|(line, _)| *line)
    }

    fn first_of(&self, owner: &Name) -> Option<u32> {
        self.find(owner, |_| true)
    }

    fn of_kind(&self, owner: &Name, kind: RecordType) -> Option<u32> {
        self.find(owner, |record| record.record_type() == kind)
    }

    fn of_record(&self, record: &Record) -> Option<u32> {
        self.find(&record.name, |held| held.data == record.data)
    }
}

impl Findings {
    fn error(&mut self, line: Option<u32>, flaw: Flaw) {
        self.errors.push(Finding { line, flaw });
    }

    fn warn(&mut self, line: Option<u32>, flaw: Flaw) {
        self.warnings.push(Finding { line, flaw });
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.flaw),
            None => write!(f, "{}", self.flaw),
        }
    }
}
