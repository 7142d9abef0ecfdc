//! Environment files, which shells, systemd and docker read nearly alike: one assignment a line.

use std::rc::Rc;

use super::finding::Place;
use super::shell::{self, Scope};
use super::word::Word;

/// The variables of a file. Whether there are others, its reader decides.
pub(super) fn read(file: &Rc<str>, text: &str) -> Vec<(String, Word, Place)> {
    let mut variables: Vec<(String, Word, Place)> = Vec::new();
    for (line, text) in lines(text) {
        let text = text.trim_start();
        let text = text.strip_prefix("export ").unwrap_or(text).trim();
        let Some((name, value)) = text.split_once('=') else { continue };
        if text.starts_with(['#', ';']) || !is_name(name.trim()) {
            continue;
        }
        let value = unquoted(value.trim());
        // Of a variable that is set twice the last one counts.
        variables.retain(|(known, ..)| known != name.trim());
        variables.push((name.trim().to_owned(), value, Place::new(file, line)));
    }
    variables
}

/// Lines with those joined that end in a backslash.
fn lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in (1..).zip(text.lines()) {
        let (part, continues) = match line.strip_suffix('\\') {
            Some(part) if !line.trim_start().starts_with('#') => (part, true),
            _ => (line, false),
        };
        match lines.last_mut().filter(|_| goes_on) {
            Some((_, whole)) => whole.push_str(part),
            None => lines.push((number, part.to_owned())),
        }
        goes_on = continues;
    }
    lines
}

/// Whether this can be the name of a variable.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(fits) && name.starts_with(|c: char| !c.is_ascii_digit())
}

/// A value without its quotes. Variables in it are put in by a shell and not by systemd; either way
/// their values are not here.
fn unquoted(text: &str) -> Word {
    let command = shell::commands(&format!("x {}", text.replace('\n', " ")), 1, &Scope::new());
    let words = command.into_iter().next().map(|command| command.words).unwrap_or_default();
    let mut value = Word::default();
    for (at, (word, _)) in words.iter().skip(1).enumerate() {
        if at > 0 {
            value.push(' ');
        }
        value.append(word);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_comments_and_long_lines_are_read() {
        let text = "# ETCD_NAME=x\nETCD_NAME=n1\nexport ETCD_DATA_DIR=\"/var/lib/e\"\n\
                    ETCD_INITIAL_CLUSTER='a=http://h:1,\\\nb=http://h:2'\nnot a line\n\
                    ETCD_LISTEN_PEER_URLS=http://${IP}:1\nETCD_NAME=n2\n";
        let read = read(&"f".into(), text);
        let shown: Vec<String> = read
            .iter()
            .map(|(name, value, place)| format!("{}:{name}={}", place.line, value.shown()))
            .collect();
        assert_eq!(
            shown,
            [
                "3:ETCD_DATA_DIR=/var/lib/e",
                "4:ETCD_INITIAL_CLUSTER=a=http://h:1,b=http://h:2",
                "7:ETCD_LISTEN_PEER_URLS=http://${IP}:1",
                "8:ETCD_NAME=n2",
            ]
        );
    }
}
