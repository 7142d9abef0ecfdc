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

mod kept;
mod order;
mod question;
mod table;

use hickory_proto::rr::{Name, Record, RecordType};

use self::question::{Edns, HEADER};
use self::table::Table;
use super::encode::Encoder;
use super::room::room;
use super::tree::{Key, Zone};

pub use kept::Kept;
pub use order::{Dice, shuffle};
pub use question::Question;

/// An OPT record says which datagrams its sender takes.
const OPT_TYPE: [u8; 3] = [0, 0, 41];
/// Sets of more servers keep their order here; sorting them would cost more than they are asked.
const SHUFFLED: usize = 16;

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

/// The SOA record as it stands in the authority section, written for the apex as the question.
#[derive(Debug, Clone)]
struct Negative {
    bytes: Vec<u8>,
    /// Where pointers are; they move with the length of the question.
    pointers: Vec<usize>,
}

/// What the server says about every message.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Others can be asked (RA).
    pub recursion_available: bool,
    /// Bytes that a message may have without and with EDNS; a stream has one limit for both.
    pub usual: u16,
    pub most: u16,
    /// The size in our OPT record.
    pub offered: u16,
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

/// How an answer came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    NoError,
    NxDomain,
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

    /// Appends the answer to `out`. None if it is not written here or too long; `out` is left alone.
    ///
    /// `packet` is the message that `question` was read from, and its name is within the zone.
    pub fn answer(
        &self,
        packet: &[u8],
        question: &Question,
        style: Style,
        dice: &mut Dice,
        out: &mut Vec<u8>,
    ) -> Option<Said> {
        self.answer_under(&self.negative, packet, question, style, dice, out)
    }

    /// As [`answer`](Self::answer); what does not exist is denied with the SOA of `apex`.
    pub fn answer_below(
        &self,
        apex: &Self,
        packet: &[u8],
        question: &Question,
        style: Style,
        dice: &mut Dice,
        out: &mut Vec<u8>,
    ) -> Option<Said> {
        self.answer_under(&apex.negative, packet, question, style, dice, out)
    }

    fn answer_under(
        &self,
        negative: &Negative,
        packet: &[u8],
        question: &Question,
        style: Style,
        dice: &mut Dice,
        out: &mut Vec<u8>,
    ) -> Option<Said> {
        let mut said = Said::NoError;
        let mut set = None;
        for (above, suffix) in question.suffixes().enumerate() {
            let Some(node) = self.table.find(suffix) else { continue };
            if node.elsewhere || above > 0 && node.wildcard {
                return None;
            }
            if above > 0 {
                said = Said::NxDomain;
            } else {
                let first = node.first as usize;
                let sets = &self.sets[first..first + usize::from(node.count)];
                set = sets.iter().find(|set| set.kind == question.kind);
            }
            return self.put(negative, set, said, packet, question, style, dice, out);
        }
        // A part of a zone without the name: nothing of it is above.
        self.put(negative, None, Said::NxDomain, packet, question, style, dice, out)
    }

    #[expect(clippy::too_many_arguments, reason = "the last step of one flat way")]
    fn put(
        &self,
        negative: &Negative,
        set: Option<&Set>,
        said: Said,
        packet: &[u8],
        question: &Question,
        style: Style,
        dice: &mut Dice,
        out: &mut Vec<u8>,
    ) -> Option<Said> {
        let length = set.map_or(negative.bytes.len(), |set| set.length.into());
        if !question.has_room(length, style) {
            return None;
        }
        let counts = match set {
            Some(set) => [set.answers, 0, set.additional],
            None => [0, 1, 0],
        };
        Head { authoritative: true, said, counts }.put(packet, question, style, out);
        match set {
            Some(set) => self.put_set(set, dice, out),
            None => negative.put(question.name_length(), self.apex.len(), out),
        }
        put_opt(question, style, out);
        Some(said)
    }

    fn put_set(&self, set: &Set, dice: &mut Dice, out: &mut Vec<u8>) {
        let at = set.at as usize;
        let bytes = &self.bytes[at..at + usize::from(set.length)];
        let count = usize::from(set.answers);
        match set.kind == u16::from(RecordType::SRV) {
            true => put_servers(bytes, count, dice, out),
            false => out.extend_from_slice(bytes),
        }
    }
}

