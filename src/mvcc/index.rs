use std::collections::BTreeMap;
use std::ops::Bound;

use super::chunk::{Chunk, Entry};
use super::history::{History, Life};
use super::{EventRef, KeyRange, Revision};

/// All keys there are records of, in order, with their histories.
///
/// They lie in chunks that know how many of their keys exist, so that a range is counted without
/// looking at each key: clients that read the first page of a large range are told the size of all.
#[derive(Debug)]
pub(super) struct Index {
    /// By a key that is not greater than any in the chunk; the first is under the least of all keys.
    chunks: BTreeMap<Box<[u8]>, Chunk>,
}

/// The index of a storage, made anew from its records as they come by in order.
#[derive(Debug, Default)]
pub struct IndexRebuild {
    pub(super) index: Index,
    /// The revision of the last record, 0 before the first.
    pub(super) last: i64,
}

impl IndexRebuild {
    /// Notes the next record.
    pub fn record(&mut self, at: Revision, record: EventRef<'_>) {
        if record.deleted {
            self.index.tombstone(record.key, at);
        } else {
            let life = Life { created: record.create_revision, version: record.version };
            self.index.restore_put(record.key, at, life);
        }
        self.last = at.main;
    }
}

impl Default for Index {
    fn default() -> Self {
        Self { chunks: BTreeMap::from([(Box::default(), Chunk::default())]) }
    }
}

impl Index {
    pub(super) fn history(&self, key: &[u8]) -> Option<&History> {
        let (_, chunk) = self.chunks.range::<[u8], _>(up_to(key)).next_back()?;
        chunk.history(key)
    }

    /// Notes one put and says what life the key has now.
    pub(super) fn put(&mut self, key: &[u8], at: Revision) -> Life {
        self.change(key, at, |history| {
            let life = match history.as_ref().and_then(|history| history.life()) {
                Some(life) => Life { created: life.created, version: life.version + 1 },
                None => Life { created: at.main, version: 1 },
            };
            match history {
                Some(history) => {
                    history.put(at, life);
                    (None, life)
                }
                None => (Some(History::of_put(at, life)), life),
            }
        })
    }

    /// Notes a put found in the storage.
    pub(super) fn restore_put(&mut self, key: &[u8], at: Revision, life: Life) {
        self.change(key, at, |history| match history {
            Some(history) => (None, history.put(at, life)),
            None => (Some(History::of_put(at, life)), ()),
        });
    }

    /// Notes a deletion.
    pub(super) fn tombstone(&mut self, key: &[u8], at: Revision) {
        self.change(key, at, |history| match history {
            Some(history) => (None, history.tombstone(at)),
            // Compaction has dropped the puts before it and kept the tombstone for watchers.
            None => (Some(History::of_tombstone(at)), ()),
        });
    }

