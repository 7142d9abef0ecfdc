//! The settings of one member, read as its own program reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::rc::Rc;

use super::finding::{Finding, Place};
use super::shell::{self, Scope};
use super::start::{self, Host, Program, Start};
use super::tree::Tree;
use super::word::Word;
use crate::config::nearest::nearest;
use crate::config::node::{self, Flag, Given, Kind, Note, Problem, Source};
use crate::discovery_server::Release;
use crate::membership::PeerUrl;

/// One member as far as a file tells about it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) place: Place,
    pub(super) program: Program,
    pub(super) host: Host,
    /// Whether there may be settings that cannot be seen from here.
    pub(super) open: bool,
    settings: BTreeMap<&'static str, Setting>,
}

/// A value that was given.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) flag: &'static Flag,
    pub(super) word: Word,
    pub(super) place: Place,
    pub(super) source: Source,
}

/// What stands in for a part of a value that is not known: the first with which the flag takes it.
const STAND_INS: [&str; 6] = ["192.0.2.1", "1", "x", "http", "true", "http://192.0.2.1:2380"];

impl Member {
    /// Reads what starts a member; `release` is what somebody said it is.
    pub(super) fn read(
        start: &Start,
        release: Option<Release>,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let program = match release {
            Some(Release::Quorate) => Program::Quorate,
            Some(release) => Program::Etcd(Some(release)),
            None => start.program,
        };
        let (place, host, open) = (start.place.clone(), start.host.clone(), start.open);
        let mut member = Self { place, program, host, open, settings: BTreeMap::new() };
        let flags = member.arguments(&start.arguments, findings);
        let variables = member.variables(&start.variables, findings);
        let given = match member.file(start, &flags, &variables, findings) {
            Some(given) => given,
            None => {
                conflicts(&flags, &variables, findings);
                flags.into_iter().chain(variables).collect()
            }
        };
        for setting in given {
            member.settings.insert(setting.flag.name, setting);
        }
        member
    }

    fn arguments(
        &mut self,
        arguments: &[(Word, Place)],
        findings: &mut Vec<Finding>,
    ) -> Vec<Setting> {
        let words = self.without_open(arguments);
        let shown = words.iter().map(|(word, _)| OsString::from(word.shown()));
        let read = node::arguments(shown);
        for problem in &read.problems {
            let at = problem.argument().unwrap_or_default();
            let place = words.get(at).map_or(&self.place, |(_, place)| place);
            findings.push(misunderstood(problem, place));
        }
        let setting = |given: Given| {
            let (word, place) = &words[given.at];
            let word = match word.split_once('=') {
                Some((_, value)) => value,
                None if matches!(given.flag.kind, Kind::Bool | Kind::Nothing) => {
                    Word::known(given.text)
                }
                None => words.get(given.at + 1).map(|(word, _)| word.clone()).unwrap_or_default(),
            };
            Setting { flag: given.flag, word, place: place.clone(), source: Source::Flag }
        };
        read.given.into_iter().map(setting).collect()
    }

    /// The words without those that stand for arguments which nobody can see, such as `$@`.
    fn without_open(&mut self, arguments: &[(Word, Place)]) -> Vec<(Word, Place)> {
        let mut words = Vec::new();
        let mut is_value = false;
        for (word, place) in arguments {
            if !is_value && word.begins_unknown() {
                self.open = true;
                continue;
            }
            let name = word.text().unwrap_or_default();
            let name = name.strip_prefix("--").or_else(|| name.strip_prefix('-')).unwrap_or("");
            let flag = node::flags().find(|flag| flag.name == name);
            is_value = !is_value
                && flag.is_some_and(|flag| !matches!(flag.kind, Kind::Bool | Kind::Nothing));
            words.push((word.clone(), place.clone()));
        }
        words
    }

