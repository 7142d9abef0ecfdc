use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::mvcc::{Applied, Event, EventRef, Revision};

/// Changes that are not on disk yet.
#[derive(Debug)]
pub(super) struct Pending {
    /// Ascending.
    records: Vec<(Revision, Event)>,
    /// Dropped by compaction; of this overlay or of an older place.
    deleted: Vec<Revision>,
    meta: BTreeMap<Bytes, Option<Bytes>>,
    applied: Applied,
    /// Whether anything was set, be it the applied index alone.
    touched: bool,
    bytes: usize,
}

impl Pending {
    /// An empty overlay over a state that contains the log up to `applied`.
    pub(super) fn new(applied: Applied) -> Self {
        Self {
            records: Vec::new(),
            deleted: Vec::new(),
            meta: BTreeMap::new(),
            applied,
            touched: false,
            bytes: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.touched
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn applied(&self) -> Applied {
        self.applied
    }

    /// Makes a commit of it write the applied index, even if nothing else.
    pub(super) fn touch(&mut self) {
        self.touched = true;
    }

    pub(super) fn set_applied(&mut self, applied: Applied) {
        self.touched = true;
        self.applied = applied;
    }

    pub(super) fn put(&mut self, at: Revision, record: &Event) {
        const OVERHEAD: usize = 32;
        self.touched = true;
        self.bytes += record.kv.key.len() + record.kv.value.len() + OVERHEAD;
        debug_assert!(self.records.last().is_none_or(|(last, _)| *last < at), "{at:?} is not new");
        self.records.push((at, record.clone()));
    }

    pub(super) fn delete(&mut self, at: Revision) {
        self.touched = true;
        self.deleted.push(at);
    }

    pub(super) fn set_meta(&mut self, key: &[u8], value: Option<Bytes>) {
        self.touched = true;
        self.meta.insert(Bytes::copy_from_slice(key), value);
    }

    /// Adds what a later overlay removes and sets, without its records.
    pub(super) fn follow(&mut self, later: &Self) {
        self.touched = true;
        self.applied = later.applied;
        self.deleted.extend_from_slice(&later.deleted);
        let set = later.meta.iter().map(|(key, value)| (key.clone(), value.clone()));
        self.meta.extend(set);
    }

    /// The first revision in here.
    pub(super) fn first(&self) -> Option<Revision> {
        self.records.first().map(|(at, _)| *at)
    }

    pub(super) fn record(&self, at: Revision) -> Option<&Event> {
        let place = self.records.binary_search_by_key(&at, |(at, _)| *at).ok()?;
        Some(&self.records[place].1)
    }

    pub(super) fn records(&self) -> &[(Revision, Event)] {
        &self.records
    }

    pub(super) fn deleted(&self) -> &[Revision] {
        &self.deleted
    }

    pub(super) fn all_meta(&self) -> &BTreeMap<Bytes, Option<Bytes>> {
        &self.meta
    }

    /// A value set here, or `Some(None)` for one removed here.
    pub(super) fn meta(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.meta.get(key)
    }

    /// Lays what is set here under `prefix` over what was found below.
    pub(super) fn overlay_meta(&self, prefix: &[u8], found: &mut BTreeMap<Bytes, Bytes>) {
        let from = Bytes::copy_from_slice(prefix);
        for (key, value) in self.meta.range(from..).take_while(|(key, _)| key.starts_with(prefix)) {
            match value {
                Some(value) => found.insert(key.clone(), value.clone()),
                None => found.remove(key),
            };
        }
    }

    pub(super) fn scan(
        &self,
        from: Revision,
        visit: &mut dyn FnMut(Revision, EventRef<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let start = self.records.partition_point(|(at, _)| *at < from);
        for (at, record) in &self.records[start..] {
            visit(*at, record.as_ref())?;
        }
        ControlFlow::Continue(())
    }
}
