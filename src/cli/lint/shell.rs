//! Words of a POSIX shell: quotes, escapes, comments, lines that go on, and variables as far as the
//! same text sets them. Nothing is run; what only a running shell knows stays unknown.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use super::word::Word;

/// One command with its words and the lines in which they begin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Command {
    pub(super) words: Vec<(Word, usize)>,
    /// Variables that are set for it, before it or on its own line.
    pub(super) environment: Vec<(String, Word, usize)>,
}

/// Values of variables; one that is not here is unknown.
pub(super) type Scope = BTreeMap<String, Word>;

/// Reads all commands of a text, the first line of which has the number `line`, with what is known of
/// variables before.
pub(super) fn commands(text: &str, line: usize, scope: &Scope) -> Vec<Command> {
    let mut shell = Shell::new(text, line, scope);
    let mut commands = Vec::new();
    while let Some(words) = shell.command() {
        commands.extend(shell.settle(words));
    }
    commands
}

/// The line of a quote that never ends.
pub(super) fn open_quote(text: &str) -> Option<usize> {
    let mut shell = Shell::new(text, 1, &Scope::new());
    while shell.command().is_some() {}
    shell.open_quote
}

/// Puts known variables of the scope into a text without quotes, as compose does; `$$` is a dollar.
pub(super) fn expand(text: &str, scope: &Scope) -> Word {
    let mut word = Word::default();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '$' if rest.next_if_eq(&'$').is_some() => word.push('$'),
            '$' => word.append(&variable(&mut rest, scope)),
            c => word.push(c),
        }
    }
    word
}

/// Reads a variable behind its `$`.
fn variable(rest: &mut Peekable<Chars<'_>>, scope: &Scope) -> Word {
    let is_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    match rest.peek() {
        Some('{') => {
            rest.next();
            let inner = until(rest, '{', '}');
            let end = inner.find(|c| !is_name(&c)).unwrap_or(inner.len());
            let (name, operator) = inner.split_at(end);
            let fallback = operator.strip_prefix(":-").or_else(|| operator.strip_prefix('-'));
            match (scope.get(name), fallback) {
                (Some(word), _) if operator.is_empty() || fallback.is_some() => word.clone(),
                // It may be set where this runs; what is written here is what is meant.
                (None, Some(fallback)) if !fallback.is_empty() => Word::known(fallback),
                _ => Word::unknown(format!("${{{inner}}}")),
            }
        }
        Some('(') => {
            rest.next();
            Word::unknown(format!("$({})", until(rest, '(', ')')))
        }
        Some(c) if is_name(c) => {
            let mut name = String::new();
            while let Some(c) = rest.next_if(is_name) {
                name.push(c);
                // `$1x` is the first argument and an x.
                if name.starts_with(|c: char| c.is_ascii_digit()) {
                    break;
                }
            }
            scope.get(&name).cloned().unwrap_or_else(|| Word::unknown(format!("${name}")))
        }
        Some('@' | '*' | '#' | '?' | '$' | '!' | '-') => {
            Word::unknown(format!("${}", rest.next().unwrap_or_default()))
        }
        _ => Word::known("$"),
    }
}

/// The text up to the closing bracket that belongs to one that was opened.
fn until(rest: &mut Peekable<Chars<'_>>, open: char, close: char) -> String {
    let mut depth = 1;
    let mut text = String::new();
    for c in rest.by_ref() {
        depth += i32::from(c == open) - i32::from(c == close);
        if depth == 0 {
            break;
        }
        text.push(c);
    }
    text
}

struct Shell<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
    scope: Scope,
    exported: Vec<(String, Word, usize)>,
    /// How many loops and conditions this is in; what is set there may be set or not.
    depth: usize,
    /// Ends of documents that begin on the next line.
    here_documents: Vec<String>,
    /// Where the quote began that was open at the end of the text.
    open_quote: Option<usize>,
}

/// A word that is being read.
#[derive(Default)]
struct Reading {
    word: Word,
    line: usize,
    /// Whether there is a word, even if it is empty.
    begun: bool,
    quoted: bool,
}

