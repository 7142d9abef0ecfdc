use std::cell::Cell;
use std::collections::VecDeque;

use ::raft::eraftpb::{self, ConfState, HardState, Snapshot};
use ::raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};
use protobuf::Message as _;

use super::{Index, Mark, Term};

/// What an entry costs besides its data.
const ENTRY_OVERHEAD: usize = size_of::<eraftpb::Entry>();

/// The part of the log that is in memory, as the wrapped crate reads it.
///
/// Holds `base.index < i <= last`. Entries are here as soon as they are handed to the disk, before they
/// are durable: the crate asks for that with asynchronous appends.
///
/// Invariant: `base.index <= applied`, so that no entry is missing that still has to be applied.
#[derive(Debug)]
pub(super) struct LogView {
    base: Mark,
    entries: VecDeque<eraftpb::Entry>,
    /// Bytes of all entries.
    bytes: usize,
    hard_state: HardState,
    conf: ConfState,
    snapshot: Option<Snapshot>,
    /// The crate asks through `&self`; the answer is taken at the end of the step.
    snapshot_wanted: Cell<bool>,
}

impl LogView {
    pub(super) fn new(base: Mark, hard_state: HardState, conf: ConfState) -> Self {
        Self {
            base,
            entries: VecDeque::new(),
            bytes: 0,
            hard_state,
            conf,
            snapshot: None,
            snapshot_wanted: Cell::new(false),
        }
    }

    pub(super) fn last(&self) -> Index {
        Index(self.base.index.0 + self.entries.len() as u64)
    }

    /// Replaces whatever is held from the first of these on.
    pub(super) fn append(&mut self, entries: impl IntoIterator<Item = eraftpb::Entry>) {
        for entry in entries {
            let next = self.last().0 + 1;
            assert!(
                self.base.index.0 < entry.index && entry.index <= next,
                "entry {} leaves a gap behind {} or is older than {}",
                entry.index,
                next - 1,
                self.base.index.0
            );
            while self.last().0 >= entry.index {
                let replaced = self.entries.pop_back().expect("last is above the base");
                self.bytes -= cost(&replaced);
            }
            self.bytes += cost(&entry);
            self.entries.push_back(entry);
        }
    }

    /// The log now starts behind a received snapshot.
    pub(super) fn restore(&mut self, snapshot: &Snapshot) {
        let meta = snapshot.get_metadata();
        self.base = Mark { index: Index(meta.index), term: Term(meta.term) };
        self.conf = meta.get_conf_state().clone();
        self.entries.clear();
        self.bytes = 0;
        self.snapshot = None;
    }

    /// Drops entries up to `keep_after`, and beyond that applied ones while all take more than `bytes`: followers
    /// that need them get a snapshot. Entries not yet applied are never dropped.
    pub(super) fn trim(&mut self, keep_after: Index, applied: Index, bytes: usize) {
        while let Some(oldest) = self.entries.front() {
            let over = self.bytes > bytes && oldest.index <= applied.0;
            if oldest.index > keep_after.0.min(applied.0) && !over {
                break;
            }
            self.base = Mark { index: Index(oldest.index), term: Term(oldest.term) };
            self.bytes -= cost(oldest);
            self.entries.pop_front();
        }
        let useless = |held: &Snapshot| held.get_metadata().index < self.base.index.0;
        if self.snapshot.as_ref().is_some_and(useless) {
            self.snapshot = None;
        }
    }

    pub(super) fn supply(&mut self, snapshot: Snapshot) {
        self.snapshot = Some(snapshot);
    }

    pub(super) fn forget_snapshot(&mut self) {
        self.snapshot = None;
    }

    /// Whether a snapshot was asked for and not had since this was last called.
    pub(super) fn take_snapshot_wanted(&self) -> bool {
        self.snapshot_wanted.take()
    }

    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.entry(index.0).map(|entry| Term(entry.term))
    }

    fn entry(&self, index: u64) -> Option<&eraftpb::Entry> {
        let at = index.checked_sub(self.base.index.0 + 1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }
}

fn cost(entry: &eraftpb::Entry) -> usize {
    entry.data.len() + entry.context.len() + ENTRY_OVERHEAD
}

impl Storage for LogView {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<eraftpb::Entry>> {
        if low <= self.base.index.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last().0 + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let limit = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0;
        let mut found = Vec::new();
        for entry in (low..high).map_while(|index| self.entry(index)) {
            bytes += u64::from(entry.compute_size());
            if bytes > limit && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> Result<u64> {
        match self.term_at(Index(index)) {
            Some(term) => Ok(term.0),
            None if index < self.base.index.0 => Err(Error::Store(StorageError::Compacted)),
            None => Err(Error::Store(StorageError::Unavailable)),
        }
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.base.index.0 + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last().0)
    }

    /// A snapshot in which the receiver itself is a member; an older one would be refused by it.
    fn snapshot(&self, request_index: u64, to: u64) -> Result<Snapshot> {
        let fits = |held: &&Snapshot| {
            let meta = held.get_metadata();
            let conf = meta.get_conf_state();
            meta.index >= request_index
                && meta.index >= self.base.index.0
                && (conf.voters.contains(&to) || conf.learners.contains(&to))
        };
        self.snapshot.as_ref().filter(fits).cloned().ok_or_else(|| {
            self.snapshot_wanted.set(true);
            Error::Store(StorageError::SnapshotTemporarilyUnavailable)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applied_entries_go_when_all_take_too_much() {
        let entry = |index| {
            let mut entry = eraftpb::Entry::default();
            (entry.index, entry.term) = (index, 1);
            entry.data = vec![7; 1000].into();
            entry
        };
        let held = |bytes: usize, applied: u64| {
            let mut view =
                LogView::new(Mark::default(), HardState::default(), ConfState::default());
            view.append((1..=10).map(entry));
            view.trim(Index(0), Index(applied), bytes);
            assert_eq!(view.last(), Index(10));
            view.entries.len()
        };
        let each = cost(&entry(1));
        assert_eq!(held(10 * each, 10), 10, "followers may need them");
        assert_eq!(held(4 * each, 10), 4);
        assert_eq!(held(0, 3), 7, "these are still to be applied");
    }
}
