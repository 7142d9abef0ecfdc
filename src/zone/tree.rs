use std::borrow::Borrow;
use std::collections::BTreeMap;

use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// A name as trees order it: lower case, labels from the root down, each behind its length.
///
/// So every ancestor of a name is a prefix of it, and a look at an ancestor needs no allocation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Box<[u8]>);

impl Key {
    pub fn of(name: &Name) -> Self {
        let mut bytes = Vec::with_capacity(name.len() + 1);
        for label in name.iter().rev() {
            bytes.push(u8::try_from(label.len()).expect("labels have at most 63 bytes"));
            bytes.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        Self(bytes.into_boxed_slice())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The ancestors from the top-level label down, then the name itself. The root is left out.
    pub fn prefixes(&self) -> impl Iterator<Item = &[u8]> {
        let mut end = 0;
        std::iter::from_fn(move || {
            let length = *self.0.get(end)?;
            end += 1 + usize::from(length);
            Some(&self.0[..end])
        })
    }

    /// Whether the name is `ancestor` or below it.
    pub fn is_within(&self, ancestor: &Self) -> bool {
        self.0.starts_with(&ancestor.0)
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// One authoritative zone; see the module for its properties.
#[derive(Debug, Clone)]
pub struct Zone {
    origin: Name,
    pub(super) apex: Key,
    pub(super) nodes: BTreeMap<Key, Node>,
    soa: SOA,
    /// The SOA as negative answers carry it, with the TTL they are kept for (RFC 2308 §3).
    pub(super) negative: Record,
}

/// What one name owns; nothing if only names below it do.
#[derive(Debug, Clone, Default)]
pub struct Node {
    sets: Vec<RecordSet>,
}

/// All records of one name and type; never empty.
#[derive(Debug, Clone)]
pub struct RecordSet {
    kind: RecordType,
    records: Vec<Record>,
}

impl Zone {
    /// Builds the zone whose apex is the owner of the first SOA; none without an SOA.
    ///
    /// Owners outside are left out, and so are repeated records; each set gets its lowest TTL.
    pub fn assemble(records: Vec<Record>) -> Option<Self> {
        let (origin, ttl, soa) = records.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some((record.name.clone(), record.ttl, soa.clone())),
            _ => None,
        })?;
        let apex = Key::of(&origin);
        let negative =
            Record::from_rdata(origin.clone(), ttl.min(soa.minimum), RData::SOA(soa.clone()));
        let mut zone = Self { origin, apex, nodes: BTreeMap::new(), soa, negative };
        for record in records {
            if let Some(node) = zone.reserve(&record.name) {
                node.add(record);
            }
        }
        Some(zone)
    }

    /// Makes a name and everything above it exist, with whatever it owns already, perhaps nothing.
    ///
    /// None for a name outside of the zone.
    pub fn reserve(&mut self, name: &Name) -> Option<&mut Node> {
        let key = Key::of(name);
        if !key.is_within(&self.apex) {
            return None;
        }
        let within = |prefix: &&[u8]| prefix.len() >= self.apex.0.len();
        for prefix in key.prefixes().filter(within) {
            if !self.nodes.contains_key(prefix) {
                self.nodes.insert(Key(prefix.into()), Node::default());
            }
        }
        Some(self.nodes.entry(key).or_default())
    }

    pub fn origin(&self) -> &Name {
        &self.origin
    }

    pub fn serial(&self) -> u32 {
        self.soa.serial
    }

    /// The node of exactly this name, wherever in the zone or below a delegation it is.
    pub fn node(&self, name: &Name) -> Option<&Node> {
        self.nodes.get(Key::of(name).as_bytes())
    }

    /// Every record, ancestors before descendants.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.nodes.values().flat_map(|node| &node.sets).flat_map(|set| &set.records)
    }
}

impl Node {
    pub fn set(&self, kind: RecordType) -> Option<&RecordSet> {
        self.sets.iter().find(|set| set.kind == kind)
    }

    pub fn sets(&self) -> &[RecordSet] {
        &self.sets
    }

    fn add(&mut self, mut record: Record) {
        let kind = record.record_type();
        let Some(set) = self.sets.iter_mut().find(|set| set.kind == kind) else {
            self.sets.push(RecordSet { kind, records: vec![record] });
            return;
        };
        let ttl = record.ttl.min(set.records[0].ttl);
        record.ttl = ttl;
        for held in &mut set.records {
            held.ttl = ttl;
        }
        if set.records.iter().all(|held| held.data != record.data) {
            set.records.push(record);
        }
    }
}

impl RecordSet {
    pub fn kind(&self) -> RecordType {
        self.kind
    }

    pub fn records(&self) -> &[Record] {
        &self.records
    }
}
