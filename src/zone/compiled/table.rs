use super::question::{Suffix, hash_label};

/// Names in lower case and what belongs to them, found by the hash of the name.
///
/// Open addressing in a power of two of slots, at most half of them taken. Who asks cannot choose
/// the names in it, so the hash needs no secret.
#[derive(Debug, Clone)]
pub(super) struct Table<V> {
    /// The number of an entry plus one; zero is an empty slot.
    slots: Box<[u32]>,
    entries: Vec<Entry<V>>,
    /// All names, one after the other, in wire form.
    names: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Entry<V> {
    hash: u32,
    at: u32,
    length: u8,
    value: V,
}

impl<V> Table<V> {
    /// Builds the table; of two equal names the first is found.
    pub(super) fn new(named: impl ExactSizeIterator<Item = (Vec<u8>, V)>) -> Self {
        let slots = (named.len() * 2).next_power_of_two().max(2);
        let mut table = Self {
            slots: vec![0; slots].into_boxed_slice(),
            entries: Vec::with_capacity(named.len()),
            names: Vec::new(),
        };
        for (name, value) in named {
            let hash = hash_name(&name);
            let slot = table.free_slot(hash);
            let at = u32::try_from(table.names.len()).expect("names of a zone stay below 4 GiB");
            let length = u8::try_from(name.len()).expect("names have at most 255 bytes");
            table.names.extend_from_slice(&name);
            table.entries.push(Entry { hash, at, length, value });
            table.slots[slot] =
                u32::try_from(table.entries.len()).expect("a zone has less than 2^32 names");
        }
        table.names.shrink_to_fit();
        table
    }

    pub(super) fn find(&self, suffix: Suffix<'_>) -> Option<&V> {
        let mask = self.slots.len() - 1;
        let mut slot = suffix.hash as usize & mask;
        loop {
            let entry = &self.entries[(self.slots[slot] as usize).checked_sub(1)?];
            if entry.hash == suffix.hash && self.name(entry) == suffix.name {
                return Some(&entry.value);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn name(&self, entry: &Entry<V>) -> &[u8] {
        let at = entry.at as usize;
        &self.names[at..at + usize::from(entry.length)]
    }

    fn free_slot(&self, hash: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

/// The hash of a name in wire form and lower case.
fn hash_name(name: &[u8]) -> u32 {
    let mut labels = Vec::new();
    let mut rest = name;
    while let Some((&length @ 1.., tail)) = rest.split_first() {
        let (label, tail) = tail.split_at(length.into());
        labels.push(label);
        rest = tail;
    }
    labels.iter().rev().fold(0, |parent, label| hash_label(parent, label))
}
