use super::question::{Suffix, hash_label};
use crate::zone::room::room;

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
    /// An empty table for so many names; [`put`](Self::put) fills it.
    pub(super) fn with_room(count: usize) -> Self {
        let length = (count * 2).next_power_of_two().max(2);
        let mut slots = room(length);
        slots.resize(length, 0);
        Self {
            slots: slots.into_boxed_slice(),
            entries: room(count),
            names: room(count.saturating_mul(32)),
        }
    }

    /// Adds a name; of two equal ones the first is found.
    pub(super) fn put(&mut self, name: &[u8], value: V) {
        assert!(self.entries.len() * 2 < self.slots.len(), "more names than were announced");
        let hash = hash_name(name);
        let slot = self.free_slot(hash);
        let at = u32::try_from(self.names.len()).expect("names of a zone stay below 4 GiB");
        let length = u8::try_from(name.len()).expect("names have at most 255 bytes");
        self.names.extend_from_slice(name);
        self.entries.push(Entry { hash, at, length, value });
        self.slots[slot] =
            u32::try_from(self.entries.len()).expect("a zone has less than 2^32 names");
    }

    /// Gives back the room that was not needed.
    pub(super) fn shrink_to_fit(&mut self) {
        self.entries.shrink_to_fit();
        self.names.shrink_to_fit();
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
