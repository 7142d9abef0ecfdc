use clap::{Args, Subcommand};

use super::{Failure, output, serve};
use crate::config::serve::Flags;

/// Looks at a configuration without starting anything.
#[derive(Debug, Args)]
pub(super) struct ConfigCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check flags, environment and file of `quorate serve` and say everything that is wrong
    Check(Box<Flags>),
}

impl ConfigCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let Command::Check(flags) = &self.command;
        serve::load(flags, |_| Ok(()))?;
        for strange in serve::strange_variables() {
            output::progress(&format!("warning: {strange}\n"));
        }
        output::print("the configuration is good\n")
    }
}