impl<'a> Shell<'a> {
    fn new(text: &'a str, line: usize, scope: &Scope) -> Self {
        Self {
            rest: text.chars().peekable(),
            line,
            scope: scope.clone(),
            exported: Vec::new(),
            depth: 0,
            here_documents: Vec::new(),
            open_quote: None,
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next();
        self.line += usize::from(c == Some('\n'));
        c
    }

    /// The words up to the end of a command; `None` at the end of the text.
    fn command(&mut self) -> Option<Vec<(Word, usize)>> {
        self.rest.peek()?;
        let mut words = Vec::new();
        let mut reading = Reading::default();
        while let Some(c) = self.rest.peek().copied() {
            if !reading.begun {
                reading.line = self.line;
            }
            match c {
                '\\' => self.escape(&mut reading),
                '\'' => self.single(&mut reading),
                '"' => self.double(&mut reading),
                '#' if !reading.begun => self.comment(),
                '$' => self.unquoted_variable(&mut reading, &mut words),
                '`' => {
                    self.next();
                    self.backquote(&mut reading);
                }
                '<' if !reading.begun && self.is_here_document() => self.here_document(),
                '<' | '>' => {
                    // Of `2>&1` the number is no argument either.
                    let is_number = |text: String| text.chars().all(|c| c.is_ascii_digit());
                    if !reading.quoted && reading.word.text().is_some_and(is_number) {
                        reading = Reading::default();
                    }
                    finish(&mut reading, &mut words);
                    self.redirection();
                }
                '\n' | ';' | '&' | '|' | '(' | ')' => {
                    self.next();
                    if c == '\n' {
                        self.skip_here_documents();
                    }
                    break;
                }
                c if c.is_whitespace() => {
                    self.next();
                    finish(&mut reading, &mut words);
                }
                c => {
                    self.next();
                    reading.begun = true;
                    reading.word.push(c);
                }
            }
        }
        finish(&mut reading, &mut words);
        Some(words)
    }

    fn comment(&mut self) {
        while self.rest.peek().is_some_and(|c| *c != '\n') {
            self.next();
        }
    }

    fn escape(&mut self, reading: &mut Reading) {
        self.next();
        match self.next() {
            // The line goes on.
            Some('\n') | None => {}
            Some('\r') if self.rest.peek() == Some(&'\n') => drop(self.next()),
            Some(c) => {
                reading.begun = true;
                reading.word.push(c);
            }
        }
    }

    /// The next character of what stands in quotes since that line; `None` at their end.
    fn inside(&mut self, quote: char, line: usize) -> Option<char> {
        let next = self.next();
        if next.is_none() {
            self.open_quote = Some(line);
        }
        next.filter(|c| *c != quote)
    }

    fn single(&mut self, reading: &mut Reading) {
        let line = self.line;
        self.next();
        reading.begun = true;
        reading.quoted = true;
        while let Some(c) = self.inside('\'', line) {
            reading.word.push(c);
        }
    }

    fn double(&mut self, reading: &mut Reading) {
        let line = self.line;
        self.next();
        reading.begun = true;
        reading.quoted = true;
        while let Some(c) = self.inside('"', line) {
            match c {
                '\\' => match self.next() {
                    Some('\n') | None => {}
                    Some(c @ ('"' | '\\' | '$' | '`')) => reading.word.push(c),
                    Some(c) => {
                        reading.word.push('\\');
                        reading.word.push(c);
                    }
                },
                '$' => reading.word.append(&self.variable()),
                '`' => self.backquote(reading),
                c => reading.word.push(c),
            }
        }
    }

    fn backquote(&mut self, reading: &mut Reading) {
        let mut inner = String::new();
        while let Some(c) = self.next().filter(|c| *c != '`') {
            inner.push(c);
        }
        reading.begun = true;
        reading.word.append(&Word::unknown(format!("`{inner}`")));
    }

    /// A variable without quotes becomes as many words as it has.
    fn unquoted_variable(&mut self, reading: &mut Reading, words: &mut Vec<(Word, usize)>) {
        self.next();
        let value = self.variable();
        let Some(text) = value.text() else {
            reading.begun = true;
            reading.word.append(&value);
            return;
        };
        for c in text.chars() {
            if c.is_whitespace() {
                finish(reading, words);
                reading.line = self.line;
            } else {
                reading.begun = true;
                reading.word.push(c);
            }
        }
    }

    fn variable(&mut self) -> Word {
        let value = variable(&mut self.rest, &self.scope);
        // A command in its place may have lines of its own.
        let lines = if value.is_known() { 0 } else { value.shown().matches('\n').count() };
        self.line += lines;
        value
    }

    fn is_here_document(&self) -> bool {
        let mut ahead = self.rest.clone();
        ahead.next() == Some('<') && ahead.next() == Some('<') && ahead.next() != Some('<')
    }

    fn here_document(&mut self) {
        self.next();
        self.next();
        while self.rest.next_if(|c| matches!(c, '-' | ' ' | '\t')).is_some() {}
        let mut end = String::new();
        while let Some(c) = self.rest.next_if(|c| !c.is_whitespace() && !";&|<>".contains(*c)) {
            if !matches!(c, '\'' | '"' | '\\') {
                end.push(c);
            }
        }
        self.here_documents.push(end);
    }

    fn skip_here_documents(&mut self) {
        for end in std::mem::take(&mut self.here_documents) {
            let mut line = String::new();
            while let Some(c) = self.next() {
                if c != '\n' {
                    line.push(c);
                } else if line.trim() == end {
                    break;
                } else {
                    line.clear();
                }
            }
        }
    }

    /// `> file`, `2>&1`: what follows is no argument.
    fn redirection(&mut self) {
        while self.rest.next_if(|c| matches!(c, '<' | '>' | '&' | '|')).is_some() {}
        while self.rest.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
        while self.rest.next_if(|c| !c.is_whitespace() && !";&|()".contains(*c)).is_some() {}
    }

    /// Takes assignments out of a command; what is left, if anything is, is a command.
    fn settle(&mut self, mut words: Vec<(Word, usize)>) -> Option<Command> {
        self.nest(&mut words);
        let is_export = words.first().is_some_and(|(word, _)| {
            matches!(word.shown().as_str(), "export" | "readonly" | "local" | "declare" | "typeset")
        });
        let exports = is_export && words[0].0 == Word::known("export");
        let words = if is_export { words.split_off(1) } else { words };
        let mut words = words.into_iter().peekable();
        let mut set = Vec::new();
        while let Some((word, line)) = words.peek() {
            match assignment(word) {
                Some((name, value)) => set.push((name, value, *line)),
                None if is_export => {}
                None => break,
            }
            words.next();
        }
        let words: Vec<_> = words.collect();
        if words.is_empty() {
            for (name, value, line) in set {
                self.set(name, value, line, exports);
            }
            return None;
        }
        let environment = self.exported.iter().cloned().chain(set).collect();
        Some(Command { words, environment })
    }

    fn set(&mut self, name: String, value: Word, line: usize, exports: bool) {
        let value = if self.depth > 0 { Word::unknown(format!("${name}")) } else { value };
        let is_exported = self.exported.iter().any(|(known, ..)| *known == name);
        if exports || is_exported {
            self.exported.retain(|(known, ..)| *known != name);
            self.exported.push((name.clone(), value.clone(), line));
        }
        self.scope.insert(name, value);
    }

    /// Follows the words that begin and end loops and conditions, and takes them off.
    fn nest(&mut self, words: &mut Vec<(Word, usize)>) {
        while let Some((first, _)) = words.first() {
            match first.shown().as_str() {
                "if" | "while" | "until" | "for" | "case" | "select" => self.depth += 1,
                "fi" | "done" | "esac" => self.depth = self.depth.saturating_sub(1),
                "then" | "else" | "elif" | "do" | "{" | "}" | "!" => {}
                _ => return,
            }
            let is_list = matches!(first.shown().as_str(), "for" | "case" | "select");
            if is_list {
                words.clear();
            } else {
                words.remove(0);
            }
        }
    }
}

fn finish(reading: &mut Reading, words: &mut Vec<(Word, usize)>) {
    let read = std::mem::take(reading);
    if read.begun && (read.quoted || !read.word.is_empty()) {
        words.push((read.word, read.line));
    }
}

/// `NAME=value`.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let (name, value) = word.split_once('=')?;
    let name = name.text()?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        let shown = |command: Command| {
            let environment = command
                .environment
                .iter()
                .map(|(name, value, line)| format!("{name}={} @{line}", value.shown()));
            let words =
                command.words.iter().map(|(word, line)| format!("{} @{line}", word.shown()));
            environment.chain(words).collect()
        };
        commands(text, 1, &Scope::new()).into_iter().map(shown).collect()
    }

    #[test]
    fn words_are_those_of_a_shell() {
        let text = "#!/bin/sh\n# etcd --name x\netcd --name 'a b' \\\n  --data-dir=\"/d$x\" # no\n\
                    echo hi > /dev/null 2>&1; A=1 etcd &\n";
        assert_eq!(
            words(text),
            [
                vec!["etcd @3", "--name @3", "a b @3", "--data-dir=/d$x @4"],
                vec!["echo @5", "hi @5"],
                vec!["A=1 @5", "etcd @5"],
            ]
        );
    }

    #[test]
    fn variables_are_known_where_the_text_sets_them() {
        let text = "TOKEN=t-01\nexport ETCD_NAME=n1\nARGS=\"--a b\"\nif x; then P=1; fi\n\
                    etcd --t ${TOKEN} $ARGS --ip $IP --p=$P --h $(hostname -i) ${D:-/data} `date`\n";
        let read = words(text);
        let etcd = read.last().unwrap();
        assert_eq!(
            etcd.iter().map(|word| word.trim_end_matches(" @5")).collect::<Vec<_>>(),
            [
                "ETCD_NAME=n1 @2",
                "etcd",
                "--t",
                "t-01",
                "--a",
                "b",
                "--ip",
                "$IP",
                "--p=$P",
                "--h",
                "$(hostname -i)",
                "/data",
                "`date`"
            ]
        );
    }

    #[test]
    fn documents_inside_are_no_commands() {
        let text = "cat > /etc/x.yml <<'EOF'\nname: it's\netcd --name x\nEOF\netcd --name y\n";
        let read = words(text);
        assert_eq!(read.last().unwrap(), &["etcd @5", "--name @5", "y @5"]);
        assert_eq!(read.len(), 2, "{read:?}");
    }

    #[test]
    fn compose_expands_without_quotes() {
        let scope = Scope::from([("A".to_owned(), Word::known("1"))]);
        assert_eq!(expand("x$A-${B:-2}-$$C-${D}", &scope).shown(), "x1-2-$C-${D}");
    }
}
