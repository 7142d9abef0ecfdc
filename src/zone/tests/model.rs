//! Lookups in the tree against a plain walk over a list of records, on random zones.

use std::collections::BTreeSet;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, CNAME, NS, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{origin, show};
use crate::zone::{Answer, Zone};

const ZONES: u64 = 600;
const QUESTIONS: usize = 60;

/// What an answer says, with the order of records and their repetition taken out.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: ResponseCode,
    authoritative: bool,
    answers: Vec<String>,
    authority: BTreeSet<String>,
    additional: BTreeSet<String>,
}

#[test]
fn lookup_agrees_with_a_linear_scan() {
    for seed in 0..ZONES {
        let mut random = SmallRng::seed_from_u64(seed);
        let records = random_zone(&mut random);
        let zone = Zone::assemble(records.iter()).unwrap();
        for _ in 0..QUESTIONS {
            let name = random_name(&mut random);
            let kinds = [
                RecordType::A,
                RecordType::TXT,
                RecordType::CNAME,
                RecordType::NS,
                RecordType::SRV,
            ];
            let kind = kinds[random.random_range(0..kinds.len())];
            let found = said(&zone.lookup(&name, kind));
            let expected = scan(&records, &name, kind);
            let listing = || records.iter().map(show).collect::<Vec<_>>().join("\n");
            assert_eq!(found, expected, "seed {seed}: {name} {kind} in\n{}", listing());
        }
    }
}

fn said(answer: &Answer<'_>) -> Said {
    Said {
        code: answer.code,
        authoritative: answer.authoritative,
        answers: answer.answers.iter().map(|record| show(record)).collect(),
        authority: answer.authority.iter().map(|record| show(record)).collect(),
        additional: answer.additional.iter().map(|record| show(record)).collect(),
    }
}

pub(super) fn random_name(random: &mut SmallRng) -> Name {
    let labels = ["a", "b", "c", "*"];
    let depth = random.random_range(0..4);
    let labels = (0..depth).map(|_| labels[random.random_range(0..labels.len())]);
    Name::from_labels(labels.collect::<Vec<_>>()).unwrap().append_domain(&apex()).unwrap()
}

fn apex() -> Name {
    origin("z")
}

pub(super) fn random_zone(random: &mut SmallRng) -> Vec<Record> {
    let soa = "$TTL 60\n@ 90 SOA a b 1 2 3 4 30\n@ NS a\n";
    let mut records: Vec<Record> =
        crate::zone::parse(soa.as_bytes(), &apex(), &mut crate::zone::no_include)
            .unwrap()
            .iter()
            .map(|entry| entry.record)
            .collect();
    for number in 0..random.random_range(0..12_u8) {
        let owner = random_name(random);
        let target = if random.random_bool(0.1) { origin("far") } else { random_name(random) };
        let data = match random.random_range(0..10) {
            0..4 => RData::A(A::new(10, 0, 0, number)),
            4..6 => RData::TXT(TXT::new(vec![number.to_string()])),
            6 => RData::NS(NS(target)),
            7 => RData::SRV(SRV::new(0, 0, u16::from(number), target)),
            _ => RData::CNAME(CNAME(target)),
        };
        // A CNAME is alone, and there is none at the apex.
        let alias = matches!(data, RData::CNAME(_));
        let clashes = |held: &Record| {
            held.name == owner
                && (alias || held.record_type() == RecordType::CNAME || held.data == data)
        };
        // Delegations by a wildcard have no meaning (RFC 4592 §4.2).
        let wild = owner.is_wildcard() && matches!(data, RData::NS(_));
        if !wild && !records.iter().any(clashes) {
            records.push(Record::from_rdata(owner, 60, data));
        }
    }
    records
}

/// The algorithm of RFC 1034 §4.3.2 and RFC 4592 §3.3, as slowly as it is written there.
fn scan(records: &[Record], question: &Name, kind: RecordType) -> Said {
    let mut said = Said {
        code: ResponseCode::NoError,
        authoritative: true,
        answers: Vec::new(),
        authority: BTreeSet::new(),
        additional: BTreeSet::new(),
    };
    let mut mentioned: Vec<Record> = Vec::new();
    let mut followed: Vec<Name> = Vec::new();
    let mut name = question.clone();
    loop {
        if let Some(cut) = cut_above(records, &name) {
            said.authoritative = !said.answers.is_empty();
            for record in of(records, &cut, RecordType::NS) {
                said.authority.insert(show(record));
                mentioned.push(record.clone());
            }
            break;
        }
        let Some(source) = source(records, &name) else {
            said.code = ResponseCode::NXDomain;
            said.authority.insert(negative());
            break;
        };
        let renamed =
            |record: &Record| Record::from_rdata(name.clone(), record.ttl, record.data.clone());
        let alias = of(records, &source, RecordType::CNAME).next();
        if let (Some(alias), true) = (alias, kind != RecordType::CNAME) {
            said.answers.push(show(&renamed(alias)));
            followed.push(name.clone());
            let RData::CNAME(target) = &alias.data else { unreachable!() };
            if !apex().zone_of(&target.0) || followed.contains(&target.0) {
                break;
            }
            name = target.0.clone();
            continue;
        }
        let set: Vec<Record> = of(records, &source, kind).map(renamed).collect();
        if set.is_empty() {
            said.authority.insert(negative());
        }
        said.answers.extend(set.iter().map(show));
        mentioned.extend(set);
        break;
    }
    for record in mentioned {
        let target = match &record.data {
            RData::SRV(srv) => &srv.target,
            RData::NS(ns) => &ns.0,
            _ => continue,
        };
        said.additional.extend(addresses(records, target).iter().map(show));
    }
    said
}

fn negative() -> String {
    "z. 30 SOA a.z. b.z. 1 2 3 4 30".to_owned()
}

fn of<'r>(
    records: &'r [Record],
    owner: &Name,
    kind: RecordType,
) -> impl Iterator<Item = &'r Record> {
    let owner = owner.clone();
    records.iter().filter(move |record| record.name == owner && record.record_type() == kind)
}

/// The delegation that is nearest to the apex, if one is at the name or above it.
fn cut_above(records: &[Record], name: &Name) -> Option<Name> {
    let depth = name.iter().count();
    (2..=depth)
        .map(|depth| name.trim_to(depth))
        .find(|above| of(records, above, RecordType::NS).next().is_some())
}

/// The name whose records answer: the name itself if it exists, else a wildcard.
fn source(records: &[Record], name: &Name) -> Option<Name> {
    let exists = |name: &Name| records.iter().any(|record| name.zone_of(&record.name));
    if exists(name) {
        return Some(name.clone());
    }
    let mut encloser = name.base_name();
    while !exists(&encloser) {
        encloser = encloser.base_name();
    }
    let wildcard = encloser.prepend_label("*").unwrap();
    exists(&wildcard).then_some(wildcard)
}

/// Addresses of a target, glue included.
fn addresses(records: &[Record], target: &Name) -> Vec<Record> {
    let own: Vec<Record> = of(records, target, RecordType::A).cloned().collect();
    let exists = records.iter().any(|record| target.zone_of(&record.name));
    if !apex().zone_of(target) || exists || cut_above(records, target).is_some() {
        return if apex().zone_of(target) { own } else { Vec::new() };
    }
    match source(records, target) {
        None => Vec::new(),
        Some(wildcard) => of(records, &wildcard, RecordType::A)
            .map(|record| Record::from_rdata(target.clone(), record.ttl, record.data.clone()))
            .collect(),
    }
}
