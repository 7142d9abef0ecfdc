use std::ops::ControlFlow;

use super::keyspace::Error;
use super::{KeyRange, Keyspace, Revision, Storage};

/// The checksum etcd's `HashKV` gives for a revision, computed slice by slice: between two slices
/// the state may change, the answer does not (etcd `server/storage/mvcc/hash.go`).
///
/// CRC-32C over `key`, then over every record up to the revision: its revision as 17 bytes (18
/// for a tombstone) and the marshalled pair. Records up to the compact revision count only if a
/// compaction at `revision` would keep them, so that it does not matter whether they are gone; when
/// no key exists at `revision`, all that the last compaction kept count. The tombstone at which the
/// history was compacted never counts.
///
/// Deliberately absent: the hashes from before the last ten compactions, which late etcd 3.5 makes while it
/// removes records, answers for those very revisions, and has forgotten after a restart.
#[derive(Debug)]
pub struct HashScan {
    revision: i64,
    compact_revision: i64,
    /// A compaction there tells which records up to the compact revision count.
    kept_at: i64,
    crc: u32,
    next: Revision,
    pair: Vec<u8>,
}

impl HashScan {
    /// Fixes the revision; 0 means the newest.
    pub fn begin<S: Storage>(keys: &Keyspace<S>, revision: i64) -> Result<Self, Error> {
        let revision = if revision == 0 { keys.revision() } else { revision };
        if revision < keys.compact_revision() {
            return Err(Error::Compacted);
        }
        if revision > keys.revision() {
            return Err(Error::Future);
        }
        Ok(Self::from_start(keys, revision))
    }

    fn from_start<S: Storage>(keys: &Keyspace<S>, revision: i64) -> Self {
        let compact_revision = keys.compact_revision();
        let kept_at = if keys.has_keys(revision) { revision } else { compact_revision };
        let (crc, next) = (crc32c::crc32c(b"key"), Revision::default());
        Self { revision, compact_revision, kept_at, crc, next, pair: Vec::new() }
    }

    /// Goes over up to `limit` records; true when it was all of them.
    ///
    /// A compaction meanwhile changes which records count, so it starts again after one.
    pub fn step<S: Storage>(&mut self, keys: &Keyspace<S>, limit: usize) -> Result<bool, Error> {
        if keys.compact_revision() != self.compact_revision {
            if self.revision < keys.compact_revision() {
                return Err(Error::Compacted);
            }
            *self = Self::from_start(keys, self.revision);
        }
        let Self { revision, compact_revision, kept_at, crc, next, pair } = self;
        let (mut seen, mut more) = (0, false);
        keys.storage().scan(*next, &mut |at, record| {
            if at.main > *revision {
                return ControlFlow::Break(());
            }
            if seen == limit {
                *next = at;
                more = true;
                return ControlFlow::Break(());
            }
            seen += 1;
            let is_old = at.main <= *compact_revision;
            let is_its_tombstone = at.main == *compact_revision && record.deleted;
            if is_its_tombstone || is_old && !keys.keeps(record.key, at, *kept_at) {
                return ControlFlow::Continue(());
            }
            pair.clear();
            record.marshal(pair);
            *crc = crc32c::crc32c_append(*crc, &at.to_etcd(record.deleted));
            *crc = crc32c::crc32c_append(*crc, pair);
            ControlFlow::Continue(())
        })?;
        Ok(!more)
    }

    /// The checksum once [`Self::step`] has said that it is complete.
    pub fn finish(&self) -> u32 {
        self.crc
    }

    /// The revision that is hashed.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The compact revision that decided which records count.
    pub fn compact_revision(&self) -> i64 {
        self.compact_revision
    }
}

impl<S: Storage> Keyspace<S> {
    /// Whether any key exists at a revision.
    fn has_keys(&self, revision: i64) -> bool {
        let all = KeyRange::everything();
        let (mut count, mut resume) = self.count(&all, revision, None, 1);
        while count == 0 && resume.is_some() {
            (count, resume) = self.count(&all, revision, resume, 1000);
        }
        count > 0
    }

    /// The checksum of a revision at one go, 0 for the newest.
    #[cfg(any(test, feature = "sim"))]
    pub fn hash(&self, revision: i64) -> Result<u32, Error> {
        let mut scan = HashScan::begin(self, revision)?;
        while !scan.step(self, usize::MAX)? {}
        Ok(scan.finish())
    }
}
