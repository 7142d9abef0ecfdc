use std::collections::BTreeMap;
use std::time::Duration;

use super::value::Value;
use super::{Flag, Given, Note, Problem, Treatment, leeway, table};
use crate::membership::PeerUrl;

/// The value of every setting: given, or the default.
#[derive(Debug, Default)]
pub(super) struct Values {
    given: BTreeMap<&'static str, (Value, super::Source)>,
}

impl Values {
    /// Checks what was given against the table. A setting given twice counts as given last.
    pub(super) fn collect(
        given: Vec<Given>,
        notes: &mut Vec<Note>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut values = Self::default();
        let mut aliases = Vec::new();
        for given in given {
            let value = match leeway::read(&given, notes) {
                Ok(value) => value,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            let setting = given.flag.name.to_owned();
            let differs = value != default(given.flag);
            match given.flag.treatment {
                Treatment::Alias(target) => {
                    notes.push(Note::Deprecated { setting, instead: target.to_owned() });
                    aliases.push((given.flag.name, target, value, given.source));
                    continue;
                }
                Treatment::Legacy => notes.push(Note::Ignored { setting }),
                Treatment::Warn(meaning) if differs => {
                    notes.push(Note::WithoutEffect { setting, meaning: meaning.to_owned() });
                }
                Treatment::Refuse(why) if differs => {
                    problems.push(Problem::of(&[given.flag.name], format!("--{setting}: {why}")));
                }
                _ => {}
            }
            values.given.insert(given.flag.name, (value, given.source));
        }
        for (older, target, value, source) in aliases {
            // As etcd 3.6 does with the names that it replaced.
            if older.starts_with("experimental-") && values.is_given(target) {
                problems.push(Problem::of(&[older, target], format!(
                    "cannot set --{older} and --{target} at the same time, please use --{target} only"
                )));
            }
            let flag = table::find(target).expect("a test looks every alias up");
            if let (Treatment::Warn(meaning), true) = (flag.treatment, value != default(flag)) {
                let setting = target.to_owned();
                notes.push(Note::WithoutEffect { setting, meaning: meaning.to_owned() });
            }
            values.given.entry(target).or_insert((value, source));
        }
        values
    }

    /// Whether the setting was given any value, an empty one too.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// Whether the setting was given a value that is not empty.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.given.get(name).is_some_and(|(value, _)| *value != Value::Text(String::new()))
    }

    /// Whether the settings come from a configuration file.
    pub(super) fn is_from_file(&self) -> bool {
        self.given.values().any(|(_, source)| *source == super::Source::File)
    }

    /// The flags of that treatment that were given something else than the default.
    pub(super) fn changed(&self, treatment: Treatment) -> Vec<String> {
        let changed = |flag: &&Flag| {
            flag.treatment == treatment
                && self.given.get(flag.name).is_some_and(|(value, _)| *value != default(flag))
        };
        table::all().filter(changed).map(|flag| flag.name.to_owned()).collect()
    }

    pub(super) fn bool(&self, name: &str) -> bool {
        matches!(self.value(name), Value::Bool(true))
    }

    pub(super) fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Int(number) => number,
            other => panic!("`{name}` is no integer: {other:?}"),
        }
    }

    pub(super) fn uint(&self, name: &str) -> u64 {
        match self.value(name) {
            Value::Uint(number) => number,
            other => panic!("`{name}` is no unsigned integer: {other:?}"),
        }
    }

    pub(super) fn duration(&self, name: &str) -> Duration {
        match self.value(name) {
            Value::Duration(duration) => duration,
            other => panic!("`{name}` is no duration: {other:?}"),
        }
    }

    pub(super) fn text(&self, name: &str) -> String {
        match self.value(name) {
            Value::Text(text) => text,
            other => panic!("`{name}` is no text: {other:?}"),
        }
    }

    pub(super) fn urls(&self, name: &str) -> Vec<PeerUrl> {
        match self.value(name) {
            Value::Urls(urls) => urls,
            other => panic!("`{name}` is no list of URLs: {other:?}"),
        }
    }

    fn value(&self, name: &str) -> Value {
        if let Some((value, _)) = self.given.get(name) {
            return value.clone();
        }
        default(table::find(name).expect("settings are read by names of the table"))
    }
}

fn default(flag: &Flag) -> Value {
    Value::parse(flag.kind, flag.default).expect("a test parses every default")
}
