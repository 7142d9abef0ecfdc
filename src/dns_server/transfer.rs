//! Whole zones for secondary servers: AXFR (RFC 5936) and IXFR (RFC 1995).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{RData, Record, RecordType};
use hickory_proto::serialize::binary::BinEncodable;
use parking_lot::Mutex;

use super::Network;
use super::tsig::{Key as TsigKey, Signer};
use crate::zone::{Encoder, Key, Zone};

/// Messages are begun anew when they have so many bytes: names are found again in the first 16384
/// bytes only.
const MESSAGE: usize = 16 << 10;
/// The most bytes of a message with its signature.
const LONGEST: usize = u16::MAX as usize;
/// So many changes of a zone are kept for those who want only what is new.
const CHANGES: usize = 16;
/// A change with more records than that is not kept: the whole zone is not much longer.
const CHANGE_RECORDS: usize = 20_000;

/// Who may have whole zones, and who is told that there is a new one.
#[derive(Debug, Clone, Default)]
pub struct Transfers {
    /// Clients that may ask; with keys, none means all that sign.
    pub allow: Vec<Network>,
    /// With keys, every transfer has to be signed by one.
    pub keys: Vec<TsigKey>,
    /// Servers that are told of changed zones.
    pub notify: Vec<SocketAddr>,
}

impl Transfers {
    pub(super) fn allows(&self, client: IpAddr, signed: bool) -> bool {
        let near = self.allow.iter().any(|network| network.contains(client));
        match self.keys.is_empty() {
            true => near,
            false => signed && (near || self.allow.is_empty()),
        }
    }
}

/// What changed in each zone lately.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<BTreeMap<Key, VecDeque<Change>>>);

/// The step from one state of a zone to the next.
#[derive(Debug, Clone)]
struct Change {
    before: Record,
    after: Record,
    removed: Vec<Record>,
    added: Vec<Record>,
}

impl Journal {
    /// Notes that one state of a zone took the place of another.
    pub(super) fn note(&self, old: &Zone, new: &Zone) {
        let ahead = new.serial().wrapping_sub(old.serial());
        let mut journal = self.0.lock();
        let changes = journal.entry(Key::of(new.origin())).or_default();
        let change = match ahead {
            0 if old.records().eq(new.records()) => return,
            1..0x8000_0000 => change(old, new),
            _ => None,
        };
        match change {
            Some(change) => changes.push_back(change),
            // A gap: whoever is behind it gets the whole zone.
            None => changes.clear(),
        }
        if changes.len() > CHANGES {
            changes.pop_front();
        }
    }

    /// Forgets a zone that is not served any more.
    pub(super) fn forget(&self, zone: &Zone) {
        let mut journal = self.0.lock();
        journal.remove(&Key::of(zone.origin()));
    }

    /// The records that lead from a serial to the present (RFC 1995 §4), none if that is unknown.
    fn since(&self, zone: &Zone, serial: u32) -> Option<Vec<Record>> {
        let journal = self.0.lock();
        let changes = journal.get(&Key::of(zone.origin()))?;
        let start = changes.iter().position(|change| serial_of(&change.before) == Some(serial))?;
        let soa = soa(zone)?;
        let last = changes.back()?;
        if serial_of(&last.after) != Some(zone.serial()) {
            return None;
        }
        let mut records = vec![soa.clone()];
        for change in changes.iter().skip(start).cloned() {
            records.push(change.before);
            records.extend(change.removed);
            records.push(change.after);
            records.extend(change.added);
        }
        records.push(soa);
        Some(records)
    }
}

fn change(old: &Zone, new: &Zone) -> Option<Change> {
    let lines = |zone: &Zone| -> BTreeMap<Vec<u8>, Record> {
        let records = zone.records().filter(|record| record.record_type() != RecordType::SOA);
        records.filter_map(|record| Some((record.to_bytes().ok()?, record))).collect()
    };
    let (mut removed, mut added) = (lines(old), lines(new));
    let same: BTreeSet<Vec<u8>> =
        removed.keys().filter(|line| added.contains_key(*line)).cloned().collect();
    removed.retain(|line, _| !same.contains(line));
    added.retain(|line, _| !same.contains(line));
    if removed.len() + added.len() > CHANGE_RECORDS {
        return None;
    }
    let values = |lines: BTreeMap<Vec<u8>, Record>| lines.into_values().collect();
    Some(Change {
        before: soa(old)?,
        after: soa(new)?,
        removed: values(removed),
        added: values(added),
    })
}

