//! The bootstrap service and the operator's tool.

use std::process::ExitCode;

fn main() -> ExitCode {
    quorate::cli::quorate(std::env::args_os())
}
