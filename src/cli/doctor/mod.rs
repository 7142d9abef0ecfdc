//! `quorate doctor`: plays the start of a member through on a real configuration and says what fails.

mod certificate;
mod clock;
mod cluster;
mod data_dir;
mod handshake;
mod listening;
mod node;
mod node_flags;
mod others;
mod registered;
mod silent;
mod srv;
mod static_start;
mod stopped;
mod tls;
mod token;
mod token_v3;

use clap::Subcommand;

use super::Failure;
pub(super) use silent::told;

/// Find out why a cluster does not start
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// A start with --discovery, or with --discovery-token and --discovery-endpoints: give the flags of
    /// the node to check those too
    Token(token::TokenStart),
    /// A start with --initial-cluster: list, own URLs, addresses, ports, certificates, and what the other
    /// members say; takes the flags of the node as they are, ETCD_* variables and --config-file too
    Static(Box<static_start::StaticStart>),
    /// Certificates of a node, by its flags, or of an endpoint: files, names, uses, time, and a handshake that says
    /// which side refuses and why
    Tls(Box<tls::TlsCheck>),
    /// A cluster that runs, or the directory of a member that does not: version, leader, health, members, alarms,
    /// quota, lag, clocks
    Node(node::NodeCheck),
    /// Replay etcd's --discovery-srv: records, targets, own address, scheme, TLS names
    Srv(srv::Srv),
}

impl Command {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Token(start) => super::run(start.run()),
            Self::Static(start) => super::run(start.run()),
            Self::Tls(check) => super::run(check.run()),
            Self::Node(node) => super::run(node.run()),
            Self::Srv(srv) => super::run(srv.run()),
        }
    }
}
