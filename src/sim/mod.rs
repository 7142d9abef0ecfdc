//! A cluster in one thread: real `replica`, `apply` and `wal` code on a virtual clock, network and disk, all
//! driven by one seed.
//!
//! A run has two acts. In the first, clients put, get and compare-and-swap a few keys while members crash
//! (unsynced writes are lost sector by sector), messages are lost, delayed, repeated and reordered, links are
//! cut in one direction or both, disks stall, members are added and removed, users come, go and may
//! more or less, leases are held, renewed and left alone, history is compacted and watched, and clients give up
//! waiting at whichever member they asked. In the second everything heals, and the cluster must come to rest and
//! serve again. Checkers watch all the time:
//!
//! - election safety: a term has one leader ([`check`]);
//! - log matching: an index and a term name one entry, on every disk;
//! - state machine safety: an index is applied with one entry, by everybody, for ever;
//! - equal answers: an entry is carried out or refused alike by everybody, whatever the users are;
//! - equal hashes: everybody holds the same at the same revision;
//! - watches: a watcher hears of every revision in order, or that it was compacted ([`watchers`]);
//! - patience: nothing is proposed for a client that must have given up ([`patience`]);
//! - read indexes: none is older than what anybody had applied when it was asked for ([`readers`]);
//! - leases: none ends before its time since the last acknowledged renewal ([`lease_holders`]);
//! - durability: what was acknowledged is in every state at the end;
//! - linearizability: the clients' history has an explanation ([`linear`]);
//! - liveness: after healing a write and a read succeed through every member, and all states are equal.
//!
//! `QUORATE_SIM_SEED=123 cargo test --lib sim::` replays one seed and prints what happens;
//! `QUORATE_SIM_SEEDS=100000 cargo test --lib sim::` tries that many fresh ones.

mod check;
mod client;
mod disk;
mod faults;
mod lease_holders;
mod linear;
mod member;
mod network;
mod patience;
mod readers;
mod traffic;
mod users;
mod watchers;
mod world;

#[cfg(test)]
mod tests;

pub(crate) use disk::SimDisk;
pub use world::{Sabotage, Summary, run};
