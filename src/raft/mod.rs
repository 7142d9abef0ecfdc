//! Consensus: the `raft` crate wrapped as a deterministic machine.
//!
//! Nothing here reads a clock, a file or a socket. Time enters as ticks, randomness as a seed, the
//! disk as acknowledgments. The wrapped crate keeps three habits that this module takes away:
//!
//! 1. It draws election timeouts from the thread's randomness. [`Machine`] overrides every draw with one
//!    from its own seed, so that one seed is one run.
//! 2. It panics on messages that no correct peer sends. [`Machine::receive`] refuses them first.
//! 3. It speaks protobuf 2. Its types end here; peers and disk see only ours.
//!
//! Deliberately absent: joint consensus (members change one at a time, which needs no second
//! quorum), lease-based reads (they trust clocks), and leader priorities.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod convert;
mod draw;
mod guard;
mod log;
mod machine;
mod types;
mod view;

pub use convert::kind;
pub use draw::Draw;
pub use guard::Rejected;
pub use machine::{ConfOp, Dropped, Machine, MachineConfig, PeerProgress, Ready};
pub(crate) use machine::{needs_no_disk, proposed};
pub use types::{
    ConfState, Entry, FOUNDING_TERM, HardState, Index, Mark, Message, Payload, Role, SnapshotMeta,
    Term,
};
