use std::borrow::Cow;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::packed::{Node, RecordSet};
use super::tree::{Key, Zone};

/// A chain of aliases longer than this ends where it is; nobody has one on purpose.
const LONGEST_CHAIN: usize = 16;

/// What a zone says about a question, ready to be put into a message.
#[derive(Debug, Clone)]
pub struct Answer<'z> {
    pub code: ResponseCode,
    /// False for a referral: the zone delegates the name to others.
    pub authoritative: bool,
    pub answers: Vec<Cow<'z, Record>>,
    pub authority: Vec<Cow<'z, Record>>,
    pub additional: Vec<Cow<'z, Record>>,
    /// The additional section is glue without which a referral is of no use (RFC 9471 §3):
    /// if it does not fit, the message is truncated.
    pub needs_additional: bool,
}

/// Where a name leads in a zone.
enum Place<'z> {
    /// The name exists, or a wildcard speaks for it.
    Here {
        node: Node<'z>,
        wildcard: bool,
    },
    /// Other servers know; these are their names.
    Delegated(RecordSet),
    /// The name is below a DNAME (RFC 6672).
    Redirected(Box<Record>),
    Missing,
}

impl Zone {
    /// Answers a question about a name of this zone (RFC 1034 §4.3.2).
    ///
    /// A name outside of the zone is refused.
    pub fn lookup(&self, name: &Name, kind: RecordType) -> Answer<'_> {
        if !Key::of(name).is_within(&self.apex) {
            return Answer::bare(ResponseCode::Refused);
        }
        let mut answer = Answer::new();
        let mut target = Cow::Borrowed(name);
        for _ in 0..LONGEST_CHAIN {
            match self.step(&mut answer, &target, kind) {
                Some(next) if self.continues(&answer, &next) => target = Cow::Owned(next),
                _ => break,
            }
        }
        self.add_addresses(&mut answer);
        answer
    }

    /// Adds what `name` itself contributes. An alias leads on to the name that is returned.
    fn step<'z>(&'z self, answer: &mut Answer<'z>, name: &Name, kind: RecordType) -> Option<Name> {
        match self.place(name, kind) {
            Place::Missing => {
                answer.code = ResponseCode::NXDomain;
                answer.authority.push(Cow::Borrowed(&self.negative));
                None
            }
            Place::Delegated(servers) => {
                answer.authoritative = !answer.answers.is_empty();
                answer.needs_additional = true;
                answer.authority.extend(servers.into_records().into_iter().map(Cow::Owned));
                None
            }
            Place::Redirected(dname) => {
                let (next, ttl) = (dname_target(&dname, name), dname.ttl);
                answer.add_once(Cow::Owned(*dname));
                let Some(next) = next else {
                    answer.code = ResponseCode::YXDomain;
                    return None;
                };
                let alias = RData::CNAME(CNAME(next.clone()));
                answer.answers.push(Cow::Owned(Record::from_rdata(name.clone(), ttl, alias)));
                // The alias that was made is what was asked for, or as good as anything.
                (!matches!(kind, RecordType::CNAME | RecordType::ANY)).then_some(next)
            }
            Place::Here { node, wildcard } => {
                let owner = wildcard.then_some(name);
                let leads_on = !matches!(kind, RecordType::CNAME | RecordType::ANY)
                    && node.has(RecordType::CNAME);
                let set = match kind {
                    // One set is enough of an answer to "anything" (RFC 8482 §4.1).
                    RecordType::ANY => node.sets().next(),
                    _ if leads_on => node.set(RecordType::CNAME),
                    _ => node.set(kind),
                };
                let Some(set) = set else {
                    answer.authority.push(Cow::Borrowed(&self.negative));
                    return None;
                };
                let next = leads_on.then(|| alias_target(set.records())).flatten();
                if kind == RecordType::DNAME {
                    owned_by(set, owner).for_each(|record| answer.add_once(record));
                } else {
                    answer.answers.extend(owned_by(set, owner));
                }
                next
            }
        }
    }

    /// Whether a chain of aliases goes on at `next`: inside the zone, and not in a circle.
    fn continues(&self, answer: &Answer<'_>, next: &Name) -> bool {
        let seen = |record: &Cow<'_, Record>| {
            record.record_type() == RecordType::CNAME && record.name == *next
        };
        Key::of(next).is_within(&self.apex) && !answer.answers.iter().any(seen)
    }

    fn place(&self, name: &Name, kind: RecordType) -> Place<'_> {
        let key = Key::of(name);
        let mut encloser = None;
        for prefix in key.prefixes().chain(key.as_bytes().is_empty().then_some(&[][..])) {
            if prefix.len() < self.apex.as_bytes().len() {
                continue;
            }
            let Some(node) = self.nodes.find(prefix) else {
                return self.wildcard(encloser.unwrap_or_default());
            };
            let at_apex = prefix.len() == self.apex.as_bytes().len();
            let at_name = prefix.len() == key.as_bytes().len();
            // The DS of a delegation lives on this side of the cut (RFC 4035 §3.1.4.1).
            let ours = at_apex || (at_name && kind == RecordType::DS);
            if !ours && let Some(servers) = node.set(RecordType::NS) {
                return Place::Delegated(servers);
            }
            if at_name {
                return Place::Here { node, wildcard: false };
            }
            if let Some(set) = node.set(RecordType::DNAME) {
                return Place::Redirected(set.records()[0].clone().into());
            }
            encloser = Some(prefix);
        }
        Place::Missing
    }

    /// What `*` right below the closest existing ancestor says (RFC 4592 §3.3.1).
    fn wildcard(&self, encloser: &[u8]) -> Place<'_> {
        let key = [encloser, b"\x01*"].concat();
        match self.nodes.find(&key) {
            Some(node) => Place::Here { node, wildcard: true },
            None => Place::Missing,
        }
    }

    /// Adds the addresses of every target that the answer or a referral names.
    fn add_addresses(&self, answer: &mut Answer<'_>) {
        let mut seen: Vec<Key> = Vec::new();
        let mut additional = Vec::new();
        for record in answer.answers.iter().chain(&answer.authority) {
            let target = match &record.data {
                RData::SRV(srv) => &srv.target,
                RData::NS(ns) => &ns.0,
                RData::MX(mx) => &mx.exchange,
                _ => continue,
            };
            let key = Key::of(target);
            if target.is_root() || !key.is_within(&self.apex) || seen.contains(&key) {
                continue;
            }
            let (node, owner) = match self.nodes.find(key.as_bytes()) {
                Some(node) => (node, None),
                None => match self.place(target, RecordType::A) {
                    Place::Here { node, .. } => (node, Some(target)),
                    _ => continue,
                },
            };
            for kind in [RecordType::A, RecordType::AAAA] {
                if let Some(set) = node.set(kind) {
                    additional.extend(owned_by(set, owner));
                }
            }
            seen.push(key);
        }
        answer.additional = additional;
    }
}