/// Header and question of an answer.
struct Head {
    authoritative: bool,
    said: Said,
    /// Of answer, authority and additional section, without the OPT record.
    counts: [u16; 3],
}

impl Head {
    fn put(self, packet: &[u8], question: &Question, style: Style, out: &mut Vec<u8>) {
        let code = if self.said == Said::NxDomain { 3 } else { 0 };
        // QR and AA, RD as it came; RA, CD as it came.
        let high = 0x80 | u8::from(self.authoritative) << 2 | packet[2] & 0x01;
        let low = u8::from(style.recursion_available) << 7 | packet[3] & 0x10 | code;
        out.extend_from_slice(&[packet[0], packet[1], high, low, 0, 1]);
        let [answers, authority, additional] = self.counts;
        for count in [answers, authority, additional + u16::from(question.edns.is_some())] {
            out.extend_from_slice(&count.to_be_bytes());
        }
        out.extend_from_slice(&packet[HEADER..HEADER + question.wire_length()]);
    }
}

/// Appends our own OPT record, if the question had one.
fn put_opt(question: &Question, style: Style, out: &mut Vec<u8>) {
    if let Some(Edns { dnssec_ok, .. }) = question.edns {
        let [size0, size1] = style.offered.to_be_bytes();
        out.extend_from_slice(&OPT_TYPE);
        out.extend_from_slice(&[size0, size1, 0, 0, u8::from(dnssec_ok) << 7, 0, 0, 0]);
    }
}

/// Appends records of which the first `count` are servers of the asked name, in changing order.
fn put_servers(bytes: &[u8], count: usize, dice: &mut Dice, out: &mut Vec<u8>) {
    if !(2..=SHUFFLED).contains(&count) {
        out.extend_from_slice(bytes);
        return;
    }
    // Nothing points into these records, so they can stand in any order.
    let mut records: [&[u8]; SHUFFLED] = [&[]; SHUFFLED];
    let mut rest = bytes;
    for record in &mut records[..count] {
        // Owner as a pointer, type, class, TTL, and the length of the data.
        let length = 12 + usize::from(u16::from_be_bytes([rest[10], rest[11]]));
        (*record, rest) = rest.split_at(length);
    }
    let number = |record: &[u8], at: usize| u16::from_be_bytes([record[at], record[at + 1]]);
    shuffle(&mut records[..count], |record| (number(record, 12), number(record, 14)), dice);
    records[..count].iter().for_each(|record| out.extend_from_slice(record));
    out.extend_from_slice(rest);
}

impl Negative {
    fn of(soa: &Record) -> Self {
        let mut encoder = Encoder::after(vec![0; HEADER]);
        encoder.name(&soa.name);
        encoder.raw(&[0; 4]);
        let start = encoder.len();
        encoder.record(soa);
        let bytes = encoder.bytes()[start..].to_vec();
        Self { pointers: pointers(&bytes), bytes }
    }

    /// Appends the record below a question whose name has `name` bytes, `apex` of them the zone's.
    fn put(&self, name: usize, apex: usize, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let moved = u16::try_from(name - apex).expect("names have at most 255 bytes");
        for at in &self.pointers {
            let pointer = &mut out[start + at..start + at + 2];
            let target = u16::from_be_bytes([pointer[0], pointer[1]]) + moved;
            pointer.copy_from_slice(&target.to_be_bytes());
        }
    }
}

/// Where the pointers of an SOA record are: in its owner and in the two names of its data.
fn pointers(bytes: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut name = |mut at: usize| loop {
        match bytes[at] {
            0 => return at + 1,
            length @ 0..0xc0 => at += 1 + usize::from(length),
            _ => {
                found.push(at);
                return at + 2;
            }
        }
    };
    let data = name(0) + 10;
    let second = name(data);
    name(second);
    found
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
