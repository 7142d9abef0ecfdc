use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::hosts::Host;
use crate::zone::{Answer, Key};

/// Records by their owner; see the module for the properties.
#[derive(Debug, Clone)]
pub struct Names {
    /// Of every record that has no other.
    ttl: u32,
    records: BTreeMap<Key, Vec<Record>>,
}

/// What local names say about a question.
#[derive(Debug)]
pub enum Found<'n> {
    Answer(Answer<'n>),
    /// The name exists here, with other types. Others may know more about it.
    Empty,
    Unknown,
}

impl Names {
    pub fn new(ttl: u32) -> Self {
        Self { ttl, records: BTreeMap::new() }
    }

    /// Adds a line of a hosts file. A name without dots is also known below `domain`, and there first.
    pub fn add_host(&mut self, host: &Host, domain: Option<&Name>) {
        for name in &host.names {
            let simple = name.iter().count() == 1;
            // Too long together means that nobody can ask for it.
            let long = domain.filter(|_| simple).and_then(|it| name.clone().append_domain(it).ok());
            for name in long.iter().chain([name]) {
                self.add_address(name, host.address, None);
            }
        }
    }

    /// Gives a name an address and, if it has none, the address its name.
    pub fn add_address(&mut self, name: &Name, address: IpAddr, ttl: Option<u32>) {
        let data = match address {
            IpAddr::V4(address) => RData::A(A(address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(address)),
        };
        self.add(name, data, ttl);
        let reverse = Name::from(address);
        if self.set(&Key::of(&reverse), RecordType::PTR).next().is_none() {
            self.add(&reverse, RData::PTR(PTR(name.clone())), ttl);
        }
    }

    /// Adds one record, unless it is there already.
    pub fn add(&mut self, name: &Name, data: RData, ttl: Option<u32>) {
        let held = self.records.entry(Key::of(name)).or_default();
        if held.iter().all(|record| record.data != data) {
            held.push(Record::from_rdata(name.clone(), ttl.unwrap_or(self.ttl), data));
        }
    }

    pub fn lookup(&self, name: &Name, kind: RecordType) -> Found<'_> {
        let key = Key::of(name);
        let Some(held) = self.records.get(&key) else { return Found::Unknown };
        let kind = match (kind, held.first()) {
            // One set is enough of an answer to "anything" (RFC 8482 §4.1).
            (RecordType::ANY, Some(first)) => first.record_type(),
            (kind, _) => kind,
        };
        let answers: Vec<_> = self.set(&key, kind).map(Cow::Borrowed).collect();
        if answers.is_empty() {
            return Found::Empty;
        }
        Found::Answer(Answer {
            authoritative: true,
            answers,
            ..Answer::bare(ResponseCode::NoError)
        })
    }

    fn set(&self, key: &Key, kind: RecordType) -> impl Iterator<Item = &Record> {
        let held = self.records.get(key).map(Vec::as_slice).unwrap_or_default();
        held.iter().filter(move |record| record.record_type() == kind)
    }
}
