//! Consensus: the `raft` crate wrapped as a deterministic machine.
//!
//! Nothing here reads a clock, a file or a socket. Time enters as ticks, randomness as a seed, the
//! disk as acknowledgments.

mod types;

pub use types::{ConfState, Entry, HardState, Index, Message, Payload, Role, SnapshotMeta, Term};
