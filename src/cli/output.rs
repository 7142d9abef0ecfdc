use std::error::Error;
use std::io::{ErrorKind, Write as _};

use tonic::Status;

use super::{Failure, running};

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

/// An error and all that caused it, in one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = words(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = words(error);
        // A wrapper often says what its source says.
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// What an error says of itself; a status of gRPC would print everything that is in it.
fn words(error: &(dyn Error + 'static)) -> String {
    let boxed = || error.downcast_ref::<Box<Status>>().map(AsRef::as_ref);
    match error.downcast_ref::<Status>().or_else(boxed) {
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("--store etcd://h:1: {}", source.message())]
    struct Store {
        source: Box<Status>,
    }

    #[test]
    fn a_store_that_is_down_is_told_in_words() {
        let refused = std::io::Error::from(ErrorKind::ConnectionRefused);
        let source = Box::new(Status::from_error(Box::new(refused)));
        let text = chain(&Store { source });
        assert!(text.starts_with("--store etcd://h:1: "), "{text}");
        assert!(!text.contains("metadata") && !text.contains("details"), "{text}");
        assert_eq!(text.matches("refused").count(), 1, "{text}");
    }

    #[test]
    fn one_thing_is_not_several() {
        assert_eq!([counted(1, "member"), counted(2, "member")], ["1 member", "2 members"]);
    }
}
