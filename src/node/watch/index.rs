use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::interest::Span;
use crate::mvcc::KeyRange;

/// Which watchers may care about a key.
///
/// Nearly all watchers follow one key or one prefix; both are found by hashing. The prefixes in use
/// have few different lengths, so a key is cut at each of them and looked up. Other ranges are few
/// and looked at one by one.
#[derive(Debug)]
pub(super) struct Index<W> {
    keys: HashMap<Bytes, Vec<W>>,
    prefixes: HashMap<Bytes, Vec<W>>,
    /// How many different prefixes have this length.
    lengths: BTreeMap<usize, usize>,
    ranges: BTreeMap<KeyRange, Vec<W>>,
}

impl<W: Copy + PartialEq> Index<W> {
    pub(super) fn insert(&mut self, span: Span, watcher: W) {
        match span {
            Span::Key(key) => self.keys.entry(key).or_default().push(watcher),
            Span::Prefix(prefix) => {
                let length = prefix.len();
                let watchers = self.prefixes.entry(prefix).or_default();
                if watchers.is_empty() {
                    *self.lengths.entry(length).or_default() += 1;
                }
                watchers.push(watcher);
            }
            Span::Range(range) => self.ranges.entry(range).or_default().push(watcher),
        }
    }

    pub(super) fn remove(&mut self, span: &Span, watcher: W) {
        match span {
            Span::Key(key) => {
                if let Some(watchers) = self.keys.get_mut(key) {
                    watchers.retain(|other| *other != watcher);
                    if watchers.is_empty() {
                        self.keys.remove(key);
                    }
                }
            }
            Span::Prefix(prefix) => {
                let Some(watchers) = self.prefixes.get_mut(prefix) else { return };
                watchers.retain(|other| *other != watcher);
                if watchers.is_empty() {
                    self.prefixes.remove(prefix);
                    if let Some(count) = self.lengths.get_mut(&prefix.len()) {
                        *count -= 1;
                    }
                    self.lengths.retain(|_, count| *count > 0);
                }
            }
            Span::Range(range) => {
                if let Some(watchers) = self.ranges.get_mut(range) {
                    watchers.retain(|other| *other != watcher);
                    if watchers.is_empty() {
                        self.ranges.remove(range);
                    }
                }
            }
        }
    }

    /// Calls `found` for every watcher whose span may contain `key`.
    pub(super) fn each(&self, key: &[u8], mut found: impl FnMut(W)) {
        let mut all = |watchers: &[W]| watchers.iter().copied().for_each(&mut found);
        if let Some(watchers) = self.keys.get(key) {
            all(watchers);
        }
        for length in self.lengths.keys() {
            let Some(head) = key.get(..*length) else { break };
            if let Some(watchers) = self.prefixes.get(head) {
                all(watchers);
            }
        }
        for (range, watchers) in &self.ranges {
            if range.contains(key) {
                all(watchers);
            }
        }
    }
}

impl<W> Default for Index<W> {
    fn default() -> Self {
        Self {
            keys: HashMap::new(),
            prefixes: HashMap::new(),
            lengths: BTreeMap::new(),
            ranges: BTreeMap::new(),
        }
    }
}
