//! The words of etcd's v2 keys API: nodes, events, errors, and the headers that carry indexes.
//!
//! Clients of that API compare text, so every answer is written byte for byte as etcd writes it:
//! the order of the fields, which of them are left out when empty, the escapes of Go's JSON encoder
//! and the newline at the end.

mod error;
mod json;
mod node;

pub use error::{Error, ErrorCode};
pub use json::to_json;
pub use node::{Action, Event, Node};

/// The index of the state an answer shows.
pub const X_ETCD_INDEX: &str = "x-etcd-index";
/// The cluster that answers, in hexadecimal.
pub const X_ETCD_CLUSTER_ID: &str = "x-etcd-cluster-id";
/// The position in the log behind the answer; not on errors.
pub const X_RAFT_INDEX: &str = "x-raft-index";
/// The term behind the answer; not on errors.
pub const X_RAFT_TERM: &str = "x-raft-term";
