//! The environment as all commands understand it. An empty variable counts as unset, as it does for
//! `serve`: that is how shells and unit files switch one off.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

use clap::Command;
use clap::builder::Resettable;

/// Variables with two spellings.
const ALSO: [(&str, &str); 1] = [("QUORATE_URL", "QUORATE_SERVICE")];

/// The command with its variables as they count: the other spelling where it is the one that is
/// set, and none where there is nothing in it.
pub(super) fn settled(command: Command, variable: &impl Fn(&OsStr) -> Option<OsString>) -> Command {
    let filled = |name: &OsStr| {
        variable(name).is_some_and(|text| !text.as_encoded_bytes().trim_ascii().is_empty())
    };
    let command = command.mut_args(|arg| {
        let Some(name) = arg.get_env().filter(|name| !filled(name)) else { return arg };
        let other = ALSO.iter().find(|(first, other)| name == *first && filled(OsStr::new(other)));
        match other {
            Some((_, other)) => arg.env(*other),
            None if variable(name).is_some() => arg.env(Resettable::Reset),
            None => arg,
        }
    });
    command.mut_subcommands(|below| settled(below, variable))
}

/// The variables that a command and those below it read.
pub(super) fn names(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|arg| arg.get_env()?.to_str());
    let own = own.chain(ALSO.map(|(_, other)| other)).map(str::to_owned);
    own.chain(command.get_subcommands().flat_map(names)).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Quorate;

    fn variable_of(command: &Command, path: &[&str], flag: &str) -> Option<String> {
        let below = path.iter().fold(command, |at, word| at.find_subcommand(word).unwrap());
        let arg = below.get_arguments().find(|arg| arg.get_id() == flag).unwrap();
        arg.get_env().map(|name| name.to_str().unwrap().to_owned())
    }

    #[test]
    fn empty_variables_count_as_unset_and_two_spellings_mean_the_same() {
        let settle = |set: &[(&str, &str)]| {
            let variable = |name: &OsStr| {
                let found = set.iter().find(|(held, _)| name == *held);
                found.map(|(_, text)| OsString::from(text))
            };
            settled(Quorate::command(), &variable)
        };
        let url = |set: &[(&str, &str)], path: &[&str]| variable_of(&settle(set), path, "url");
        for path in [&["new"][..], &["token"], &["backup"]] {
            assert_eq!(url(&[], path).as_deref(), Some("QUORATE_URL"), "help shows it");
            assert_eq!(url(&[("QUORATE_URL", " ")], path), None);
            let both = [("QUORATE_URL", "http://a"), ("QUORATE_SERVICE", "http://b")];
            assert_eq!(url(&both, path).as_deref(), Some("QUORATE_URL"));
            for first in [&both[1..], &[("QUORATE_URL", ""), both[1]]] {
                assert_eq!(url(first, path).as_deref(), Some("QUORATE_SERVICE"));
            }
        }
        let doctor = settle(&[("ETCD_DISCOVERY", "")]);
        assert_eq!(variable_of(&doctor, &["doctor", "token"], "discovery"), None);
    }

    #[test]
    fn all_variables_are_known() {
        let names = names(&Quorate::command());
        for name in ["QUORATE_URL", "QUORATE_SERVICE", "QUORATE_NEW_KEY_FILE", "ETCD_DISCOVERY"] {
            assert!(names.contains(name), "{name}");
        }
    }
}
