//! A program that cannot outlive the lab.
//!
//! The kernel ends a process with its parent only if the process asks for it itself. The lab
//! therefore starts each child as `quorate lab guard PARENT PROGRAM ...`, which asks and then becomes
//! the program; the request survives that.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

use clap::Args;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::Error;

/// `quorate lab guard`.
#[derive(Debug, Clone, Args)]
pub struct Guard {
    /// Process id of the lab
    parent: i32,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    program: Vec<OsString>,
}

impl Guard {
    /// Becomes the program; returns only when that failed.
    pub(super) fn run(self) -> Result<(), Error> {
        let failed = |what: String, source| Error::Io { what, source };
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| {
            failed("ask for the parent's death signal".to_owned(), error.into())
        })?;
        // The lab may have died before the request was made; then nobody would ever end this process.
        if getppid() != Pid::from_raw(self.parent) {
            return Err(Error::Interrupted);
        }
        let (program, arguments) = self.program.split_first().expect("clap requires a program");
        let error = std::process::Command::new(program).args(arguments).exec();
        Err(failed(format!("start `{}`", program.to_string_lossy()), error))
    }
}
