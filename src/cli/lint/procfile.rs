//! Procfiles: `name: command`, run by goreman, foreman or overmind on one machine.

use std::rc::Rc;

use super::shell::{self, Scope};
use super::start::{self, Host, Start};

/// The members that a Procfile starts.
pub(super) fn read(file: &Rc<str>, text: &str) -> Vec<Start> {
    let mut starts = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some((_, command)) = process(line) else { continue };
        // Each process has a shell of its own.
        let commands = shell::commands(command, number, &Scope::new());
        starts
            .extend(commands.into_iter().flat_map(|it| start::of_command(it, file, &Host::Shared)));
    }
    starts
}

/// The name and the command of a line that has them.
pub(super) fn process(line: &str) -> Option<(&str, &str)> {
    let (name, command) = line.split_once(':')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let is_process = !name.is_empty() && name.chars().all(fits) && command.starts_with(' ');
    is_process.then(|| (name, command.trim()))
}
