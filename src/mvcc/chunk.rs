use super::Revision;
use super::history::History;

/// Keys of a chunk at most. Small in tests, so that few keys fill many.
pub(super) const CHUNK: usize = if cfg!(test) { 4 } else { 256 };

/// Neighbouring keys with their histories, and what is known of all of them together.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Ascending by key.
    entries: Vec<Entry>,
    /// How many of the keys exist now.
    live: usize,
    /// No change of any of the keys is newer; what compaction removed may have been.
    newest: i64,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Box<[u8]>,
    pub(super) history: History,
}

impl Chunk {
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn history(&self, key: &[u8]) -> Option<&History> {
        self.place(key).ok().map(|at| &self.entries[at].history)
    }

    /// How many keys exist at revision `main`, if that can be told without looking at each.
    pub(super) fn count(&self, main: i64) -> Option<usize> {
        (self.newest <= main).then_some(self.live)
    }

    /// Where the first key that is not less stands.
    pub(super) fn from(&self, key: &[u8]) -> usize {
        self.entries.partition_point(|entry| *entry.key < *key)
    }

    /// Notes a change of one key; `change` makes the history of a key that is not there yet.
    pub(super) fn change<T>(
        &mut self,
        key: &[u8],
        at: Revision,
        change: impl FnOnce(Option<&mut History>) -> (Option<History>, T),
    ) -> T {
        self.newest = self.newest.max(at.main);
        match self.place(key) {
            Ok(place) => {
                let history = &mut self.entries[place].history;
                self.live -= usize::from(history.life().is_some());
                let (_, told) = change(Some(history));
                self.live += usize::from(history.life().is_some());
                told
            }
            Err(place) => {
                let (made, told) = change(None);
                let history = made.expect("a new key gets a history");
                self.live += usize::from(history.life().is_some());
                if self.entries.len() == self.entries.capacity() {
                    // By half: doubling would leave a fourth of the memory unused.
                    self.entries.reserve_exact(1 + self.entries.len() / 2);
                }
                self.entries.insert(place, Entry { key: key.into(), history });
                told
            }
        }
    }

    /// The second half of a chunk that has grown too large by this key, as the next one, and a bound
    /// for it.
    pub(super) fn split(&mut self, added: &[u8]) -> Option<(Box<[u8]>, Self)> {
        let length = self.entries.len();
        if length <= CHUNK {
            return None;
        }
        let added = self.from(added);
        // Keys that come about in order leave full chunks behind.
        let in_order = added * 8 > length * 7;
        let at = if in_order { added } else { length / 2 };
        let entries: Vec<Entry> = self.entries.drain(at..).collect();
        self.entries.shrink_to_fit();
        let live = live(&entries);
        self.live -= live;
        let bound = entries.first()?.key.clone();
        Some((bound, Self { entries, live, newest: self.newest }))
    }

    /// Forgets what compaction at `main` drops.
    pub(super) fn compact(&mut self, main: i64, mut dropped: impl FnMut(Revision)) {
        // What exists now goes on existing.
        self.entries.retain_mut(|entry| entry.history.compact(main, &mut dropped));
        if self.entries.len() < self.entries.capacity() / 2 {
            self.entries.shrink_to_fit();
        }
    }

    /// Takes in the chunk that follows, if both together are small.
    pub(super) fn absorb(&mut self, next: &mut Self) -> bool {
        let small = next.entries.is_empty() || self.entries.len() + next.entries.len() <= CHUNK / 2;
        if small {
            self.entries.append(&mut next.entries);
            self.live += next.live;
            self.newest = self.newest.max(next.newest);
        }
        small
    }

    fn place(&self, key: &[u8]) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| (*entry.key).cmp(key))
    }
}

fn live(entries: &[Entry]) -> usize {
    entries.iter().filter(|entry| entry.history.life().is_some()).count()
}
