//! `quorate explain`: what a code means, and what a node's log says.

mod etcd;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _};

use clap::Args;

use super::{Failure, output, running};
use crate::admission::codes::{self, CODES, Code};

/// What to explain.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// Codes such as Q1021; without any, the log of a node is read from standard input
    #[arg(value_name = "CODE")]
    codes: Vec<String>,
    /// List all codes
    #[arg(long)]
    all: bool,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("`{0}` is no code; `quorate explain --all` lists them")]
    Unknown(String),
    #[error("give a code, or the log of a node: quorate explain < etcd.log")]
    Nothing,
}

impl Explain {
    pub(super) fn run(&self) -> Result<(), Failure> {
        if self.all {
            let line = |code: &Code| format!("{}  {}\n", code.code, code.title);
            return output::print(&CODES.iter().map(line).collect::<String>());
        }
        if !self.codes.is_empty() {
            let mut text = String::new();
            for asked in &self.codes {
                let unknown = || Failure::Configuration(Error::Unknown(asked.clone()).into());
                let code = codes::find(asked).ok_or_else(unknown)?;
                text += &paragraph(code.code, code.title, code.meaning, code.cure);
            }
            return output::print(&text);
        }
        let input = std::io::stdin().lock();
        if input.is_terminal() {
            return Err(Failure::Configuration(Error::Nothing.into()));
        }
        let mut findings = Findings::default();
        for line in input.split(b'\n') {
            findings.read(&String::from_utf8_lossy(&line.map_err(running)?));
        }
        output::print(&findings.text())
    }
}

fn paragraph(name: &str, title: &str, meaning: &str, cure: &str) -> String {
    format!("{name}: {title}\n  {meaning}\n  What to do: {cure}\n")
}

/// What was found in a log, each thing once, with the line of its first appearance.
#[derive(Debug, Default)]
struct Findings {
    lines: usize,
    seen: BTreeSet<&'static str>,
    text: String,
}

impl Findings {
    fn read(&mut self, line: &str) {
        self.lines += 1;
        let mut has_reason = false;
        for code in codes_in(line) {
            self.add(code.code, code.title, code.meaning, code.cure);
            has_reason = true;
        }
        for known in etcd::WORDS.iter().filter(|known| line.contains(known.words)) {
            // What etcd says after every failure tells nothing beside the failure itself.
            if known.words != etcd::AFTER_ALL || !has_reason {
                self.add(known.words, "etcd says so", known.meaning, known.cure);
            }
            has_reason = true;
        }
    }

    fn add(&mut self, name: &'static str, title: &str, meaning: &str, cure: &str) {
        if self.seen.insert(name) {
            let _ = write!(self.text, "line {}: ", self.lines);
            self.text += &paragraph(name, title, meaning, cure);
        }
    }

    fn text(self) -> String {
        match (self.lines, self.seen.is_empty()) {
            (0, _) => "there is nothing in this log\n".to_owned(),
            (1, true) => "nothing that is known as trouble in this line\n".to_owned(),
            (lines, true) => format!("nothing that is known as trouble in {lines} lines\n"),
            _ => self.text,
        }
    }
}

/// Our codes in a line, as whole words.
pub(super) fn codes_in(line: &str) -> impl Iterator<Item = &'static Code> {
    line.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(codes::find)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(log: &str) -> String {
        let mut findings = Findings::default();
        log.lines().for_each(|line| findings.read(line));
        findings.text()
    }

    #[test]
    fn codes_in_a_log_are_explained_once() {
        let log = "fine\nfailed to join discovery cluster (109: Peer address has existed \
                   (Q1031: the peer URL) [6])\nagain Q1031, and XQ1030 and Q10300\n";
        let text = explained(log);
        assert!(text.starts_with("line 2: Q1031: peer URL held by another member\n"), "{text}");
        assert_eq!(text.matches("Q1031").count(), 1);
        assert!(!text.contains("Q1030"), "{text}");
    }

    #[test]
    fn etcds_own_words_are_explained() {
        let cases = [
            "E | etcdmain: error verifying flags, multiple discovery or bootstrap flags are set. Choose one",
            r#"{"level":"fatal","msg":"discovery failed","error":"discovery: cluster is full"}"#,
            "etcdserver: discovery token ignored since a cluster has already been initialized. Valid log",
            "rafthttp: request cluster ID mismatch (got 1 want 2)",
            "error setting up initial cluster: URL must not contain a path: http://127.0.0.1:3001/",
            "error #0: dial tcp 127.0.0.1:8087: connect: connection refused",
            r#"error #0: malformed HTTP response "\x15\x03\x03\x00\x02\x022""#,
            "error #0: tls: first record does not look like a TLS handshake",
            "error #0: http: server gave HTTP response to HTTPS client",
            r#"etcdmain: member "n1" has previously registered with discovery service token (http://h/T)."#,
        ];
        for log in cases {
            let text = explained(log);
            assert!(text.contains("What to do: "), "{log}\n{text}");
        }
        let refused =
            r#"{"msg":"failed to bootstrap; discovery token was already used","error":"Q1021: x"}"#;
        let text = explained(refused);
        assert!(text.contains("Q1021") && !text.contains("for every failed"), "{text}");
        let alone = explained("etcdmain: discovery token was already used: bad luck");
        assert!(alone.contains("for every failed"), "{alone}");
        assert_eq!(explained("all is well\n"), "nothing that is known as trouble in this line\n");
        assert_eq!(explained(""), "there is nothing in this log\n");
    }
}
