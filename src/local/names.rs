use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::dnsmasq::Policy;
use super::hosts::Host;
use crate::zone::{Answer, Key};

/// A chain of aliases longer than this ends where it is.
const LONGEST_CHAIN: usize = 16;

/// Records by their owner, and what is said about whole domains; see the module.
#[derive(Debug, Clone)]
pub struct Names {
    /// Of every record that has no other.
    ttl: u32,
    records: BTreeMap<Key, Vec<Record>>,
    domains: BTreeMap<Key, Domain>,
}

/// The domains that names without dots are completed with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suffixes {
    /// Of hosts that are in no range.
    pub usual: Option<Name>,
    /// Of hosts whose addresses are in a range; of two the one that came last.
    pub ranges: Vec<(RangeInclusive<IpAddr>, Name)>,
}

impl Suffixes {
    fn of(&self, address: IpAddr) -> Option<&Name> {
        let mut latest = self.ranges.iter().rev();
        let found = latest.find(|(range, _)| range.contains(&address)).map(|(_, name)| name);
        found.or(self.usual.as_ref())
    }
}

/// What was said about one domain.
#[derive(Debug, Clone, Default)]
struct Domain {
    addresses: Vec<IpAddr>,
    /// Nothing exists here but what is known.
    local: bool,
    servers: Vec<SocketAddr>,
}

/// What local names say about a question.
#[derive(Debug)]
pub enum Found<'n> {
    Answer(Answer<'n>),
    /// The name exists here, with other types. Others may know more about it, though of a name
    /// with addresses not more addresses.
    Empty {
        addresses: bool,
    },
    Unknown,
}

impl Names {
    pub fn new(ttl: u32) -> Self {
        Self { ttl, records: BTreeMap::new(), domains: BTreeMap::new() }
    }

    /// Adds a line of a hosts file. A name without dots is also known below its domain, if it gets
    /// one, and there first.
    pub fn add_host(&mut self, host: &Host, suffixes: &Suffixes) {
        let domain = suffixes.of(host.address);
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
        self.add(name, address_data(address), ttl);
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

    /// Says something about a name and all below it, besides what was said before.
    pub fn add_policy(&mut self, name: &Name, policy: Policy) {
        let domain = self.domains.entry(Key::of(name)).or_default();
        match policy {
            Policy::Address(address) => domain.addresses.push(address),
            Policy::Local => domain.local = true,
            Policy::Server(server) => domain.servers.push(server),
            // That the domain is there is enough.
            Policy::Default => {}
        }
    }

    /// Every record that a name has itself.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values().flatten()
    }

    pub fn lookup(&self, name: &Name, kind: RecordType) -> Found<'_> {
        let mut answers = Vec::new();
        let mut target = Cow::Borrowed(name);
        let mut found = Found::Unknown;
        for _ in 0..LONGEST_CHAIN {
            let key = Key::of(&target);
            if let Some(RData::CNAME(next)) = self.alias(&key, kind).map(|record| &record.data) {
                answers.extend(self.set(&key, RecordType::CNAME).take(1).map(Cow::Borrowed));
                target = Cow::Owned(next.0.clone());
                continue;
            }
            found = self.end(&key, &target, kind, &mut answers);
            break;
        }
        if answers.is_empty() {
            return found;
        }
        let additional = self.addresses_of_targets(&answers);
        Found::Answer(Answer { additional, ..known(ResponseCode::NoError, answers) })
    }

    /// The servers to ask about a name, if its domain has some of its own.
    pub fn servers(&self, name: &Name) -> Option<&[SocketAddr]> {
        let domain = self.domain(&Key::of(name))?;
        (!domain.servers.is_empty()).then_some(&domain.servers)
    }

    /// Every list of servers that a domain has of its own.
    pub fn server_lists(&self) -> impl Iterator<Item = &Vec<SocketAddr>> {
        self.domains.values().map(|domain| &domain.servers).filter(|list| !list.is_empty())
    }

    /// What the name at the end of all aliases contributes.
    fn end<'n>(
        &'n self,
        key: &Key,
        name: &Name,
        kind: RecordType,
        answers: &mut Vec<Cow<'n, Record>>,
    ) -> Found<'n> {
        let domain = self.domain(key);
        let local = domain.is_some_and(|domain| domain.local);
        let held = self.records.get(key);
        let own = held.into_iter().flatten().any(|record| record.data.ip_addr().is_some());
        let given = domain.is_some_and(|domain| !domain.addresses.is_empty());
        let empty = || Found::Empty { addresses: own || given };
        let nothing = |code| match local {
            true => Found::Answer(known(code, Vec::new())),
            false => empty(),
        };
        if let Some(held) = held {
            // One set is enough of an answer to "anything" (RFC 8482 §4.1).
            let any = held.first().filter(|_| kind == RecordType::ANY);
            let kind = any.map_or(kind, Record::record_type);
            let before = answers.len();
            answers.extend(self.set(key, kind).map(Cow::Borrowed));
            let family = matches!(kind, RecordType::A | RecordType::AAAA);
            // An address that is asked for and not given by the name may come from its domain.
            let goes_on = family && !own;
            if answers.len() > before || !goes_on {
                return nothing(ResponseCode::NoError);
            }
        }
        let Some(domain) = domain else {
            return if held.is_some() { empty() } else { Found::Unknown };
        };
        let fits = |address: &&IpAddr| match kind {
            RecordType::A => address.is_ipv4(),
            RecordType::AAAA => address.is_ipv6(),
            kind => kind == RecordType::ANY,
        };
        answers.extend(domain.addresses.iter().filter(fits).map(|address| {
            Cow::Owned(Record::from_rdata(name.clone(), self.ttl, address_data(*address)))
        }));
        if given || held.is_some() {
            return nothing(ResponseCode::NoError);
        }
        if local { nothing(ResponseCode::NXDomain) } else { Found::Unknown }
    }

    /// The domain nearest to the name of which something was said.
    fn domain(&self, key: &Key) -> Option<&Domain> {
        let nearest = key.prefixes().filter_map(|prefix| self.domains.get(prefix)).last();
        nearest.or_else(|| self.domains.get(&[][..]))
    }

    fn alias(&self, key: &Key, kind: RecordType) -> Option<&Record> {
        let direct = matches!(kind, RecordType::CNAME | RecordType::ANY);
        self.set(key, RecordType::CNAME).next().filter(|_| !direct)
    }

    fn addresses_of_targets<'n>(&'n self, answers: &[Cow<'n, Record>]) -> Vec<Cow<'n, Record>> {
        let mut targets: Vec<Key> = Vec::new();
        for record in answers {
            if let RData::SRV(srv) = &record.data {
                let key = Key::of(&srv.target);
                if !targets.contains(&key) {
                    targets.push(key);
                }
            }
        }
        let addresses = |key: &Key| {
            let held = self.records.get(key).map(Vec::as_slice).unwrap_or_default();
            held.iter().filter(|record| record.data.ip_addr().is_some()).map(Cow::Borrowed)
        };
        targets.iter().flat_map(|key| addresses(key).collect::<Vec<_>>()).collect()
    }

    fn set(&self, key: &Key, kind: RecordType) -> impl Iterator<Item = &Record> {
        let held = self.records.get(key).map(Vec::as_slice).unwrap_or_default();
        held.iter().filter(move |record| record.record_type() == kind)
    }
}

fn known(code: ResponseCode, answers: Vec<Cow<'_, Record>>) -> Answer<'_> {
    Answer { authoritative: true, answers, ..Answer::bare(code) }
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}
