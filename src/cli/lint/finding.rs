use std::fmt::{self, Write as _};
use std::rc::Rc;

use serde::Serialize;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) file: Rc<str>,
    /// Counts from 1.
    pub(super) line: usize,
}

impl Place {
    pub(super) fn new(file: &Rc<str>, line: usize) -> Self {
        Self { file: Rc::clone(file), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// The member does not start, or not in the cluster that was meant.
    Error,
    /// It starts, and it hurts later or is not what it looks like.
    Warning,
}

/// Something wrong, and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// Stays the same from release to release.
    pub(super) code: &'static str,
    pub(super) place: Place,
    pub(super) text: String,
    pub(super) advice: String,
}

impl Finding {
    pub(super) fn error(
        code: &'static str,
        place: &Place,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let (text, advice) = (text.into(), advice.into());
        Self { severity: Severity::Error, code, place: place.clone(), text, advice }
    }

    pub(super) fn warning(
        code: &'static str,
        place: &Place,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, place, text, advice) }
    }
}

/// What is printed of all files.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Report {
    pub(super) files: Vec<Seen>,
    pub(super) findings: Vec<Found>,
}

/// A file and what it is about.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Seen {
    pub(super) file: String,
    pub(super) kind: &'static str,
    /// The names of the members that it starts, as far as they are known.
    pub(super) members: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Found {
    severity: Severity,
    code: &'static str,
    file: String,
    line: usize,
    text: String,
    advice: String,
}

impl Report {
    pub(super) fn new(files: Vec<Seen>, mut findings: Vec<Finding>) -> Self {
        let order = |file: &str| files.iter().position(|seen| seen.file == file);
        findings.sort_by(|a, b| {
            let key = |it: &Finding| (order(&it.place.file), it.place.clone(), it.severity);
            key(a).cmp(&key(b))
        });
        // A line that several members read is wrong once.
        findings.dedup();
        let found = |it: Finding| Found {
            severity: it.severity,
            code: it.code,
            file: it.place.file.to_string(),
            line: it.place.line,
            text: it.text,
            advice: it.advice,
        };
        let findings = findings.into_iter().map(found).collect();
        Self { files, findings }
    }

    pub(super) fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|it| it.severity == severity).count()
    }

    /// What was found, without its place.
    pub(super) fn sentences(&self, severity: Severity) -> impl Iterator<Item = String> {
        let of = move |it: &&Found| it.severity == severity;
        self.findings
            .iter()
            .filter(of)
            .map(|it| format!("{}; {} [{}]", it.text, it.advice, it.code))
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Found { severity, code, file, line, text: what, advice } in &self.findings {
            let severity = match severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            writeln!(text, "{file}:{line}: {severity} [{code}]: {what}; {advice}")
                .expect("a string takes everything");
        }
        for Seen { file, kind, members } in &self.files {
            let names = match members.len() {
                0 => String::new(),
                1 => format!(", member {}", members[0]),
                _ => format!(", members {}", members.join(", ")),
            };
            writeln!(text, "{file}: {kind}{names}").expect("a string takes everything");
        }
        text
    }
}
