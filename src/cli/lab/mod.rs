//! `quorate lab up`: the whole product on one machine, in one command.
//!
//! Starts the service and a few nodes as processes of their own, exactly as a user would run them,
//! bootstraps the nodes in the chosen way, writes and reads through every one of them, prints lines
//! to paste, and stays until Ctrl-C. Nothing outlives the lab: children die with it even when it is
//! killed ([`guard`]), and the directory is removed unless `--keep` names one.

mod check;
mod guard;
mod ports;
mod process;
mod screen;
mod sketch;
mod steps;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use tokio_util::sync::CancellationToken;

use crate::shutdown;
use screen::Screen;
use steps::Lab;

/// `quorate lab ...`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the service and a cluster on free loopback ports, check them, stay until Ctrl-C
    Up(Up),
    /// Run a program that ends when its parent does
    #[command(hide = true)]
    Guard(guard::Guard),
}

/// What `lab up` is asked to show.
#[derive(Debug, Clone, Args)]
pub struct Up {
    /// How the nodes find each other
    #[arg(long, value_enum, default_value_t = Mode::Token)]
    pub mode: Mode,
    /// Number of nodes, 1 to 9
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub size: u8,
    /// Run this etcd binary instead of quorate-node
    #[arg(long, value_name = "PATH")]
    pub etcd: Option<PathBuf>,
    /// Exit after the checks
    #[arg(long)]
    pub once: bool,
    /// Keep data, zone and logs in DIR
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// The three ways into a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// A discovery token of the lab's own service
    Token,
    /// A list of all members on every command line
    Static,
    /// SRV records in a zone that the lab's own service answers
    Srv,
}

impl Mode {
    fn way(self) -> &'static str {
        match self {
            Self::Token => "discovery token",
            Self::Static => "static member list",
            Self::Srv => "DNS SRV records",
        }
    }
}

/// Why the lab ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what}")]
    Io { what: String, source: std::io::Error },
    #[error("{name} ended with {status}")]
    Ended { name: String, status: std::process::ExitStatus },
    #[error("{what} took longer than {seconds} s")]
    TooLong { what: String, seconds: u64 },
    #[error("{url}: {problem}")]
    Http { url: String, problem: String },
    #[error("{node}: {what}: {problem}")]
    Check { node: String, what: &'static str, problem: String },
    #[error(
        "a real etcd reads SRV records through the resolver of the system only and has no flag for another one; \
         run it where resolv.conf names the lab's DNS server (`ip netns exec`, with /etc/netns/NAME/resolv.conf), \
         or use --mode token or --mode static"
    )]
    NoResolverFlag,
    #[error("directory `{}` of --keep is not empty; name a new one", .0.display())]
    KeepNotEmpty(PathBuf),
    #[error("interrupted")]
    Interrupted,
}

impl Command {
    /// Runs the command to its end; Ctrl-C after the checks is the normal end of `up`.
    pub async fn run(self) -> Result<(), Error> {
        match self {
            Self::Up(up) => up.run().await,
            Self::Guard(guard) => guard.run(),
        }
    }
}

impl Up {
    async fn run(self) -> Result<(), Error> {
        if self.etcd.is_some() && self.mode == Mode::Srv {
            return Err(Error::NoResolverFlag);
        }
        let stop = CancellationToken::new();
        let signals = tokio::spawn(shutdown::on_signal(stop.clone()));
        let mut screen = Screen::new();
        let mut lab = Lab::prepare(self)?;
        let result = lab.show(&mut screen, &stop).await;
        if let Err(error) = &result {
            lab.explain(error);
        }
        lab.tear_down(&mut screen).await;
        signals.abort();
        match result {
            Err(Error::Interrupted) => Ok(()),
            result => result,
        }
    }
}
