//! Files of bbolt, the engine below etcd: written in one go, front to back, and read with suspicion.
//!
//! ```text
//! page 0, 1   meta: magic ed0cdaed, version 2, page size, root bucket, high water, FNV-1a checksum
//! page 2      free list, empty
//! page 3 ...  leaves and branches of each bucket's B+tree, in the order in which they fill
//! last page   the root bucket: name -> page of the bucket's root
//! page        id u64, flags u16, count u16, overflow u32, then elements of 16 bytes, then their bytes
//! ```
//!
//! All numbers are little-endian. bbolt itself writes them in the machine's order; etcd runs on
//! little-endian machines only. What is larger than a page goes on in the pages behind it (overflow).
//!
//! Every page is reachable from the root, which `etcdctl snapshot status` checks; nothing is ever
//! freed, because a [`Writer`] never goes back.

mod page;
mod read;
mod write;

pub use read::{Error, Reader};
pub use write::{Layout, Writer};

/// Bytes of a page that we write; read are all sizes.
pub(super) const PAGE_BYTES: usize = 4096;

#[cfg(test)]
mod tests;
