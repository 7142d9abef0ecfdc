use std::io::{ErrorKind, Write as _};

use clap::ValueEnum;

use super::{Failure, running};

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

/// Prints a command's result on standard output. A reader that went away has read enough.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(running(error)),
        _ => Ok(()),
    }
}

/// Shows on standard error how far a command is.
pub(super) fn progress(line: &str) {
    // Nobody depends on it.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// A value as indented JSON with a newline at its end.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    let json = serde_json::to_string_pretty(value);
    json.expect("strings, numbers and lists are always JSON") + "\n"
}

/// A count of things: `1 member`, `2 members`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_not_several() {
        assert_eq!([counted(1, "member"), counted(2, "member")], ["1 member", "2 members"]);
    }
}
