use std::collections::BTreeMap;

use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::entries::{Entries, Owners};
use super::room::room;
use super::tree::{Key, prefixes};

/// In the place of a number of records: the set stands among the others.
const UNPACKED: u16 = u16::MAX;

/// What the names of a zone own, in little room: the records are made again for those who ask.
///
/// Ten thousand clusters have sixty thousand records, which as values of the message library would
/// be ten times as large as their names and data. Types that clusters consist of are kept as they
/// stand on the wire, names in full; a record of another type is kept as it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Nodes {
    /// The keys of all nodes, one after the other, in their order.
    keys: Vec<u8>,
    places: Vec<Place>,
    sets: Vec<PackedSet>,
    /// For each record of a packed set the length of its data and the data.
    data: Vec<u8>,
    others: Vec<RecordSet>,
    /// Owners with letters in upper case, by the number of their node.
    spelled: BTreeMap<u32, Name>,
}

/// Where a node's key and sets end; they begin where those of the node before end.
#[derive(Debug, Clone, Copy)]
struct Place {
    key_end: u32,
    sets_end: u32,
}

#[derive(Debug, Clone, Copy)]
struct PackedSet {
    kind: u16,
    count: u16,
    ttl: u32,
    /// In `data`, or the number of the set among the others.
    at: u32,
}

/// What one name owns; nothing if only names below it do.
#[derive(Debug, Clone, Copy)]
pub struct Node<'z> {
    nodes: &'z Nodes,
    number: usize,
}

/// All records of one name and type; never empty.
#[derive(Debug, Clone)]
pub struct RecordSet {
    records: Vec<Record>,
}

impl Nodes {
    /// Packs what names at or below the apex own; every name between has a node too.
    pub(super) fn pack(owners: &Owners<'_>, apex: &Key) -> Self {
        let entries = owners.entries;
        let count = entries.len();
        let mut nodes = Self {
            keys: room(count * 32),
            places: room(count),
            sets: room(count),
            data: room(count * 32),
            ..Self::default()
        };
        let mut last: &[u8] = &[];
        for (key, group) in owners.iter().filter(|(key, _)| key.starts_with(apex.as_bytes())) {
            // Below a name there is nothing but its own descendants, so a name is new if the one
            // before is not below it.
            let below_apex = |prefix: &&[u8]| prefix.len() > apex.as_bytes().len();
            for prefix in prefixes(key).filter(below_apex) {
                if prefix.len() < key.len() && !last.starts_with(prefix) {
                    nodes.end(prefix);
                }
            }
            let spelled = group.iter().find(|entry| entries.is_record(**entry));
            if let Some(name) = spelled.and_then(|entry| entries.spelled(*entry)) {
                nodes.spelled.insert(number(nodes.places.len()), name.clone());
            }
            nodes.put_sets(entries, group);
            nodes.end(key);
            last = key;
        }
        nodes.keys.shrink_to_fit();
        nodes.places.shrink_to_fit();
        nodes.sets.shrink_to_fit();
        nodes.data.shrink_to_fit();
        nodes
    }

    /// Ends the node with this key; its sets are there already.
    fn end(&mut self, key: &[u8]) {
        self.keys.extend_from_slice(key);
        let (key_end, sets_end) = (number(self.keys.len()), number(self.sets.len()));
        self.places.push(Place { key_end, sets_end });
    }

    /// Packs the records of one owner: sets in the order of their first records, each with its
    /// lowest TTL and no record twice.
    fn put_sets(&mut self, entries: &Entries, group: &[u32]) {
        let mut done: Vec<RecordType> = Vec::new();
        for (nth, first) in group.iter().enumerate() {
            let kind = entries.kind(*first);
            if !entries.is_record(*first) || done.contains(&kind) {
                continue;
            }
            done.push(kind);
            let mut ttl = entries.ttl(*first);
            let mut set: Vec<u32> = Vec::new();
            for entry in group[nth..].iter().filter(|entry| entries.kind(**entry) == kind) {
                ttl = ttl.min(entries.ttl(*entry));
                if !set.iter().any(|held| entries.same(*held, *entry)) {
                    set.push(*entry);
                }
            }
            self.put(entries, kind, ttl, &set);
        }
    }

    fn put(&mut self, entries: &Entries, kind: RecordType, ttl: u32, set: &[u32]) {
        let few = u16::try_from(set.len()).ok().filter(|count| *count < UNPACKED);
        let packed = set.iter().all(|entry| entries.data(*entry).is_some());
        let (count, at) = match few.filter(|_| packed) {
            Some(count) => {
                let start = self.data.len();
                let data = set.iter().filter_map(|entry| entries.data(*entry));
                data.for_each(|data| self.data.extend_from_slice(data));
                (count, start)
            }
            None => {
                let record = |entry: &u32| {
                    let mut record = entries.record(*entry);
                    record.ttl = ttl;
                    record
                };
                self.others.push(RecordSet { records: set.iter().map(record).collect() });
                (UNPACKED, self.others.len() - 1)
            }
        };
        self.sets.push(PackedSet { kind: kind.into(), count, ttl, at: number(at) });
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<Node<'_>> {
        let (mut low, mut high) = (0, self.places.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(Node { nodes: self, number: middle }),
            }
        }
        None
    }

    /// All nodes with their keys, ancestors before descendants.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], Node<'_>)> {
        (0..self.places.len()).map(|number| (self.key(number), Node { nodes: self, number }))
    }

    fn key(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.places[before].key_end);
        &self.keys[start as usize..self.places[number].key_end as usize]
    }

    fn unpack(&self, owner: &Name, set: PackedSet) -> RecordSet {
        let at = set.at as usize;
        if set.count == UNPACKED {
            return self.others[at].clone();
        }
        let mut rest = &self.data[at..];
        let kind = RecordType::from(set.kind);
        let records = (0..set.count).map(|_| {
            let (length, tail) = rest.split_first_chunk().expect("packed data is whole");
            let (data, tail) = tail.split_at(u16::from_be_bytes(*length).into());
            rest = tail;
            let data = unpack(kind, data).expect("packed data is whole");
            Record::from_rdata(owner.clone(), set.ttl, data)
        });
        RecordSet { records: records.collect() }
    }
}

