use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::history::Life;
use super::index::{Index, IndexRebuild};
use super::{Event, KeyRange, KeyValue, Revision, Revisions, Storage, StorageError};

/// Up to where the history was asked to be dropped, and up to where that is done.
pub const COMPACT_SCHEDULED: &[u8] = b"compact/scheduled";
pub const COMPACT_FINISHED: &[u8] = b"compact/finished";
/// A revision that a restored state starts from although no record has it.
pub const REVISION_FLOOR: &[u8] = b"revision";

/// All keys with all their revisions since the last compaction.
#[derive(Debug)]
pub struct Keyspace<S> {
    storage: S,
    index: Index,
    revision: i64,
    compact_revision: i64,
    sweep: Sweep,
}

/// The removal of old records, in two strides that alternate until all keys are through: walk
/// over the index and forget what compaction drops, then delete the records in revision order.
///
/// The order matters twice. Records written together lie together on disk, and a crash in between
/// leaves of a key's dropped records the newest, from which the same history can be rebuilt.
#[derive(Debug, Default)]
struct Sweep {
    work: bool,
    /// The walk goes on with this chunk, unless it is through.
    next: Option<Box<[u8]>>,
    walked: bool,
    deleting: bool,
    /// Gone from the index, not yet from the storage. A set, since sorting at the end of the
    /// walk would take long at once.
    dropped: BTreeSet<Revision>,
    /// Records deleted so far.
    removed: u64,
}

/// How many dropped revisions are held in memory before they are deleted: some 20 MB.
const SWEEP_STRIDE: usize = 1 << 20;

