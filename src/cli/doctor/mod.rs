//! `quorate doctor`: plays the start of a member through on a real configuration and says what fails.

mod srv;

use clap::Subcommand;

use super::Failure;

/// Find out why a cluster does not start
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Replay etcd's --discovery-srv: records, targets, own address, scheme, TLS names
    Srv(srv::Srv),
}

impl Command {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Srv(srv) => super::run(srv.run()),
        }
    }
}
