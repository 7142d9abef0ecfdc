//! Leases: what is granted is replicated, who still has time left is known to the leader only.
//!
//! [`Leases`] is part of the replicated state: which leases exist, and which keys hang on them.
//! [`Deadlines`] is the leader's clock over the same leases. It is not replicated: a new leader
//! starts every lease afresh, which can only lengthen a lease, never shorten it.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod deadlines;
mod leases;

pub use deadlines::Deadlines;
pub use leases::Leases;

/// The longest time a lease may be granted, in seconds.
pub const MAX_TTL_SECONDS: i64 = 9_000_000_000;

/// A lease, as clients number it; any non-zero number, negative ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

#[cfg(test)]
mod tests;