    fn variables(
        &self,
        variables: &[(String, Word, Place)],
        findings: &mut Vec<Finding>,
    ) -> Vec<Setting> {
        let texts = variables.iter().map(|(name, word, _)| (name.into(), word.shown().into()));
        let (given, notes) = node::variables(texts);
        for note in notes {
            let Note::UnknownVariable { variable } = note else { continue };
            let place = variables.iter().find(|(name, ..)| *name == variable);
            let place = place.map_or(&self.place, |(.., place)| place);
            // The part that all have alike would make any two of them near.
            let name = variable.trim_start_matches("ETCD_").to_lowercase().replace('_', "-");
            let text = format!("`{variable}` is no setting, and no member reads it");
            let near = nearest(&name, node::flags().map(|flag| flag.name));
            let near = near.and_then(|name| node::flags().find(|flag| flag.name == name));
            findings.push(match near.map(Flag::variable) {
                Some(near) => {
                    Finding::error("unknown-variable", place, text, format!("write {near}"))
                }
                None => Finding::warning("unknown-variable", place, text, "take it out"),
            });
        }
        let setting = |given: Given| {
            let (_, word, place) = &variables[given.at];
            let (word, place) = (word.clone(), place.clone());
            Setting { flag: given.flag, word, place, source: Source::Variable }
        };
        given.into_iter().map(setting).collect()
    }

    /// The settings of the configuration file, which alone count when there is one.
    fn file(
        &mut self,
        start: &Start,
        flags: &[Setting],
        variables: &[Setting],
        findings: &mut Vec<Finding>,
    ) -> Option<Vec<Setting>> {
        if let Some((path, text)) = &start.file {
            return Some(keys(&Rc::from(path.as_str()), text, findings));
        }
        let names_file = |it: &&Setting| it.flag.name == "config-file" && !it.word.is_empty();
        let named = flags.iter().rfind(names_file).or_else(|| variables.iter().find(names_file))?;
        let silenced = flags.iter().chain(variables).filter(|it| it.flag.name != "config-file");
        let silenced: BTreeSet<&str> = silenced.map(|it| it.flag.name).collect();
        if !silenced.is_empty() {
            let names: Vec<&str> = silenced.into_iter().collect();
            findings.push(Finding::warning(
                "silenced-by-file",
                &named.place,
                format!(
                    "with --config-file no other setting counts: {} is ignored",
                    names.join(", ")
                ),
                "write it into the file, or take it out",
            ));
        }
        let path = named.word.text();
        let Some((path, text)) = path.and_then(|path| start::beside(&start.place.file, &path))
        else {
            self.open = true;
            return Some(Vec::new());
        };
        Some(keys(&path, &text, findings))
    }

    /// All settings, with values that their flags take where the real ones are not known.
    pub(super) fn given(&self) -> Vec<Given> {
        self.settings.values().filter_map(|it| self.stand_in(it)).collect()
    }

    /// A value that its flag takes; `None` where nothing can stand in, or where only etcd reads it.
    fn stand_in(&self, setting: &Setting) -> Option<Given> {
        let Setting { flag, word, source, .. } = setting;
        let of_etcd = matches!(flag.treatment, node::Treatment::Refuse(_));
        if of_etcd && self.program != Program::Quorate {
            return None;
        }
        // Keys of tokens are where the member runs.
        if flag.name == "auth-token" && word.shown().contains("-key=") {
            return None;
        }
        let given = |text: String| Given { flag, text, source: *source, at: 0 };
        match word.text() {
            Some(text) => Some(given(text)),
            None => {
                let texts = STAND_INS.iter().map(|stand_in| word.with(stand_in));
                texts.into_iter().find(|text| flag.takes(text)).map(given)
            }
        }
    }

