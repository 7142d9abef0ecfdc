//! The state machine: one committed entry in, a response and watch events out.
//!
//! [`State`] ties keys, leases and members together over one storage. Applying takes `&mut self`
//! and is deterministic: the same entries in the same order give the same answers, events, revisions
//! and hashes on every replica, whatever storage is below. Reading takes `&self`.
//!
//! Two kinds of failure never mix. An [`Error`] is an answer that every replica gives alike; a
//! [`Fatal`] is this replica's own (its disk, its age) and must stop the process.
//!
//! Every request is made for a `Caller`, and checked against the users and roles as of its own place
//! in the log, before anything else and in the same step: no member ever applies what another
//! refuses. Reads are checked against the very state that answers them.
//!
//! Requests are checked twice: by [`check`] before they are proposed, where etcd checks what can be
//! seen in the request alone, and here against the state.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod alarm;
mod auth;
pub mod check;
pub mod cluster;
mod command;
mod compare;
mod convert;
mod error;
#[cfg(any(test, feature = "sim"))]
mod in_memory;
mod name;
mod overlap;
mod parts;
mod range;
mod rebuild;
mod state;
mod txn;
mod write;

pub use alarm::Alarms;
pub use auth::AuthNews;
pub use command::{Command, Response};
pub use error::{Error, Fatal};
pub use parts::Parts;
pub use range::{Listed, Pairs, RangeScan, Sent, by_key};
pub use rebuild::{Rebuild, SenselessLease};
pub use state::{LeaseChange, Outcome, State, decode_lease, encode_lease, lease_key};

#[cfg(test)]
mod tests;
