use std::error::Error;

use tonic::Status;

/// An error and all that caused it, in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
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
    use std::io::ErrorKind;

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
}
