use clap::{Args, Subcommand};

use super::output::{self, Format};
use super::steps::{Outcome, Record, Step};
use super::{Failure, serve};
use crate::config::serve::{Flags, Problems};

/// Looks at a configuration without starting anything.
#[derive(Debug, Args)]
pub(super) struct ConfigCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check flags, environment and file of `quorate serve` and say everything that is wrong
    Check(Box<Check>),
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    flags: Flags,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

impl ConfigCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let Command::Check(check) = &self.command;
        check.run()
    }
}

impl Check {
    fn run(&self) -> Result<(), Failure> {
        let problems = serve::problems(&self.flags);
        let strange = serve::strange_variables();
        if self.output == Format::Json {
            output::print(&output::json(&record(&problems, &strange)))?;
        }
        if !problems.is_empty() {
            return Err(Failure::Configuration(problems.into()));
        }
        if self.output == Format::Json {
            return Ok(());
        }
        for strange in strange {
            output::progress(&format!("warning: {strange}\n"));
        }
        output::print("the configuration is good\n")
    }
}

fn record(problems: &Problems, strange: &[String]) -> Record {
    let good = problems.is_empty().then(|| (Outcome::Ok, "the configuration is good".to_owned()));
    let wrong = problems.iter().map(|problem| (Outcome::Failed, problem.to_string()));
    let strange = strange.iter().map(|variable| (Outcome::Warning, variable.clone()));
    let found = good.into_iter().chain(wrong).chain(strange);
    // What is wrong says what to do about it.
    let step = |(outcome, detail)| Step::new("configuration", outcome, detail, None);
    Record::of(found.map(step).collect())
}
