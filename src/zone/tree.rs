use std::borrow::Borrow;

use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::entries::{Entries, Owners};
use super::packed::{Node, Nodes, RecordSet};

/// A name as trees order it: lower case, labels from the root down, each behind its length.
///
/// So every ancestor of a name is a prefix of it, and a look at an ancestor needs no allocation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Box<[u8]>);

impl Key {
    pub fn of(name: &Name) -> Self {
        let mut bytes = Vec::with_capacity(name.len() + 1);
        Self::append(name, &mut bytes);
        Self(bytes.into_boxed_slice())
    }

    /// Appends the key of a name to other bytes.
    pub(super) fn append(name: &Name, bytes: &mut Vec<u8>) {
        for label in name.iter().rev() {
            bytes.push(u8::try_from(label.len()).expect("labels have at most 63 bytes"));
            bytes.extend(label.iter().map(u8::to_ascii_lowercase));
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The ancestors from the top-level label down, then the name itself. The root is left out.
    pub fn prefixes(&self) -> impl Iterator<Item = &[u8]> {
        prefixes(&self.0)
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
    pub(super) nodes: Nodes,
    soa: SOA,
    /// The SOA as negative answers carry it, with the TTL they are kept for (RFC 2308 §3).
    pub(super) negative: Record,
}

impl Zone {
    /// Builds the zone whose apex is the owner of the first SOA; none without an SOA.
    ///
    /// Owners outside are left out, and so are repeated records; each set gets its lowest TTL.
    pub fn assemble<'r>(records: impl Iterator<Item = &'r Record>) -> Option<Self> {
        Self::assemble_with(records, &[])
    }

    /// The same; these names exist too, with everything above them, and own perhaps nothing.
    pub fn assemble_with<'r>(
        records: impl Iterator<Item = &'r Record>,
        reserved: &[Name],
    ) -> Option<Self> {
        let mut entries = Entries::default();
        records.for_each(|record| entries.push(None, record));
        reserved.iter().for_each(|name| entries.reserve(name));
        Self::of(&Owners::of(&entries))
    }

    pub(super) fn of(owners: &Owners<'_>) -> Option<Self> {
        let soas = owners.entries.of_kind(RecordType::SOA);
        let mut soas = soas.map(|entry| owners.entries.record(entry));
        let (origin, ttl, soa) = soas.find_map(|record| match record.data {
            RData::SOA(soa) => Some((record.name, record.ttl, soa)),
            _ => None,
        })?;
        let apex = Key::of(&origin);
        let negative =
            Record::from_rdata(origin.clone(), ttl.min(soa.minimum), RData::SOA(soa.clone()));
        let nodes = Nodes::pack(owners, &apex);
        Some(Self { origin, apex, nodes, soa, negative })
    }

    pub fn origin(&self) -> &Name {
        &self.origin
    }

    pub fn serial(&self) -> u32 {
        self.soa.serial
    }

    /// The node of exactly this name, wherever in the zone or below a delegation it is.
    pub fn node(&self, name: &Name) -> Option<Node<'_>> {
        self.nodes.find(Key::of(name).as_bytes())
    }

    /// Every record, ancestors before descendants.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.nodes.iter().flat_map(|(_, node)| node.sets()).flat_map(RecordSet::into_records)
    }
}

/// The ancestors of a key from the top-level label down, then the key itself.
pub(super) fn prefixes(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut end = 0;
    std::iter::from_fn(move || {
        let length = *key.get(end)?;
        end += 1 + usize::from(length);
        Some(&key[..end])
    })
}
