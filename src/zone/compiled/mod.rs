//! Zones with their answers written beforehand.
//!
//! Almost all questions have one shape, and a zone answers each of them with the same bytes: only id
//! and letter case differ. [`Compiled`] holds these bytes for every name and type, written for a
//! question at offset 12, so that an answer is a look into a table and three copies. What has
//! another shape, another kind of answer or no room is left to [`Zone::lookup`], which stays the one
//! source: a compiled zone says what the zone it was made from says, or nothing.
//!
//! ```text
//! header | question as it came | answer, authority, additional as they were written | OPT
//! ```
//!
//! Left to the zone: aliases, wildcards, delegations and everything below them, `ANY`.

mod cached;
mod negative;
mod order;
mod question;
mod response;
mod table;

use hickory_proto::rr::{Name, RecordType};

use self::negative::Negative;
use self::question::HEADER;
use self::table::Table;
use super::encode::Encoder;
use super::room::room;
use super::tree::{Key, Zone};

pub use cached::Cached;
pub use order::{Dice, shuffle};
pub use question::Question;
pub use response::{Capabilities, Rcode, Response};

/// The answers of a zone, or of a part of one.
#[derive(Debug, Clone)]
pub struct Compiled {
    table: Table<Node>,
    sets: Vec<Set>,
    bytes: Vec<u8>,
    /// What a name without the type, or without anything, is answered; none where a part of a
    /// zone has to be put below its apex.
    negative: Negative,
    /// How many labels the apex has.
    depth: usize,
    apex: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    first: u32,
    count: u16,
    /// Not answered here, and neither are names below it.
    elsewhere: bool,
    /// A wildcard speaks for names below that do not exist.
    wildcard: bool,
}

/// The answer for one name and type.
#[derive(Debug, Clone, Copy)]
struct Set {
    at: u32,
    length: u16,
    kind: u16,
    answers: u16,
    additional: u16,
}

/// Compiled zones by their apex, each with what belongs to it.
#[derive(Debug)]
pub struct Apexes<V>(Table<V>);

impl<V> Apexes<V> {
    pub fn new<'z>(zones: impl ExactSizeIterator<Item = (&'z Key, V)>) -> Self {
        let mut table = Table::with_room(zones.len());
        zones.for_each(|(apex, value)| table.put(&wire(apex.as_bytes()), value));
        table.shrink_to_fit();
        Self(table)
    }

    /// The zone with the longest apex that the name of a question is within.
    pub fn find(&self, question: &Question) -> Option<&V> {
        question.suffixes().find_map(|suffix| self.0.find(suffix))
    }
}

impl Compiled {
    /// Writes all answers of a zone.
    pub fn of(zone: &Zone) -> Self {
        Self::below(zone, &zone.apex)
    }

    /// Writes the answers of a branch of a zone; other names have to be looked for elsewhere.
    pub fn below(zone: &Zone, branch: &Key) -> Self {
        let count = zone.nodes.len();
        let mut compiled = Self {
            table: Table::with_room(count),
            sets: room(count),
            bytes: room(count * 32),
            negative: Negative::of(&zone.negative),
            depth: zone.apex.prefixes().count(),
            apex: wire(zone.apex.as_bytes()),
        };
        // Ancestors come before descendants, so the last cut is the one above.
        let mut cut: Option<&[u8]> = None;
        for (key, node) in zone.nodes.iter() {
            if !key.starts_with(branch.as_bytes()) {
                continue;
            }
            let below_cut = cut.is_some_and(|cut| key.starts_with(cut));
            let at_apex = key == zone.apex.as_bytes();
            let cuts = !at_apex && node.has(RecordType::NS) || node.has(RecordType::DNAME);
            let elsewhere = below_cut || cuts || node.has(RecordType::CNAME);
            if cuts && !below_cut {
                cut = Some(key);
            }
            let first = u32::try_from(compiled.sets.len()).expect("sets stay below 2^32");
            if !elsewhere {
                let owner = node.owner();
                node.kinds().for_each(|kind| compiled.write(zone, &owner, kind));
            }
            let count = compiled.sets.len() - first as usize;
            let star = [key, b"\x01*"].concat();
            let node = Node {
                first,
                count: u16::try_from(count).expect("a name has at most 2^16 types"),
                elsewhere,
                wildcard: zone.nodes.find(&star).is_some(),
            };
            compiled.table.put(&wire(key), node);
        }
        compiled.table.shrink_to_fit();
        compiled.sets.shrink_to_fit();
        compiled.bytes.shrink_to_fit();
        compiled
    }

