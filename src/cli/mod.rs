//! The command tree of `quorate`: flags in, exit code out.
//!
//! Exit codes: 0 stopped cleanly, 1 failed while running, 2 wrong flags or configuration; commands that
//! ask a service have more, which their help tells. Whatever goes wrong ends in one line
//! `quorate: <what>` on standard error, several lines only when several configuration problems are
//! reported at once. [`node`] is the whole of `quorate-node`.

mod backup;
mod certs;
mod config_check;
mod dns;
mod doctor;
mod environment;
mod explain;
mod files;
mod health;
pub mod lab;
mod lint;
mod manual;
mod members;
mod new;
pub mod node;
mod operator;
mod output;
mod predict;
mod publish;
mod reload;
mod render;
mod serve;
mod service;
mod steps;
mod token;
mod verify;

use std::ffi::OsString;
use std::io::Write;
use std::num::NonZero;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config;
use crate::transport::chain;

/// The bootstrap service for etcd and quorate clusters.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, about, disable_help_subcommand = true)]
struct Quorate {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Hand out discovery tokens over HTTP and answer DNS
    Serve(Box<config::serve::Flags>),
    /// Ask a running service for a discovery token and print its URL
    New(new::New),
    /// Make an authority and certificates for nodes and clients
    #[command(subcommand)]
    Certs(certs::Certs),
    /// Compute member and cluster ids before anything starts
    Predict(predict::Predict),
    /// Compare a running cluster with its prediction; exit code 1 if it differs, 6 if no endpoint answers
    Verify(verify::Verify),
    /// See, await, extend and revoke discovery tokens
    Token(token::Tokens),
    /// Copy the registry of a running service into a file
    Backup(backup::Backup),
    /// Make a data directory of a backup
    Restore(backup::Restore),
    /// Say what a code means, or what went wrong in the log of a node
    Explain(explain::Explain),
    #[command(subcommand)]
    Dns(dns::Command),
    /// Check a configuration
    Config(config_check::ConfigCommand),
    #[command(subcommand)]
    Doctor(doctor::Command),
    /// Look at configurations of members without starting anything
    Lint(lint::Lint),
    /// Print what starts the members of a cluster: units, compose, Procfile, env, YAML, Kubernetes
    Render(Box<render::Render>),
    /// Print a script with which a shell completes commands and flags
    Completions(manual::Completions),
    /// Print a manual page
    Man(manual::Man),
    /// Try a whole cluster on this machine
    #[command(subcommand)]
    Lab(lab::Command),
    /// Run a node with etcd's flags, as quorate-node does
    #[command(hide = true, disable_help_flag = true)]
    Node {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<OsString>,
    },
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a command ended without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The flags, the environment or a file ask for something that cannot be; exit code 2.
    Configuration(BoxError),
    /// It went wrong while running; exit code 1.
    Running(BoxError),
    /// Something that scripts want to tell apart, by an exit code of its own.
    Code(u8, BoxError),
}

/// Runs `quorate` with these arguments, the program's name first.
pub fn quorate(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = match parse(arguments) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version come this way too; a closed pipe is no failure of ours.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match parsed.command {
        Command::Serve(flags) => serve::run(&flags),
        Command::New(new) => run(async move { new.run().await }),
        Command::Certs(certs) => certs.run(),
        Command::Predict(predict) => predict.run(),
        Command::Verify(verify) => run(async move { verify.run().await }),
        Command::Token(tokens) => run(async move { tokens.run().await }),
        Command::Backup(backup) => run(async move { backup.run().await }),
        Command::Restore(restore) => run(async move { restore.run().await }),
        Command::Explain(explain) => explain.run(),
        Command::Config(config) => config.run(),
        Command::Dns(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Lint(lint) => lint.run(),
        Command::Render(render) => render.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
        Command::Lab(command) => run(async { command.run().await.map_err(lab_failure) }),
        Command::Node { flags } => return node::main(flags.into_iter()),
    };
    report("quorate", outcome)
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Quorate, clap::Error> {
    let command = environment::settled(Quorate::command(), &|name| std::env::var_os(name));
    let matches = command.try_get_matches_from(arguments)?;
    Quorate::from_arg_matches(&matches).map_err(|error| error.format(&mut Quorate::command()))
}

fn lab_failure(error: lab::Error) -> Failure {
    match error {
        lab::Error::NoResolverFlag | lab::Error::KeepNotEmpty(_) => {
            Failure::Configuration(error.into())
        }
        error => running(error),
    }
}

/// Runs a command on a runtime of its own.
pub(crate) fn run(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    // The thread of the database takes a core of its own. Another worker on that core costs more in
    // waking each other than it gets done.
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let workers = cores.saturating_sub(1).max(1);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    runtime.map_err(running)?.block_on(command)
}

/// A failure that came up while running.
pub(crate) fn running(error: impl Into<BoxError>) -> Failure {
    Failure::Running(error.into())
}

/// Prints what went wrong, if anything did, and chooses the exit code.
pub(crate) fn report(program: &str, outcome: Result<(), Failure>) -> ExitCode {
    let (error, code) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Configuration(error)) => (error, 2),
        Err(Failure::Running(error)) => (error, 1),
        Err(Failure::Code(code, error)) => (error, code),
    };
    let line = format!("{program}: {}", chain(error.as_ref()));
    // Nothing is left to do when standard error itself is closed.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
    ExitCode::from(code)
}
