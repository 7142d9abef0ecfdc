use std::collections::BTreeMap;
use std::ops::Bound;

use super::history::{History, Life};
use super::{KeyRange, Revision};

/// All keys there are records of, in order, with their histories.
#[derive(Debug, Default)]
pub(super) struct Index {
    keys: BTreeMap<Box<[u8]>, History>,
}

impl Index {
    pub(super) fn history(&self, key: &[u8]) -> Option<&History> {
        self.keys.get(key)
    }

    /// Notes one put and says what life the key has now.
    pub(super) fn put(&mut self, key: &[u8], at: Revision) -> Life {
        if let Some(history) = self.keys.get_mut(key) {
            let life = match history.life() {
                Some(life) => Life { created: life.created, version: life.version + 1 },
                None => Life { created: at.main, version: 1 },
            };
            history.put(at, life);
            life
        } else {
            let life = Life { created: at.main, version: 1 };
            self.keys.insert(key.into(), History::of_put(at, life));
            life
        }
    }

    /// Notes a put found in the storage.
    pub(super) fn restore_put(&mut self, key: &[u8], at: Revision, life: Life) {
        match self.keys.get_mut(key) {
            Some(history) => history.put(at, life),
            None => {
                self.keys.insert(key.into(), History::of_put(at, life));
            }
        }
    }

    /// Notes a deletion.
    pub(super) fn tombstone(&mut self, key: &[u8], at: Revision) {
        match self.keys.get_mut(key) {
            Some(history) => history.tombstone(at),
            // Compaction has dropped the puts before it and kept the tombstone for watchers.
            None => {
                self.keys.insert(key.into(), History::of_tombstone(at));
            }
        }
    }

    /// The histories of a range, in key order, after `resume` when given.
    pub(super) fn range<'a>(
        &'a self,
        range: &'a KeyRange,
        resume: Option<&'a [u8]>,
    ) -> impl Iterator<Item = (&'a [u8], &'a History)> {
        let (start, end) = range.bounds();
        let start = resume.map_or(start, Bound::Excluded);
        // A sorted map panics on bounds that cross.
        let crossed = range.is_empty() || resume.is_some_and(|resume| !before(resume, end));
        let found = (!crossed).then(|| self.keys.range::<[u8], _>((start, end)));
        found.into_iter().flatten().map(|(key, history)| (&key[..], history))
    }

    /// Compacts up to `limit` keys after `resume`; the key to go on from, `None` when through.
    pub(super) fn compact(
        &mut self,
        main: i64,
        resume: Option<&[u8]>,
        limit: usize,
        mut dropped: impl FnMut(Revision),
    ) -> Option<Box<[u8]>> {
        let start = resume.map_or(Bound::Unbounded, Bound::Excluded);
        let mut gone: Vec<Box<[u8]>> = Vec::new();
        let mut last = None;
        let mut seen = 0;
        for (key, history) in self.keys.range_mut::<[u8], _>((start, Bound::Unbounded)) {
            if seen == limit {
                break;
            }
            seen += 1;
            if !history.compact(main, &mut dropped) {
                gone.push(key.clone());
            }
            last = Some(key);
        }
        let resume = if seen == limit { last.cloned() } else { None };
        for key in gone {
            self.keys.remove(&key);
        }
        resume
    }
}

fn before(key: &[u8], end: Bound<&[u8]>) -> bool {
    match end {
        Bound::Included(end) | Bound::Excluded(end) => key < end,
        Bound::Unbounded => true,
    }
}
