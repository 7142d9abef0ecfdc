//! The state machine: one committed entry in, a response and watch events out.
//!
//! [`State`] ties keys, leases and members together over one storage. Applying takes `&mut self`
//! and is deterministic: the same entries in the same order give the same answers, events, revisions
//! and hashes on every replica, whatever storage is below. Reading takes `&self`.
//!
//! Two kinds of failure never mix. An [`Error`] is an answer that every replica gives alike; a
//! [`Fatal`] is this replica's own (its disk, its age) and must stop the process.
//!
//! Requests are checked twice: by [`check`] before they are proposed, where etcd checks what can be
//! seen in the request alone, and here against the state.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod alarm;
pub mod check;
pub mod cluster;
mod compare;
mod convert;
mod error;
mod overlap;
mod range;
mod state;
mod txn;
mod write;

pub use alarm::Alarms;
pub use error::{Error, Fatal};
pub use range::RangeScan;
pub use state::{LeaseChange, Outcome, Response, State, decode_lease, encode_lease, lease_key};

#[cfg(test)]
mod tests;