impl<'z> Node<'z> {
    pub fn has(self, kind: RecordType) -> bool {
        self.packed().iter().any(|set| set.kind == u16::from(kind))
    }

    pub fn set(self, kind: RecordType) -> Option<RecordSet> {
        let set = self.packed().iter().find(|set| set.kind == u16::from(kind))?;
        Some(self.nodes.unpack(&self.owner(), *set))
    }

    pub fn sets(self) -> impl Iterator<Item = RecordSet> + 'z {
        let owner = self.owner();
        self.packed().iter().map(move |set| self.nodes.unpack(&owner, *set))
    }

    pub fn kinds(self) -> impl Iterator<Item = RecordType> + 'z {
        self.packed().iter().map(|set| RecordType::from(set.kind))
    }

    /// The name as the zone file spells it.
    pub fn owner(self) -> Name {
        if let Some(name) = self.nodes.spelled.get(&number(self.number)) {
            return name.clone();
        }
        name_of(self.nodes.key(self.number))
    }

    fn packed(self) -> &'z [PackedSet] {
        let start = self.number.checked_sub(1).map_or(0, |it| self.nodes.places[it].sets_end);
        &self.nodes.sets[start as usize..self.nodes.places[self.number].sets_end as usize]
    }
}

impl RecordSet {
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    pub fn into_records(self) -> Vec<Record> {
        self.records
    }
}

/// The name of a key, in lower case.
pub(super) fn name_of(key: &[u8]) -> Name {
    let mut labels = Vec::new();
    let mut rest = key;
    while let Some((&length, tail)) = rest.split_first() {
        let (label, tail) = tail.split_at(length.into());
        labels.push(label);
        rest = tail;
    }
    let name = Name::from_labels(labels.into_iter().rev());
    let mut name = name.expect("the key was made of a name");
    name.set_fqdn(true);
    name
}

pub(super) fn number(length: usize) -> u32 {
    u32::try_from(length).expect("a zone stays below 4 GiB")
}

/// Appends data behind its length; false if it is of another type than those that are packed.
pub(super) fn pack(data: &RData, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    match data {
        RData::A(address) => out.extend_from_slice(&address.octets()),
        RData::AAAA(address) => out.extend_from_slice(&address.octets()),
        RData::NS(NS(name)) | RData::CNAME(CNAME(name)) | RData::PTR(PTR(name)) => {
            pack_name(name, out);
        }
        RData::SRV(srv) => {
            for number in [srv.priority, srv.weight, srv.port] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            pack_name(&srv.target, out);
        }
        _ => {
            out.truncate(start);
            return false;
        }
    }
    let length = u16::try_from(out.len() - start - 2).expect("names and addresses are short");
    out[start..start + 2].copy_from_slice(&length.to_be_bytes());
    true
}

fn pack_name(name: &Name, out: &mut Vec<u8>) {
    for label in name {
        out.push(u8::try_from(label.len()).expect("labels have at most 63 bytes"));
        out.extend_from_slice(label);
    }
    out.push(0);
}

/// Whether packed data is the same; the letter case of names does not count (RFC 4343 §3).
pub(super) fn same(kind: RecordType, one: &[u8], other: &[u8]) -> bool {
    // What stands before a name are numbers, and so are addresses.
    let numbers = match kind {
        RecordType::A | RecordType::AAAA => return one == other,
        RecordType::SRV => 6,
        _ => 0,
    };
    // Lengths of labels are below the letters.
    one[..numbers] == other[..numbers] && one[numbers..].eq_ignore_ascii_case(&other[numbers..])
}

pub(super) fn unpack(kind: RecordType, data: &[u8]) -> Option<RData> {
    let name = |bytes: &[u8]| Name::read(&mut BinDecoder::new(bytes)).ok();
    Some(match kind {
        RecordType::A => RData::A(A(<[u8; 4]>::try_from(data).ok()?.into())),
        RecordType::AAAA => RData::AAAA(AAAA(<[u8; 16]>::try_from(data).ok()?.into())),
        RecordType::NS => RData::NS(NS(name(data)?)),
        RecordType::CNAME => RData::CNAME(CNAME(name(data)?)),
        RecordType::PTR => RData::PTR(PTR(name(data)?)),
        _ => {
            let (&[p0, p1, w0, w1, o0, o1], target) = data.split_first_chunk()?;
            let number = |high, low| u16::from_be_bytes([high, low]);
            RData::SRV(SRV::new(number(p0, p1), number(w0, w1), number(o0, o1), name(target)?))
        }
    })
}
