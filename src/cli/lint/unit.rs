//! Units of systemd.

use std::rc::Rc;

use super::environment;
use super::finding::Place;
use super::shell::{self, Scope};
use super::start::{self, Host, Start};
use super::word::Word;

/// One `Key=value` of `[Service]`, with the line in which it begins. A value over several lines has
/// them as they are, each but the last with its backslash.
#[derive(Debug)]
struct Entry {
    key: String,
    value: String,
    line: usize,
}

/// The members that a unit starts.
pub(super) fn read(file: &Rc<str>, text: &str) -> Vec<Start> {
    let entries = entries(text);
    let mut environment: Vec<(String, Word, Place)> = Vec::new();
    let mut open = false;
    for entry in &entries {
        match entry.key.as_str() {
            "Environment" if entry.value.is_empty() => environment.clear(),
            "Environment" => environment.extend(assignments(file, entry)),
            "PassEnvironment" => open = true,
            _ => {}
        }
    }
    // Files are read when the unit starts, and what they say counts more.
    for entry in entries.iter().filter(|entry| entry.key == "EnvironmentFile") {
        match start::beside(file, &entry.value) {
            Some((path, text)) => environment.extend(environment::read(&path, &text)),
            None => open = true,
        }
    }
    let scope: Scope =
        environment.iter().map(|(name, word, _)| (name.clone(), word.clone())).collect();
    let directory = entries.iter().rfind(|entry| entry.key == "WorkingDirectory");
    let directory = directory.map(|entry| entry.value.clone()).filter(|it| !it.is_empty());
    let host = Host::Service { directory };
    // An empty one takes back those before it.
    let first = entries.iter().rposition(|it| it.key == "ExecStart" && it.value.is_empty());
    let commands = entries[first.map_or(0, |at| at + 1)..].iter();
    let mut starts = Vec::new();
    for entry in commands.filter(|entry| entry.key == "ExecStart") {
        let command = entry.value.trim_start_matches(['@', '-', ':', '+', '!']);
        for command in shell::commands(&specified(command), entry.line, &scope) {
            for mut start in start::of_command(command, file, &host) {
                start.open |= open;
                let set: Vec<String> =
                    start.variables.iter().map(|(name, ..)| name.clone()).collect();
                let more = environment.iter().filter(|(name, ..)| !set.contains(name));
                start.variables.extend(more.cloned());
                starts.push(start);
            }
        }
    }
    starts
}

/// The settings of the service.
fn entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut is_service = false;
    let mut goes_on = false;
    for (number, line) in (1..).zip(text.lines()) {
        let trimmed = line.trim();
        let is_comment = trimmed.starts_with(['#', ';']);
        if let Some(last) = entries.last_mut().filter(|_| goes_on) {
            // A comment between two lines of a value does not end it.
            last.value.push_str(if is_comment { "\\" } else { line.trim_end() });
            goes_on = is_comment || trimmed.ends_with('\\');
            if goes_on {
                last.value.push('\n');
            }
            continue;
        }
        if is_comment {
            continue;
        }
        if trimmed.starts_with('[') {
            is_service = trimmed == "[Service]";
            continue;
        }
        let Some((key, value)) = trimmed.split_once('=').filter(|_| is_service) else { continue };
        goes_on = value.ends_with('\\');
        let (key, mut value) = (key.trim().to_owned(), value.trim_start().to_owned());
        if goes_on {
            value.push('\n');
        }
        entries.push(Entry { key, value, line: number });
    }
    entries
}

/// `Environment=A=b "C=d e"`.
fn assignments(file: &Rc<str>, entry: &Entry) -> Vec<(String, Word, Place)> {
    let text = format!("x {}", specified(&entry.value));
    let command = shell::commands(&text, entry.line, &Scope::new()).into_iter().next();
    let words = command.map(|command| command.words).unwrap_or_default();
    let assignment = |(word, line): (Word, usize)| {
        let (name, value) = word.split_once('=')?;
        Some((name.text()?, value, Place::new(file, line)))
    };
    words.into_iter().skip(1).filter_map(assignment).collect()
}

/// The text with specifiers, such as `%i`, as variables that nobody knows.
fn specified(text: &str) -> String {
    let mut read = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, rest.clone().next()) {
            ('%', Some('%')) => {
                rest.next();
                read.push('%');
            }
            ('%', Some(letter)) if letter.is_ascii_alphabetic() => {
                rest.next();
                read.push_str(&format!("${{%{letter}}}"));
            }
            _ => read.push(c),
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let starts = read(&"etcd.service".into(), text);
        let mut shown = Vec::new();
        for start in starts {
            let words = start.arguments.iter();
            shown.extend(words.map(|(word, place)| format!("{}:{}", place.line, word.shown())));
            let variables = start.variables.iter();
            shown.extend(
                variables.map(|(name, word, it)| format!("{}:{name}={}", it.line, word.shown())),
            );
        }
        shown
    }

    #[test]
    fn a_unit_is_read_with_its_lines_and_variables() {
        let text = "[Unit]\nDescription=etcd --name not\n[Service]\nEnvironment=\"ETCD_NAME=n 1\" D=/d\n\
                    ExecStart=\nExecStart=-/usr/bin/etcd \\\n  --data-dir=${D}/%i \\\n# no\n  --pre-vote\n";
        assert_eq!(
            shown(text),
            ["7:--data-dir=/d/${%i}", "9:--pre-vote", "4:ETCD_NAME=n 1", "4:D=/d"]
        );
    }

    #[test]
    fn a_shell_of_a_unit_is_looked_into() {
        let text = "[Service]\nExecStart=/bin/bash -c \"GOMAXPROCS=$(nproc) /usr/bin/etcd --name=\\\"${X}\\\"\"\n";
        assert_eq!(shown(text), ["2:--name=${X}", "2:GOMAXPROCS=$(nproc)"]);
    }
}
