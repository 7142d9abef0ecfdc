use clap::{Args, Subcommand};

use super::{Failure, output};
use crate::config::serve::{Config, Flags};

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
        let environment = |name: &str| std::env::var(name).ok();
        let config = Config::load(flags, environment)
            .map_err(|problems| Failure::Configuration(problems.into()))?;
        super::serve::check_files(&config)?;
        output::print("the configuration is good\n")
    }
}