fn soa(zone: &Zone) -> Option<Record> {
    Some(zone.node(zone.origin())?.set(RecordType::SOA)?.records().first()?.clone())
}

fn serial_of(record: &Record) -> Option<u32> {
    match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    }
}

/// The records of an answer to AXFR or IXFR, in their order.
pub(super) fn records(
    zone: &Zone,
    request: &Message,
    stream: bool,
    journal: &Journal,
) -> Vec<Record> {
    let Some(soa) = soa(zone) else { return Vec::new() };
    let incremental = request.queries.iter().any(|it| it.query_type() == RecordType::IXFR);
    if incremental {
        let held = request.authorities.iter().find_map(serial_of);
        let behind = held.map(|held| zone.serial().wrapping_sub(held));
        // Who has it already, or something newer, gets the SOA; and so does whoever asks where
        // there is no room for more, and asks again over a stream.
        if behind.is_some_and(|behind| behind == 0 || behind >= 1 << 31) || !stream {
            return vec![soa];
        }
        if let Some(records) = held.and_then(|held| journal.since(zone, held)) {
            return records;
        }
    }
    let mut records = vec![soa.clone()];
    let others = zone.records().filter(|record| record.record_type() != RecordType::SOA);
    records.extend(others);
    records.push(soa);
    records
}

/// The messages of one transfer, each made when the one before is sent.
pub(super) struct Messages {
    id: u16,
    recursion_desired: bool,
    question: Option<Query>,
    records: std::iter::Peekable<std::vec::IntoIter<Record>>,
    /// The OPT record, in the first message only (RFC 5936 §2.2.5).
    opt: Vec<u8>,
    signer: Option<Box<Signer>>,
}

impl Messages {
    pub(super) fn new(
        request: &Message,
        records: Vec<Record>,
        opt: Vec<u8>,
        signer: Option<Box<Signer>>,
    ) -> Self {
        Self {
            id: request.metadata.id,
            recursion_desired: request.metadata.recursion_desired,
            question: request.queries.first().cloned(),
            records: records.into_iter().peekable(),
            opt,
            signer,
        }
    }
}

impl Iterator for Messages {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.records.peek()?;
        let mut encoder = Encoder::after(vec![0; 12]);
        let question = self.question.take();
        if let Some(question) = &question {
            encoder.name(question.name());
            encoder.number(question.query_type().into());
            encoder.number(question.query_class().into());
        }
        let opt = std::mem::take(&mut self.opt);
        let reserved = opt.len() + self.signer.as_ref().map_or(0, |_| Signer::ROOM);
        let mut answers: u16 = 0;
        while let Some(record) = self.records.peek() {
            let before = encoder.len();
            encoder.record(record);
            if encoder.len() + reserved > LONGEST && answers > 0 {
                encoder.truncate(before);
                break;
            }
            self.records.next();
            answers += 1;
            if encoder.len() >= MESSAGE {
                break;
            }
        }
        encoder.raw(&opt);
        let mut bytes = encoder.into_bytes();
        // A response with authority.
        let flags: u16 = 0x8400 | u16::from(self.recursion_desired) << 8;
        let counts = [u16::from(question.is_some()), answers, 0, u16::from(!opt.is_empty())];
        let numbers = [self.id, flags].into_iter().chain(counts);
        for (place, number) in bytes.chunks_exact_mut(2).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        if let Some(signer) = &mut self.signer {
            signer.sign(&mut bytes);
        }
        // One record that fits into no message cannot be in a zone of ours: its data has a length
        // of two bytes, and nothing is left for the rest.
        (bytes.len() <= LONGEST).then_some(bytes)
    }
}
