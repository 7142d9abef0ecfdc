//! End-to-end tests: the real programs, as processes, on loopback.
//!
//! Tests that need a real etcd, `dig` or network namespaces print why they are skipped where those
//! are missing; with `CI=true` nothing is skipped.

#![expect(unreachable_pub, reason = "a test program has no outside")]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a panic is how a test fails")]

mod bootstrap;
mod cli;
mod clients;
mod cluster;
mod crash;
mod differential;
mod dns;
mod dns_limit;
mod dns_tools;
mod dnsmasq;
mod doctor;
mod doctor_node;
mod doctor_tls;
mod faults;
mod first_steps;
mod force;
mod gateway;
mod grpc;
mod harness;
mod kills;
mod limits;
#[path = "../../src/sim/linear.rs"]
mod linear;
mod maintenance;
mod metrics;
mod node_operators;
mod operators;
mod operators_more;
mod page;
mod refusals;
mod render;
mod service;
mod srv;
mod store;
mod tls;
mod token;
mod token_v3;
mod transfer;
mod tutorials;
mod upgrade;
mod vanish;
mod verify;
mod watch;