/// Why a revision cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the revision has been compacted")]
    Compacted,
    #[error("the revision is in the future")]
    Future,
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl<S: Storage> Keyspace<S> {
    /// Over a storage whose records, all of them, have come by already.
    pub fn rebuilt(storage: S, rebuild: IndexRebuild) -> Result<Self, StorageError> {
        let number = |key: &[u8]| -> Result<Option<i64>, StorageError> {
            let bytes = storage.meta(key)?;
            Ok(bytes.and_then(|bytes| Some(i64::from_be_bytes(*bytes.first_chunk()?))))
        };
        // A fresh store has compacted nothing, not even revision 0 (etcd's -1).
        let compact_revision = number(COMPACT_SCHEDULED)?.unwrap_or(-1);
        let finished = number(COMPACT_FINISHED)?.unwrap_or(-1);
        // The newest records may all have been tombstones that compaction removed.
        let floor = number(REVISION_FLOOR)?.unwrap_or(0);
        let IndexRebuild { index, last } = rebuild;
        let revision = last.max(1).max(compact_revision).max(floor);
        let sweep = Sweep { work: finished < compact_revision, ..Sweep::default() };
        Ok(Self { storage, index, revision, compact_revision, sweep })
    }

    /// The newest revision; 1 when nothing was ever written.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The oldest revision that can be read; -1 when nothing was ever compacted.
    pub fn compact_revision(&self) -> i64 {
        self.compact_revision
    }

    pub fn storage(&self) -> &S {
        &self.storage
    }

    pub fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// The storage alone.
    #[cfg(test)]
    pub(super) fn into_storage(self) -> S {
        self.storage
    }

    /// A key as it was at a revision.
    pub fn get(&self, key: &[u8], at: i64) -> Result<Option<KeyValue>, StorageError> {
        match self.find(key, at) {
            Some(at) => Ok(Some(self.storage.get(at)?.kv)),
            None => Ok(None),
        }
    }

    /// Where a key's record valid at a revision stands.
    pub fn find(&self, key: &[u8], at: i64) -> Option<Revision> {
        self.index.history(key)?.at(at)
    }

    /// When a key was made, last changed, and how often put, without a look at the storage.
    pub fn life(&self, key: &[u8]) -> Option<(Life, Revision)> {
        let history = self.index.history(key)?;
        Some((history.life()?, history.last()))
    }

    /// The keys of a range that exist at a revision, in order, after `resume` when given.
    pub fn range<'a>(
        &'a self,
        range: &'a KeyRange,
        at: i64,
        resume: Option<&'a [u8]>,
    ) -> impl Iterator<Item = (&'a [u8], Option<Revision>)> {
        self.index.range(range, resume).map(move |(key, history)| (key, history.at(at)))
    }

    /// How many keys of a range exist at a revision, after `resume` when given, and the key to go on
    /// from, unless it is through.
    ///
    /// Keys are counted by chunks where that is possible; looks at about `limit` chunks or keys.
    pub fn count<'a>(
        &'a self,
        range: &'a KeyRange,
        at: i64,
        resume: Option<&'a [u8]>,
        limit: usize,
    ) -> (usize, Option<&'a [u8]>) {
        self.index.count(range, at, resume, limit)
    }

    /// What changed in a range from a revision on, and the revision to go on from.
    ///
    /// Looks at no more than `limit` revisions, whether they touch the range or not.
    pub fn events(
        &self,
        range: &KeyRange,
        from: i64,
        limit: usize,
    ) -> Result<(Revisions, i64), Error> {
        if from < self.compact_revision {
            return Err(Error::Compacted);
        }
        let mut found = Revisions::new();
        let mut next = from.max(self.revision + 1);
        let (mut seen, mut last) = (0, 0);
        self.storage.scan(Revision::start_of(from.max(0)), &mut |at, record| {
            if at.main != last {
                if seen == limit {
                    next = at.main;
                    return ControlFlow::Break(());
                }
                seen += 1;
                last = at.main;
            }
            if range.contains(record.key) {
                match found.last_mut() {
                    Some((main, events)) if *main == at.main => events.push(record.to_event()),
                    _ => found.push((at.main, vec![record.to_event()])),
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok((found, next))
    }

    /// Makes everything before `revision` unreadable; [`Self::sweep`] removes it bit by bit.
    pub fn compact(&mut self, revision: i64) -> Result<(), Error> {
        if revision <= self.compact_revision {
            return Err(Error::Compacted);
        }
        if revision > self.revision {
            return Err(Error::Future);
        }
        self.compact_revision = revision;
        // What an earlier one has taken from the index is deleted with the rest.
        self.sweep.work = true;
        self.sweep.walked = false;
        self.sweep.deleting = false;
        self.sweep.next = None;
        self.storage.set_meta(COMPACT_SCHEDULED, Some(number_bytes(revision)));
        Ok(())
    }

    /// Removes up to `limit` old records, or looks for some in as many keys; whether more is to be
    /// done. Invisible to every read that is allowed.
    pub fn sweep(&mut self, limit: usize) -> bool {
        let Sweep { work, next, walked, deleting, dropped, removed } = &mut self.sweep;
        if *work && !*deleting {
            let from = next.take();
            let drop = |at| {
                dropped.insert(at);
            };
            *next = self.index.compact(self.compact_revision, from.as_deref(), limit, drop);
            *walked = next.is_none();
            *deleting = *walked || dropped.len() >= SWEEP_STRIDE;
        } else if *work {
            for _ in 0..limit {
                let Some(at) = dropped.pop_first() else { break };
                self.storage.delete(at);
                *removed += 1;
            }
            *deleting = !dropped.is_empty();
            if *walked && !*deleting {
                *work = false;
                self.storage.set_meta(COMPACT_FINISHED, Some(number_bytes(self.compact_revision)));
            }
        }
        self.sweep.work
    }

    /// How many records [`Self::sweep`] has removed since this was opened.
    pub fn removed(&self) -> u64 {
        self.sweep.removed
    }

    /// Whether the next [`Self::sweep`] goes through the index; else it removes records.
    pub fn sweeps_index(&self) -> bool {
        self.sweep.work && !self.sweep.deleting
    }

    /// Whether [`Self::sweep`] has work.
    pub fn sweeping(&self) -> bool {
        self.sweep.work
    }

    /// Whether a compaction at `revision` would keep this record of the records up to there.
    pub(super) fn keeps(&self, key: &[u8], at: Revision, revision: i64) -> bool {
        self.index.history(key).and_then(|history| history.kept(revision)) == Some(at)
    }

    /// Starts the next revision.
    pub fn write(&mut self) -> Write<'_, S> {
        Write { keys: self, events: Vec::new() }
    }
}

/// The next revision while it is being made: every change is visible at once, the revision number
/// moves when it is finished, and only if there were changes.
#[derive(Debug)]
pub struct Write<'a, S> {
    keys: &'a mut Keyspace<S>,
    events: Vec<Event>,
}

impl<S: Storage> Write<'_, S> {
    /// The keys with the changes so far.
    pub fn keys(&self) -> &Keyspace<S> {
        self.keys
    }

    /// The revision that reads see: the next one as soon as there are changes.
    pub fn revision(&self) -> i64 {
        self.keys.revision + i64::from(!self.events.is_empty())
    }

    fn next(&self) -> Revision {
        let sub = u32::try_from(self.events.len()).expect("a request has far fewer changes");
        Revision { main: self.keys.revision + 1, sub }
    }

    fn record(&mut self, at: Revision, event: Event) {
        self.keys.storage.put(at, &event);
        self.events.push(event);
    }

    /// Puts one pair.
    pub fn put(&mut self, key: Bytes, value: Bytes, lease: i64) {
        let at = self.next();
        let life = self.keys.index.put(&key, at);
        let kv = KeyValue {
            key,
            value,
            create_revision: life.created,
            mod_revision: at.main,
            version: life.version,
            lease,
        };
        self.record(at, Event { kv, deleted: false });
    }

    /// Deletes one key that exists.
    pub fn delete(&mut self, key: Bytes) {
        let at = self.next();
        self.keys.index.tombstone(&key, at);
        let kv = KeyValue { key, mod_revision: at.main, ..KeyValue::default() };
        self.record(at, Event { kv, deleted: true });
    }

    /// Ends the revision.
    pub fn finish(self) -> Vec<Event> {
        self.keys.revision = self.revision();
        self.events
    }
}

fn number_bytes(number: i64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}
