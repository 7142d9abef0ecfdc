//! `quorate dns`: zone files and SRV records, looked at without a server of our own.

mod check;
mod import;
mod lookup;

use clap::Subcommand;

pub(super) use lookup::{Shown, table};

use super::Failure;

/// Look at zone files and at what DNS says about a cluster
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say what is wrong with zone files; exit code 1 if something is
    Check(check::Check),
    /// Show the SRV records of a cluster and the member list they make
    Lookup(lookup::Lookup),
    /// Turn a configuration file of dnsmasq into zone files
    Import(import::Import),
}

impl Command {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Check(check) => check.run(),
            Self::Lookup(lookup) => super::run(lookup.run()),
            Self::Import(import) => import.run(),
        }
    }
}
