//! Multi-version keys: revisions, key index, compaction.
//!
//! Every write makes one revision; the changes inside it are numbered by a sub-revision. Records
//! (one per change, never altered) go to a [`Storage`] under their [`Revision`]; the [`Keyspace`]
//! holds the index that says which revisions a key has had. The index is in memory and is rebuilt
//! by one scan over the records when a store is opened.
//!
//! What it deliberately does not know: leases, transactions, watchers, the log. `apply` ties those
//! together. Nothing here locks, waits or reads a clock.
//!
//! Invariants:
//! 1. `compact_revision <= revision`, and both only grow.
//! 2. A read at `r >= compact_revision` gives the same answer before, during and after the removal
//!    of old records (the sweep), on every replica.
//! 3. Records of one revision have sub-revisions 0, 1, ... in the order of their operations. One key
//!    may have several of them: put, and deleted from a key on, in one transaction.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod chunk;
mod codec;
mod dump;
mod event;
mod hash;
mod history;
mod index;
mod key_range;
mod keyspace;
#[cfg(any(test, feature = "sim"))]
mod memory;
mod revision;
mod storage;

pub use codec::EventRef;
pub use dump::{DumpBlock, DumpError, DumpReader, DumpWriter, DumpedRecords};
pub use event::{Event, KeyValue, Revisions};
pub use hash::HashScan;
pub use history::Life;
pub use index::IndexRebuild;
pub use key_range::KeyRange;
pub use keyspace::{COMPACT_FINISHED, COMPACT_SCHEDULED, Error, Keyspace, REVISION_FLOOR, Write};
#[cfg(any(test, feature = "sim"))]
pub use memory::Memory;
pub use revision::Revision;
pub use storage::{Applied, Storage, StorageError};

#[cfg(test)]
mod tests;
