use super::decode_lease;
use crate::lease::Leases;
use crate::mvcc::{EventRef, IndexRebuild, Revision};

/// What a state holds in memory only, made anew from what its storage holds as it comes by.
#[derive(Debug, Default)]
pub struct Rebuild {
    pub(super) leases: Leases,
    pub(super) index: IndexRebuild,
}

/// What was stored as a lease is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lease makes no sense")]
pub struct SenselessLease;

impl Rebuild {
    /// Notes a small value. All of them come before the records, whose keys may hang on leases.
    pub fn meta(&mut self, key: &[u8], value: &[u8]) -> Result<(), SenselessLease> {
        if key.starts_with(super::state::LEASES) {
            let (id, ttl_seconds, remaining_seconds) =
                decode_lease(key, value).ok_or(SenselessLease)?;
            self.leases.grant(id, ttl_seconds);
            self.leases.checkpoint(id, remaining_seconds);
        }
        Ok(())
    }

    /// Notes the next record. They come in order, so what is attached in the end is what is
    /// attached now.
    pub fn record(&mut self, at: Revision, record: EventRef<'_>) {
        self.leases.attach(record.key, record.lease);
        self.index.record(at, record);
    }
}
