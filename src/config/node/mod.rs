//! The configuration of `quorate-node`: etcd's flags, `ETCD_*` variables and YAML file.
//!
//! One [table](SECTIONS) names every setting and says what this node makes of it. Settings come from
//! flags and variables, or from the file alone when there is one: that is etcd's rule, as is the
//! refusal of a setting given both as a flag and as a variable. Unlike etcd, which stops at the first
//! problem, [`load`] reports all of them, and it names keys of the file that nobody reads.
//!
//! A setting that would make the node less safe than it was asked to be is refused; one that is
//! merely without effect is accepted with a [`Note`] that says what it means here.

mod args;
mod check;
mod clash;
mod discovery_v3;
mod env;
mod file;
mod flag;
mod gates;
mod go;
mod help;
mod leeway;
mod note;
mod problem;
mod releases;
mod rotation;
mod settings;
mod table;
mod tls;
mod value;
mod values;

use std::collections::BTreeSet;
use std::ffi::OsString;

pub use args::{Arguments, parse as arguments};
pub use env::{conflicts, read as variables};
pub use file::parse as file_text;
pub use flag::{Flag, Treatment};
pub use help::help;
pub use note::Note;
pub use problem::Problem;
pub use releases::{Deprecation, deprecation, minors};
pub use settings::Settings;
pub use table::{SECTIONS, Section, all as flags};
pub use tls::{Certificate, PortTls, Tls};

pub use value::Kind;
use values::Values;

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    Help,
    Version,
    Run(Box<Settings>),
}

/// One value as it was given.
#[derive(Debug, Clone)]
pub struct Given {
    pub flag: &'static Flag,
    pub text: String,
    pub source: Source,
    /// Which argument or variable it was, counted from 0.
    pub at: usize,
}

/// Where a value was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Flag,
    Variable,
    File,
}

/// Reads and checks the whole configuration; all its problems at once.
pub fn load(
    args: impl Iterator<Item = OsString>,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Command, Vec<Problem>> {
    let Arguments { given: flags, mut problems, help } = args::parse(args);
    if help {
        return Ok(Command::Help);
    }
    if flags.iter().any(|given| given.flag.name == "version" && given.text != "false") {
        return Ok(Command::Version);
    }
    let (variables, mut notes) = env::read(variables);
    // Of flags given twice the last one counts, and a name that is empty as none.
    let names_file = |given: &&Given| given.flag.name == "config-file";
    let file = flags.iter().rfind(names_file).filter(|given| !given.text.is_empty());
    let file = file.or_else(|| variables.iter().find(names_file));
    let given = if let Some(path) = file.map(|given| given.text.clone()) {
        let silenced = flags.iter().chain(&variables).map(|given| given.flag.name);
        let silenced = silenced.filter(|name| *name != "config-file");
        let silenced: BTreeSet<&str> = silenced.collect();
        let settings = silenced.into_iter().map(str::to_owned).collect();
        notes.push(Note::FileSilences { file: path.clone(), settings });
        match file::read(&path) {
            Ok((given, unknown)) => {
                notes.extend(unknown);
                given
            }
            Err(problem) => {
                problems.push(problem);
                Vec::new()
            }
        }
    } else {
        problems.extend(conflicts(&flags, &variables));
        flags.into_iter().chain(variables).collect()
    };
    let settings = settle(given, notes, &mut problems);
    if problems.is_empty() { Ok(Command::Run(Box::new(settings))) } else { Err(problems) }
}

/// Composes settings; what is wrong with them goes to `problems`.
fn settle(given: Vec<Given>, mut notes: Vec<Note>, problems: &mut Vec<Problem>) -> Settings {
    let values = Values::collect(given, &mut notes, problems);
    settings::settle(&values, notes, problems)
}

/// What [`load`] would say about settings that somebody else has read; starts nothing.
pub fn judge(given: Vec<Given>) -> (Vec<Problem>, Vec<Note>) {
    let mut problems = Vec::new();
    let settings = settle(given, Vec::new(), &mut problems);
    (problems, settings.notes)
}

#[cfg(test)]
mod tests;