    /// The histories of a range, in key order, after `resume` when given.
    pub(super) fn range<'a>(
        &'a self,
        range: &'a KeyRange,
        resume: Option<&'a [u8]>,
    ) -> impl Iterator<Item = (&'a [u8], &'a History)> {
        let (start, end) = bounds(range, resume);
        let (first, others) = self.chunks_of(start, end);
        let skipped = first.map_or(&[][..], |chunk| behind(chunk, start));
        let entries = skipped.iter().chain(others.flat_map(|(_, chunk)| chunk.entries()));
        let entries = entries.take_while(move |entry| before(&entry.key, end));
        entries.map(|entry| (&*entry.key, &entry.history))
    }

    /// How many keys of a range exist at revision `main`, after `resume` when given.
    ///
    /// Looks at about `limit` keys or chunks; the key to go on from, `None` when through.
    pub(super) fn count<'a>(
        &'a self,
        range: &'a KeyRange,
        main: i64,
        resume: Option<&'a [u8]>,
        limit: usize,
    ) -> (usize, Option<&'a [u8]>) {
        let (start, end) = bounds(range, resume);
        let (first, others) = self.chunks_of(start, end);
        let exist = |entries: &[Entry]| {
            entries.iter().filter(|entry| entry.history.at(main).is_some()).count()
        };
        let (mut count, mut seen) = (0, 0);
        let others = others.map(|(_, chunk)| (chunk, chunk.entries()));
        let first = first.map(|chunk| (chunk, behind(chunk, start)));
        for (chunk, entries) in first.into_iter().chain(others) {
            let Some(last) = entries.last() else { continue };
            let whole = entries.len() == chunk.len() && before(&last.key, end);
            if whole && let Some(live) = chunk.count(main) {
                count += live;
                seen += 1;
            } else {
                let until = entries.partition_point(|entry| before(&entry.key, end));
                count += exist(&entries[..until]);
                seen += until;
            }
            if seen >= limit {
                return (count, before(&last.key, end).then_some(&*last.key));
            }
        }
        (count, None)
    }

    /// Compacts about `limit` keys from the chunk `resume` on; the chunk to go on from, `None` when
    /// through.
    pub(super) fn compact(
        &mut self,
        main: i64,
        resume: Option<&[u8]>,
        limit: usize,
        mut dropped: impl FnMut(Revision),
    ) -> Option<Box<[u8]>> {
        let start = resume.map_or(Bound::Unbounded, Bound::Included);
        let mut gone: Vec<Box<[u8]>> = Vec::new();
        let mut next = None;
        let mut previous: Option<&mut Chunk> = None;
        let mut seen = 0;
        for (bound, chunk) in self.chunks.range_mut::<[u8], _>((start, Bound::Unbounded)) {
            if seen >= limit {
                next = Some(bound.clone());
                break;
            }
            seen += chunk.len().max(1);
            chunk.compact(main, &mut dropped);
            if previous.as_mut().is_some_and(|previous| previous.absorb(chunk)) {
                gone.push(bound.clone());
            } else {
                previous = Some(chunk);
            }
        }
        for bound in gone {
            self.chunks.remove(&bound);
        }
        next
    }

    fn change<T>(
        &mut self,
        key: &[u8],
        at: Revision,
        change: impl FnOnce(Option<&mut History>) -> (Option<History>, T),
    ) -> T {
        let found = self.chunks.range_mut::<[u8], _>(up_to(key)).next_back();
        let (_, chunk) = found.expect("the first chunk is never removed");
        let told = chunk.change(key, at, change);
        if let Some((bound, next)) = chunk.split(key) {
            self.chunks.insert(bound, next);
        }
        told
    }

    /// The chunk that `start` falls into, and those behind it that begin before `end`.
    fn chunks_of<'a>(
        &'a self,
        start: Bound<&'a [u8]>,
        end: Bound<&'a [u8]>,
    ) -> (Option<&'a Chunk>, impl Iterator<Item = (&'a Box<[u8]>, &'a Chunk)>) {
        let (Bound::Included(key) | Bound::Excluded(key)) = start else {
            unreachable!("ranges begin with a key")
        };
        // A sorted map panics on bounds that cross.
        let crossed = !before(key, end);
        let first = self.chunks.range::<[u8], _>(up_to(key)).next_back();
        let first = first.map(|(_, chunk)| chunk).filter(|_| !crossed);
        let others = (!crossed).then(|| self.chunks.range::<[u8], _>((Bound::Excluded(key), end)));
        (first, others.into_iter().flatten())
    }
}

fn up_to(key: &[u8]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Unbounded, Bound::Included(key))
}

/// Where a range begins when it was read up to and including `resume`, and where it ends.
fn bounds<'a>(range: &'a KeyRange, resume: Option<&'a [u8]>) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    let (start, end) = range.bounds();
    (resume.map_or(start, Bound::Excluded), end)
}

/// The entries of a chunk from `start` on.
fn behind<'a>(chunk: &'a Chunk, start: Bound<&[u8]>) -> &'a [Entry] {
    let entries = chunk.entries();
    match start {
        Bound::Unbounded => entries,
        Bound::Included(key) => &entries[chunk.from(key)..],
        Bound::Excluded(key) => {
            let at = chunk.from(key);
            let there = entries.get(at).is_some_and(|entry| *entry.key == *key);
            &entries[at + usize::from(there)..]
        }
    }
}

fn before(key: &[u8], end: Bound<&[u8]>) -> bool {
    match end {
        Bound::Included(end) => key <= end,
        Bound::Excluded(end) => key < end,
        Bound::Unbounded => true,
    }
}
