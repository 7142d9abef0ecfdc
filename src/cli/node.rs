//! `quorate-node`: one member of an etcd-compatible cluster.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use crate::config::node::{Command, Problem, Settings, help, load};

/// The release of etcd whose protocol and command line this node follows.
pub const ETCD_VERSION: &str = "3.6.14";

/// The command line was not understood.
const EXIT_USAGE: u8 = 2;
/// The node could not start, or failed while it ran.
const EXIT_FAILED: u8 = 1;

/// Runs the node with these arguments (without the program's name) and this process's environment.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    match load(args, std::env::vars_os()) {
        Ok(Command::Help) => print(&help()),
        Ok(Command::Version) => print(&version()),
        Ok(Command::Run(settings)) => run(*settings),
        Err(problems) => refuse(&problems),
    }
}

/// Our version, then the lines that tools read from `etcd --version`.
fn version() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!(
        "quorate-node {version}\netcd Version: {ETCD_VERSION}\nGit SHA: quorate-{version}\n\
         Go Version: none\nGo OS/Arch: {os}/{arch}\n",
        version = env!("CARGO_PKG_VERSION"),
        os = std::env::consts::OS,
    )
}

fn print(text: &str) -> ExitCode {
    // A reader that went away has read enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn refuse(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        complain(&problem.to_string());
    }
    if problems.iter().any(Problem::is_usage) {
        complain("see 'quorate-node --help'");
        return ExitCode::from(EXIT_USAGE);
    }
    ExitCode::from(EXIT_FAILED)
}

/// One line on stderr, for what happens before there is a log.
fn complain(text: &str) {
    // Without stderr there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "quorate-node: {text}");
}

fn run(settings: Settings) -> ExitCode {
    if let Err(error) = crate::telemetry::init(&settings.log) {
        complain(&chain(&error));
        return ExitCode::from(EXIT_FAILED);
    }
    for note in &settings.notes {
        note.log();
    }
    ExitCode::from(EXIT_FAILED)
}

/// An error and all that caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
