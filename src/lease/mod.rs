//! Leases: what is granted is replicated, who still has time left is known to the leader only.
//!
//! [`Leases`] is part of the replicated state: which leases exist, and which keys hang on them.
//! [`Deadlines`] is the leader's clock over the same leases. It is not replicated itself; now and
//! then it says what is left of those that nobody has renewed (a checkpoint), and that is. A new
//! leader goes on from there, so a change of leader neither renews a lease nor shortens it:
//!
//! 1. What a new leader grants is at least what was promised, because a lease that was checkpointed
//!    is refilled in the log before its renewal is acknowledged.
//!    A leader renews, checkpoints and ends leases only while it knows that it leads and has applied all that came
//!    before its term; what it judges holds in its own term or not at all; what it has begun to end it does not renew.
//! 2. It exceeds that by no more than the time since the last checkpoint, and an election.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod deadlines;
mod leases;

pub use deadlines::{Checkpoint, Deadlines, Renewal};
pub use leases::Leases;

/// The longest time a lease may be granted, in seconds.
pub const MAX_TTL_SECONDS: i64 = 9_000_000_000;

/// A lease, as clients number it; any non-zero number, negative ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

/// Asks [`Deadlines`] until it knows.
pub(crate) fn until_known<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
    }
}

#[cfg(test)]
mod tests;
