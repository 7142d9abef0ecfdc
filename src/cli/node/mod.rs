//! `quorate-node`: one member of an etcd-compatible cluster.
//!
//! Parse and report, set up the log, take the data directory, bind every port, find the cluster,
//! run. Ports are bound before the cluster is looked for, as etcd does, so that a wrong address
//! shows at once and not after the others have come.

mod failure;
mod hosts;
mod listeners;
mod member;
mod notify;
mod run;
mod snapshot;
mod tls;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

pub(super) use listeners::{authority, join};
pub(super) use tls::{dialing, serving};

use crate::api;
use crate::config::nearest::nearest;
use crate::config::node::{Command, Problem, Settings, flags, help, load};
use crate::{telemetry, transport};

/// The command line was not understood.
const EXIT_USAGE: u8 = 2;
/// The node could not start, or failed while it ran.
const EXIT_FAILED: u8 = 1;

/// Runs the node with these arguments (without the program's name) and this process's environment.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let mut args = args.peekable();
    if args.next_if(|first| first == "snapshot").is_some() {
        return snapshot::main(args);
    }
    match load(args, std::env::vars_os()) {
        Ok(Command::Help) => print(&help()),
        Ok(Command::Version) => print(&version()),
        Ok(Command::Run(settings)) => start(*settings),
        Err(problems) => refuse(&problems),
    }
}

/// Our version, then the lines that tools read from `etcd --version`.
fn version() -> String {
    format!(
        "quorate-node {version}\netcd Version: {etcd}\nGit SHA: quorate-{version}\n\
         Go Version: none\nGo OS/Arch: {os}/{arch}\n",
        version = env!("CARGO_PKG_VERSION"),
        etcd = api::version::SERVER,
        os = std::env::consts::OS,
        arch = architecture(),
    )
}

/// Go's name of this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn print(text: &str) -> ExitCode {
    // A reader that went away has read enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn refuse(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        complain(&problem.to_string());
        if let Some(meant) = meant(&problem.to_string()) {
            complain(&format!("did you mean --{meant}?"));
        }
    }
    if problems.iter().any(Problem::is_usage) {
        complain("see 'quorate-node --help'");
        return ExitCode::from(EXIT_USAGE);
    }
    ExitCode::from(EXIT_FAILED)
}

/// The flag that an unknown one was most likely meant to be.
fn meant(problem: &str) -> Option<&'static str> {
    let name = problem.strip_prefix("flag provided but not defined: -")?;
    nearest(name, flags().map(|flag| flag.name))
}

fn start(settings: Settings) -> ExitCode {
    if let Err(error) = telemetry::init(&settings.log) {
        complain(&transport::chain(&error));
        return ExitCode::from(EXIT_FAILED);
    }
    for note in &settings.notes {
        note.log();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the runtime cannot be set up: {error}"));
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let log = settings.log.clone();
    match runtime.block_on(run::run(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_farewell() => {
            failure.log();
            ExitCode::SUCCESS
        }
        Err(failure) => {
            failure.log();
            // A log on stderr has said it already.
            if !log.outputs.contains(&telemetry::Output::Stderr) {
                complain(&failure.text());
            }
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// One line on stderr, for what happens before there is a log.
fn complain(text: &str) {
    // Without stderr there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "quorate-node: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_told_what_was_meant() {
        let told = |argument: &str| {
            let refused = load([argument.into()].into_iter(), std::iter::empty());
            meant(&refused.unwrap_err()[0].to_string())
        };
        assert_eq!(told("--initial-clutser=n1=http://h:1"), Some("initial-cluster"));
        assert_eq!(told("-advertise-client-url=http://h:1"), Some("advertise-client-urls"));
        assert_eq!(told("--nope"), None);
        assert_eq!(told("--heartbeat-interval=abc"), None);
    }
}
