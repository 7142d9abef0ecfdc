//! Snapshots in etcd's own format: the way in from an etcd and the way out to one.
//!
//! A snapshot is a file of bbolt with the buckets of etcd's backend, followed by its SHA-256. What
//! `etcdctl snapshot save` gets from us any etcd 3.4 to 3.7 restores, and what it gets from an etcd
//! becomes a data directory of ours. [`bolt`] knows the file, [`export`] and [`import`] what is in
//! it, [`fn@status`] what `snapshot status` says of it.
//!
//! | bucket | entries (etcd `server/storage/schema`) |
//! | --- | --- |
//! | `key` | revision, 17 bytes (18 for a tombstone) -> `mvccpb.KeyValue` |
//! | `lease` | id, 8 bytes big-endian -> `leasepb.Lease` |
//! | `alarm` | `AlarmMember` -> nothing |
//! | `auth`, `authRoles`, `authUsers` | `authEnabled`, `authRevision`; `authpb.Role`; `authpb.User` |
//! | `members`, `members_removed` | id in hexadecimal -> JSON; -> `removed` |
//! | `cluster` | nothing: `clusterVersion` is decided anew by whoever restores |
//! | `meta` | `consistent_index`, `term`, `confState`, `storageVersion`, `scheduledCompactRev`, `finishedCompactRev` |
//!
//! Deliberately absent: the v2 store, which lies in etcd's other snapshot file.

pub mod bolt;
mod export;
mod file;
mod import;
mod schema;
mod status;

pub use export::{Export, hash};
pub use file::{FileError, check};
pub use import::{ImportError, Target, restore};
pub use status::{Status, status};

#[cfg(test)]
mod tests;