    fn write(&mut self, zone: &Zone, name: &Name, kind: RecordType) {
        let answer = zone.lookup(name, kind);
        let mut encoder = Encoder::after(vec![0; HEADER]);
        encoder.name(name);
        encoder.number(kind.into());
        encoder.number(1);
        let start = encoder.len();
        answer.answers.iter().chain(&answer.additional).for_each(|record| encoder.record(record));
        // What does not fit into two bytes of length fits into no message either.
        let Ok(length) = u16::try_from(encoder.len() - start) else { return };
        let at = u32::try_from(self.bytes.len()).expect("the answers of a zone stay below 4 GiB");
        self.bytes.extend_from_slice(&encoder.bytes()[start..]);
        let number = |records: usize| u16::try_from(records).expect("fewer records than bytes");
        self.sets.push(Set {
            at,
            length,
            kind: kind.into(),
            answers: number(answer.answers.len()),
            additional: number(answer.additional.len()),
        });
    }

    /// How many labels the apex has.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Whether the name of a question is within the zone.
    pub fn contains(&self, question: &Question) -> bool {
        question.suffixes().any(|suffix| suffix.name == self.apex)
    }

    /// The label of a question right below the apex.
    pub fn branch<'q>(&self, question: &'q Question) -> Option<&'q [u8]> {
        question.label_below(self.depth)
    }

    /// Writes the answer. None if it is not here or too long.
    ///
    /// The name of the question is within the zone.
    pub fn answer(&self, response: &mut Response<'_>) -> Option<Rcode> {
        self.answer_under(&self.negative, response)
    }

    /// As [`answer`](Self::answer); what does not exist is denied with the SOA of `apex`.
    pub fn answer_below(&self, apex: &Self, response: &mut Response<'_>) -> Option<Rcode> {
        self.answer_under(&apex.negative, response)
    }

    fn answer_under(&self, negative: &Negative, response: &mut Response<'_>) -> Option<Rcode> {
        let question = response.question;
        for (above, suffix) in question.suffixes().enumerate() {
            let Some(node) = self.table.find(suffix) else { continue };
            if node.elsewhere || above > 0 && node.wildcard {
                return None;
            }
            if above > 0 {
                return self.deny(negative, Rcode::NxDomain, response);
            }
            let first = node.first as usize;
            let sets = &self.sets[first..first + usize::from(node.count)];
            return match sets.iter().find(|set| set.kind == question.kind) {
                Some(set) => self.put(set, response),
                None => self.deny(negative, Rcode::NoError, response),
            };
        }
        // A part of a zone without the name: nothing of it is above.
        self.deny(negative, Rcode::NxDomain, response)
    }

    fn put(&self, set: &Set, response: &mut Response<'_>) -> Option<Rcode> {
        if !response.has_room(set.length.into()) {
            return None;
        }
        response.begin(true, Rcode::NoError, [set.answers, 0, set.additional]);
        let at = set.at as usize;
        let bytes = &self.bytes[at..at + usize::from(set.length)];
        match set.kind == u16::from(RecordType::SRV) {
            true => response.put_servers(bytes, set.answers.into()),
            false => response.out.extend_from_slice(bytes),
        }
        response.end();
        Some(Rcode::NoError)
    }

    fn deny(&self, negative: &Negative, code: Rcode, response: &mut Response<'_>) -> Option<Rcode> {
        if !response.has_room(negative.len()) {
            return None;
        }
        response.begin(true, code, [0, 1, 0]);
        negative.put(self.apex.len(), response);
        response.end();
        Some(code)
    }
}

/// The name of a key, in wire form.
fn wire(key: &[u8]) -> Vec<u8> {
    let mut labels = Vec::new();
    let mut rest = key;
    while let Some((&length, tail)) = rest.split_first() {
        let (_, tail) = tail.split_at(length.into());
        labels.push(&rest[..1 + usize::from(length)]);
        rest = tail;
    }
    let mut name =
        labels.into_iter().rev().fold(Vec::with_capacity(key.len() + 1), |mut name, label| {
            name.extend_from_slice(label);
            name
        });
    name.push(0);
    name
}
