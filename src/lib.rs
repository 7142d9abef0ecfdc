//! Quorate: everything that turns a handful of machines into a quorate cluster, and the cluster itself.
//!
//! Two binaries stand on this library: `quorate`, the bootstrap service and the operator's tool, and
//! `quorate-node`, an etcd-compatible node replicated by Raft. The modules are layers; a module
//! imports from its own layer or a lower one, never upwards (`tests/tidy.rs` checks it).

// 0 words: plain values, usable everywhere.
pub mod membership;
pub mod proto;
pub mod token;
pub mod v2;

// 1 core: deterministic machines without I/O, clock, global randomness, threads or async.
pub mod admission;
pub mod apply;
pub mod auth;
pub mod lease;
pub mod local;
pub mod mvcc;
pub mod raft;
pub mod replica;
pub mod zone;

// 2 storage: files and SQLite, no sockets.
pub mod backup;
pub mod durable;
pub mod registry;
pub mod snap;
pub mod store;
pub mod wal;

// 3 runtime: sockets, clocks, tasks.
pub mod discovery;
pub mod node;
pub mod transport;

// 4 services: one protocol each.
pub mod api;
pub mod discovery_server;
pub mod dns_server;

// 5 process.
pub mod cli;
pub mod config;
pub mod shutdown;
pub mod telemetry;

#[cfg(any(test, feature = "sim"))]
pub mod sim;

#[cfg(test)]
mod fuzz;
