use std::fmt;

use super::{Given, Source};

/// Of reasons that are about a URL without a host.
pub(super) const EMPTY_HOST: &str = "unexpected empty host";

/// Something wrong with the configuration, as one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    text: String,
    usage: bool,
    about: Vec<&'static str>,
    argument: Option<usize>,
}

impl Problem {
    /// The command line cannot be understood; exit code 2 with a hint at `--help`.
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), usage: true, about: Vec::new(), argument: None }
    }

    /// The settings are understood and wrong; exit code 1.
    pub(super) fn setting(text: impl Into<String>) -> Self {
        Self { text: text.into(), usage: false, about: Vec::new(), argument: None }
    }

    /// The same, said of these settings, the likeliest to be changed first.
    pub(super) fn of(settings: &[&'static str], text: impl Into<String>) -> Self {
        Self::setting(text).about(settings.iter().copied())
    }

    /// A value that is not of its flag's kind.
    pub(super) fn value(given: &Given, reason: &str) -> Self {
        let Given { flag, text, source, .. } = given;
        let problem = match source {
            // Go reads such a URL; what etcd says of it depends on the use.
            Source::Flag if reason.contains(EMPTY_HOST) && flag.name.starts_with("listen-") => {
                Self::setting(format!("expected IP in URL for binding ({text})"))
            }
            Source::Flag if reason.contains(EMPTY_HOST) => {
                Self::setting(format!("--{} \"{text}\" {reason}", flag.name))
            }
            Source::Flag => {
                Self::usage(format!("invalid value \"{text}\" for flag -{}: {reason}", flag.name))
            }
            Source::Variable => {
                Self::setting(format!("invalid value \"{text}\" for {}: {reason}", flag.variable()))
            }
            Source::File => Self::setting(format!(
                "invalid value \"{text}\" for key `{}`: {reason}",
                flag.key()
            )),
        };
        problem.about([flag.name])
    }

    /// Names the settings that have to be changed, the likeliest first.
    pub(super) fn about(mut self, settings: impl IntoIterator<Item = &'static str>) -> Self {
        self.about = settings.into_iter().collect();
        self
    }

    /// Names the argument of the command line in which it is.
    pub(super) fn at(mut self, argument: usize) -> Self {
        self.argument = Some(argument);
        self
    }

    /// The settings that have to be changed, the likeliest first.
    pub fn settings(&self) -> &[&'static str] {
        &self.about
    }

    /// The argument, counted from 0, that was not understood.
    pub fn argument(&self) -> Option<usize> {
        self.argument
    }

    /// Whether the command line itself was not understood.
    pub fn is_usage(&self) -> bool {
        self.usage
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
