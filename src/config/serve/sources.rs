use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Flags, LISTS, Problems, SETTINGS, SWITCHES};
use crate::config::nearest::nearest;

/// One value of a setting, as text, with the place it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) text: String,
    origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Flag,
    Environment,
    File(String),
}

/// The values of all settings that were given anywhere, the strongest place only.
#[derive(Debug)]
pub(super) struct Sources {
    given: BTreeMap<&'static str, Vec<Setting>>,
}

impl Setting {
    /// The place and the value, for a message.
    pub(super) fn place(&self, name: &str) -> String {
        let text = &self.text;
        match &self.origin {
            Origin::Flag => format!("--{name} `{text}`"),
            Origin::Environment => format!("{} `{text}`", variable(name)),
            Origin::File(file) => format!("`{file}`, {name} `{text}`"),
        }
    }
}

impl Sources {
    /// Looks into flags, environment and file. An unreadable file or an unknown key is a problem.
    pub(super) fn collect(
        flags: &Flags,
        environment: impl Fn(&str) -> Option<String>,
        problems: &mut Problems,
    ) -> Self {
        // An empty variable counts as unset: that is how shells and unit files switch one off.
        let from_environment =
            |name: &str| environment(&variable(name)).filter(|text| !text.trim().is_empty());
        let file = flags.config_file.clone().or_else(|| from_environment("config-file"));
        let mut given = match &file {
            Some(file) => read_file(file, problems),
            None => BTreeMap::new(),
        };
        for name in SETTINGS {
            let typed = flags.typed(name);
            let (texts, origin) = match from_environment(name) {
                _ if !typed.is_empty() => (typed, Origin::Flag),
                Some(text) if LISTS.contains(&name) => {
                    let texts = text.split(',').map(|part| part.trim().to_owned()).collect();
                    (texts, Origin::Environment)
                }
                Some(text) => (vec![text], Origin::Environment),
                None => continue,
            };
            let setting = |text| Setting { text, origin: origin.clone() };
            given.insert(name, texts.into_iter().map(setting).collect());
        }
        Self { given }
    }

    /// The values of a setting, or nothing if it was given nowhere.
    pub(super) fn all(&self, name: &str) -> Option<Vec<Setting>> {
        self.given.get(name).cloned()
    }
}

fn variable(name: &str) -> String {
    format!("QUORATE_{}", name.to_uppercase().replace('-', "_"))
}

/// Kubernetes tells every pod the addresses of a service called `quorate` in such variables.
const OF_KUBERNETES: [&str; 3] = ["QUORATE_PORT", "QUORATE_SERVICE_HOST", "QUORATE_SERVICE_PORT"];

/// The variables among these that begin as ours do and that neither `serve` nor another command, which
/// reads `others`, knows; each with the one that may be meant.
pub fn unknown_variables(
    names: impl Iterator<Item = String>,
    others: &BTreeSet<String>,
) -> Vec<String> {
    let mut known: BTreeSet<String> = SETTINGS.into_iter().map(variable).collect();
    known.insert(variable("config-file"));
    known.extend(others.iter().cloned());
    let strange = names.filter(|name| {
        let foreign = OF_KUBERNETES.iter().any(|start| name.starts_with(start));
        name.starts_with("QUORATE_") && !known.contains(name) && !foreign
    });
    let told = |name: String| match nearest(&name, known.iter().map(String::as_str)) {
        Some(meant) => format!("{name} is unknown; did you mean {meant}?"),
        None => format!("{name} is unknown"),
    };
    strange.map(told).collect()
}

/// Reads a TOML file of settings: strings, numbers, and arrays of strings for lists.
fn read_file(file: &str, problems: &mut Problems) -> BTreeMap<&'static str, Vec<Setting>> {
    let mut given = BTreeMap::new();
    let text = match std::fs::read_to_string(Path::new(file)) {
        Ok(text) => text,
        Err(error) => {
            problems.add(format!("--config-file `{file}` cannot be read: {error}"));
            return given;
        }
    };
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            let reason = error.to_string();
            problems.add(format!("--config-file `{file}` is no TOML: {}", reason.trim_end()));
            return given;
        }
    };
    for (key, value) in table {
        let Some(name) = SETTINGS.into_iter().find(|name| *name == key) else {
            let way_out = match nearest(&key, SETTINGS) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "keys are the flags of `quorate serve --help` without dashes".to_owned(),
            };
            problems.add(format!("`{file}`: the key `{key}` is unknown; {way_out}"));
            continue;
        };
        let texts = match &value {
            toml::Value::Boolean(on) if SWITCHES.contains(&name) => Some(vec![on.to_string()]),
            value => texts_of(value),
        };
        match texts {
            Some(texts) => {
                let origin = Origin::File(file.to_owned());
                let setting = |text| Setting { text, origin: origin.clone() };
                given.insert(name, texts.into_iter().map(setting).collect());
            }
            None => problems.add(format!(
                "`{file}`, {key}: a text, a number or an array of texts is expected, not {kind}",
                kind = value.type_str()
            )),
        }
    }
    given
}

fn texts_of(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text.clone()]),
        toml::Value::Integer(number) => Some(vec![number.to_string()]),
        toml::Value::Array(items) => {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
        }
        _ => None,
    }
}
