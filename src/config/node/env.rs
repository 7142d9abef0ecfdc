use std::ffi::OsString;

use super::{Given, Kind, Note, Problem, Source, table};

/// Variables that start like a setting and are none.
const OTHER: [&str; 1] = ["ETCD_UNSUPPORTED_ARCH"];

/// A flag without a variable: images set one to tell what they hold, and etcd starts with it.
const SPECIAL: &str = "ETCD_VERSION";

/// Reads `ETCD_*` variables; an empty one counts as not set.
pub fn read(variables: impl Iterator<Item = (OsString, OsString)>) -> (Vec<Given>, Vec<Note>) {
    let mut given = Vec::new();
    let mut notes = Vec::new();
    let mut variables: Vec<(String, String, usize)> = (0..)
        .zip(variables)
        .map(|(at, (name, text))| {
            (name.to_string_lossy().into_owned(), text.to_string_lossy().into_owned(), at)
        })
        .filter(|(name, text, _)| name.starts_with("ETCD_") && !text.is_empty())
        .collect();
    variables.sort();
    for (variable, text, at) in variables {
        if variable == SPECIAL {
            notes.push(Note::SpecialVariable { variable, text });
            continue;
        }
        match table::all().find(|flag| flag.kind != Kind::Nothing && flag.variable() == variable) {
            Some(flag) => given.push(Given { flag, text, source: Source::Variable, at }),
            None if OTHER.contains(&variable.as_str()) => {}
            None => notes.push(Note::UnknownVariable { variable }),
        }
    }
    (given, notes)
}

/// Settings that were given twice; which of the two was meant nobody can tell.
pub fn conflicts(flags: &[Given], variables: &[Given]) -> Vec<Problem> {
    let shadowed =
        |variable: &&Given| flags.iter().any(|flag| flag.flag.name == variable.flag.name);
    variables
        .iter()
        .filter(shadowed)
        .map(|given| {
            Problem::setting(format!(
                "conflicting environment variable is shadowed by corresponding command-line flag \
                 (either unset environment variable or disable flag)): {} and --{}",
                given.flag.variable(),
                given.flag.name
            ))
            .about([given.flag.name])
        })
        .collect()
}