/// The records of a set; under another owner if a wildcard made them.
fn owned_by<'a>(set: RecordSet, owner: Option<&Name>) -> impl Iterator<Item = Cow<'a, Record>> {
    set.into_records().into_iter().map(move |mut record| {
        if let Some(owner) = owner {
            record.name = owner.clone();
        }
        Cow::Owned(record)
    })
}

fn alias_target(records: &[Record]) -> Option<Name> {
    records.first().and_then(|record| match &record.data {
        RData::CNAME(target) => Some(target.0.clone()),
        _ => None,
    })
}

/// `name` with the owner of the DNAME at its end replaced; none if that gets too long.
fn dname_target(dname: &Record, name: &Name) -> Option<Name> {
    let RData::Unknown { rdata, .. } = &dname.data else {
        return None;
    };
    let target = Name::read(&mut BinDecoder::new(&rdata.anything)).ok()?;
    let kept = name.iter().count() - dname.name.iter().count();
    Name::from_labels(name.iter().take(kept)).ok()?.append_domain(&target).ok()
}

impl<'z> Answer<'z> {
    /// No records, only a code, and no claim of authority.
    pub fn bare(code: ResponseCode) -> Self {
        Self { code, authoritative: false, ..Self::new() }
    }

    fn new() -> Self {
        Self {
            code: ResponseCode::NoError,
            authoritative: true,
            answers: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            needs_additional: false,
        }
    }

    /// A chain may come to a DNAME more than once, the last time because it was asked for; a
    /// message has it once (RFC 2181 §5).
    fn add_once(&mut self, record: Cow<'z, Record>) {
        if !self.answers.contains(&record) {
            self.answers.push(record);
        }
    }
}