    pub(super) fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.get(name).filter(|it| !it.word.is_empty())
    }

    pub(super) fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.settings.values()
    }

    /// The text of a setting, if it was given and is known.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.setting(name)?.word.text()
    }

    /// What is said, or else the default; `None` if it is not known.
    pub(super) fn effective(&self, name: &str) -> Option<String> {
        match self.setting(name) {
            Some(setting) => setting.word.text(),
            None if self.open => None,
            None => node::flags().find(|flag| flag.name == name).map(|it| it.default.to_owned()),
        }
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| text.parse() == Ok(true) || text == "1" || text == "t")
    }

    pub(super) fn place_of(&self, name: &str) -> &Place {
        self.settings.get(name).map_or(&self.place, |setting| &setting.place)
    }

    /// The URLs of a setting that are wholly known; whether these are all.
    pub(super) fn urls(&self, name: &str) -> (Vec<PeerUrl>, bool) {
        let Some(setting) = self.setting(name) else { return (Vec::new(), !self.open) };
        let words = setting.word.split(',');
        let known: Vec<PeerUrl> = words
            .iter()
            .filter_map(Word::text)
            .filter_map(|text| PeerUrl::parse_client(&text).ok())
            .collect();
        let all = known.len() == words.len();
        (known, all)
    }

    /// Its name, if it has one that is known.
    pub(super) fn name(&self) -> Option<String> {
        self.effective("name")
    }

    /// How it is called in a list of what was seen.
    pub(super) fn title(&self) -> String {
        match self.settings.get("name") {
            Some(setting) => setting.word.shown(),
            None if self.open => "of unknown name".to_owned(),
            None => "default".to_owned(),
        }
    }

    /// How messages call a setting: as it was given.
    pub(super) fn called(&self, name: &str) -> String {
        match self.settings.get(name) {
            Some(Setting { source: Source::Variable, flag, .. }) => flag.variable(),
            Some(Setting { source: Source::File, flag, .. }) => format!("`{}`", flag.key()),
            _ => format!("--{name}"),
        }
    }
}

/// The settings of a configuration file.
fn keys(path: &Rc<str>, text: &str, findings: &mut Vec<Finding>) -> Vec<Setting> {
    let trees = match Tree::read(text) {
        Ok(trees) => trees,
        Err((line, reason)) => {
            let place = Place::new(path, line);
            findings.push(Finding::error("yaml", &place, reason, "write it as YAML"));
            return Vec::new();
        }
    };
    let lines: BTreeMap<String, usize> = trees.iter().flat_map(Tree::lines).collect();
    let place = |key: &str| Place::new(path, lines.get(key).copied().unwrap_or(1));
    let (given, notes) = match node::file_text(path, text) {
        Ok(read) => read,
        Err(problem) => {
            let advice = "write `key: value` lines with etcd's keys";
            findings.push(Finding::error("yaml", &place(""), problem.to_string(), advice));
            return Vec::new();
        }
    };
    for note in notes {
        match note {
            Note::UnknownKey { key, .. } => {
                let text = format!("`{key}` is no key of the configuration file and is ignored");
                let near = nearest(&key, node::flags().map(Flag::key));
                findings.push(match near {
                    Some(near) => {
                        Finding::error("unknown-key", &place(&key), text, format!("write {near}"))
                    }
                    None => Finding::warning("unknown-key", &place(&key), text, "take it out"),
                });
            }
            Note::RepeatedKey { line, .. } => findings.push(Finding::warning(
                "repeated-key",
                &Place::new(path, usize::try_from(line).unwrap_or(1)),
                "the key stands in the file more than once, and the last one counts",
                "take out all but one",
            )),
            _ => {}
        }
    }
    let setting = |given: Given| Setting {
        flag: given.flag,
        place: place(given.flag.key()),
        // Whoever fills in a template does so before etcd reads it.
        word: shell::expand(&given.text, &Scope::new()),
        source: Source::File,
    };
    given.into_iter().map(setting).collect()
}

/// Settings that are given twice.
fn conflicts(flags: &[Setting], variables: &[Setting], findings: &mut Vec<Finding>) {
    for variable in variables {
        let Some(flag) = flags.iter().find(|it| it.flag.name == variable.flag.name) else {
            continue;
        };
        let (name, place) = (variable.flag.name, &flag.place);
        let text = format!(
            "both {} ({}) and --{name} are set, and etcd refuses that",
            variable.flag.variable(),
            variable.place
        );
        findings.push(Finding::error("flag-and-variable", place, text, "take one of them out"));
    }
}

/// An argument that is no flag, or a flag that nobody knows.
fn misunderstood(problem: &Problem, place: &Place) -> Finding {
    let text = problem.to_string();
    if let Some(name) = text.strip_prefix("flag provided but not defined: -") {
        let advice = match nearest(name, node::flags().map(|flag| flag.name)) {
            Some(near) => format!("write --{near}"),
            None => "take it out; `quorate-node --help` lists all flags".to_owned(),
        };
        let text = format!("no etcd has a flag --{name}, and a member does not start with it");
        return Finding::error("unknown-flag", place, text, advice);
    }
    let advice = "flags are written --NAME=VALUE";
    Finding::error("argument", place, text, advice)
}
