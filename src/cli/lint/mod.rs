//! `quorate lint`: configurations of members, looked at without starting anything.
//!
//! ```text
//! file --kind--> reader --> Start* --Member::read--> Member* --rules, cluster--> Finding*
//! ```
//!
//! A reader knows one kind of file and finds what starts members in it, with the line of every word.
//! [`member`] reads the settings as the program itself does, by the node's own configuration code,
//! and so finds what the program would refuse; [`rules`] know what it accepts and should not have;
//! [`cluster`] holds the members of one cluster against each other.
//!
//! What only a running shell, systemd or compose knows, such as `${HOST_IP}`, is an unknown
//! [`word::Word`]: rules pass it by, and the node's code gets something in its place that it takes.
//! Nothing is asked of the network, and of other files only those that the given ones name.

mod advice;
mod cluster;
mod compose;
mod environment;
mod finding;
mod kind;
mod kubernetes;
mod member;
mod procfile;
mod records;
mod rules;
mod shell;
mod start;
mod tree;
mod unit;
mod word;

use std::io::Read as _;
use std::rc::Rc;

use clap::Args;

use super::output::{self, Format, counted};
use super::{Failure, running};
use crate::discovery_server::Release;
pub(super) use advice::way_out;
use finding::{Finding, Place, Report, Seen, Severity};
pub(super) use kind::Kind;
use member::Member;
use records::Record;
use start::{Host, Start};
use tree::Tree;

/// Which files to judge.
#[derive(Debug, Args)]
#[command(
    after_help = "Members of one cluster may be in one file or in several; what is given together \
                        is compared. Exit codes: 0 no errors, 1 errors, or warnings with --strict, 2 \
                        wrong flags."
)]
pub(super) struct Lint {
    /// File that starts or configures members of etcd or quorate-node; - for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    /// What the files are, instead of what name and content tell
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
    /// Release that is started: 3.4, 3.5, 3.6, 3.7 or quorate-node [default: what the files tell]
    #[arg(long, value_name = "RELEASE", value_parser = Release::parse)]
    etcd: Option<Release>,
    /// Warnings fail too
    #[arg(long)]
    strict: bool,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

impl Lint {
    /// Prints all findings; fails if one is an error.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let mut files = Vec::new();
        for file in &self.files {
            files.push((Rc::from(file.as_str()), read(file)?));
        }
        let report = judge(&files, self.kind, self.etcd);
        output::print(&match self.output {
            Format::Text => report.text(),
            Format::Json => output::json(&report),
        })?;
        let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
        if errors > 0 {
            return Err(running(counted(errors, "error")));
        }
        if self.strict && warnings > 0 {
            return Err(running(format!("{} and --strict", counted(warnings, "warning"))));
        }
        Ok(())
    }
}

fn read(file: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = match file {
        "-" => std::io::stdin().lock().read_to_end(&mut bytes).map(drop),
        file => std::fs::read(file).map(|read| bytes = read),
    };
    let wrong = |error| Failure::Configuration(format!("`{file}` cannot be read: {error}").into());
    read.map_err(wrong)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The errors and the warnings about a text that is no file yet.
pub(super) fn verdict(kind: Kind, text: &str, release: Release) -> (Vec<String>, Vec<String>) {
    let report = judge(&[(Rc::from(kind.name()), text.to_owned())], Some(kind), Some(release));
    let of = |severity| report.sentences(severity).collect();
    (of(Severity::Error), of(Severity::Warning))
}

/// Judges the texts of files.
fn judge(files: &[(Rc<str>, String)], kind: Option<Kind>, release: Option<Release>) -> Report {
    let mut findings = Vec::new();
    let mut members = Vec::new();
    let mut records: Vec<Record> = Vec::new();
    let mut seen = Vec::new();
    for (file, text) in files {
        let Some(kind) = kind.or_else(|| Kind::of(file, text)) else {
            let advice = "name files that start members, or say what they are with --kind";
            let text = "nothing here starts or configures a member";
            findings.push(Finding::error("no-member", &Place::new(file, 1), text, advice));
            continue;
        };
        if kind == Kind::Dnsmasq {
            records.extend(records_of(file, text, &mut findings));
            let (file, members) = (file.to_string(), Vec::new());
            seen.push(Seen { file, kind: kind.name(), members });
            continue;
        }
        let mut found = Vec::new();
        for start in starts(kind, file, text, &mut findings) {
            let member = Member::read(&start, release, &mut findings);
            advice::check(&member, &mut findings);
            rules::check(&member, &mut findings);
            found.push(member);
        }
        if found.is_empty() {
            let text = format!("as {} this starts or configures no member", kind.name());
            let advice = "say what the file is with --kind";
            let place = Place::new(file, 1);
            findings.push(match kind {
                // As a package installs it: a member starts with the defaults.
                Kind::Env => Finding::warning("no-member", &place, text, advice),
                _ => Finding::error("no-member", &place, text, advice),
            });
        }
        let titles = found.iter().map(Member::title).collect();
        seen.push(Seen { file: file.to_string(), kind: kind.name(), members: titles });
        members.extend(found);
    }
    cluster::check(&members, &mut findings);
    records::check(&records, &members, &mut findings);
    Report::new(seen, findings)
}

fn records_of(file: &Rc<str>, text: &str, findings: &mut Vec<Finding>) -> Vec<Record> {
    let before = findings.len();
    let records = records::read(file, text, findings);
    if records.is_empty() && findings.len() == before {
        let advice = "add srv-host=_etcd-server._tcp.DOMAIN,HOST,2380,0,100 for each member";
        let text = "no srv-host line is about members";
        findings.push(Finding::error("no-record", &Place::new(file, 1), text, advice));
    }
    records
}

fn trees(file: &Rc<str>, text: &str, findings: &mut Vec<Finding>) -> Vec<Tree> {
    Tree::read(text).unwrap_or_else(|(line, reason)| {
        let place = Place::new(file, line);
        findings.push(Finding::error("yaml", &place, reason, "write it as YAML"));
        Vec::new()
    })
}

/// What starts members in a file of this kind.
fn starts(kind: Kind, file: &Rc<str>, text: &str, findings: &mut Vec<Finding>) -> Vec<Start> {
    match kind {
        Kind::Flags => {
            if let Some(line) = shell::open_quote(text) {
                let (place, text) = (Place::new(file, line), "a quote begins here and never ends");
                findings.push(Finding::error("quote", &place, text, "close it"));
            }
            shell::commands(text, 1, &shell::Scope::new())
                .into_iter()
                .flat_map(|command| start::of_command(command, file, &Host::Machine))
                .collect()
        }
        Kind::Env => {
            let variables = environment::read(file, text);
            let variables: Vec<_> =
                variables.into_iter().filter(|(name, ..)| name.starts_with("ETCD_")).collect();
            let Some((_, _, place)) = variables.first() else { return Vec::new() };
            // What reads the file may add flags.
            let start = Start::new(place.clone(), Host::Machine);
            vec![Start { variables, open: true, ..start }]
        }
        Kind::Yaml => {
            let start = Start::new(Place::new(file, 1), Host::Machine);
            vec![Start { file: Some((file.to_string(), text.to_owned())), ..start }]
        }
        Kind::Procfile => procfile::read(file, text),
        Kind::Systemd => unit::read(file, text),
        Kind::Compose => compose::read(file, &trees(file, text, findings)),
        Kind::K8s => kubernetes::read(file, &trees(file, text, findings)),
        // It starts nobody.
        Kind::Dnsmasq => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
