//! Leases: what is granted is replicated, who still has time left is known to the leader only.

/// A lease, as clients number it; any non-zero number, negative ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);
