//! What the configuration of the node says about settings, with a code and a way out.

use super::finding::Finding;
use super::member::Member;
use super::start::Program;
use crate::cli::predict::LIST_SHAPE;
use crate::config::node::{self, Note, Problem};

/// Ways out by code: of problems that begin with one of these texts, or have it in them.
const WAYS: [(&str, &str, &str); 16] = [
    (
        "expected IP in URL for binding",
        "listen-on-name",
        "names cannot be listened on; write an address of the machine, or 0.0.0.0 for all of them",
    ),
    ("must not be empty", "empty", "write a URL, such as http://10.0.0.1:2380"),
    (
        "is required when --listen-client-urls",
        "advertise-missing",
        "say under which URLs clients reach this member, --advertise-client-urls",
    ),
    ("multiple discovery or bootstrap", "two-ways", "keep one of them and take the others out"),
    ("both v2 discovery", "two-ways", "keep those of one protocol and take the others out"),
    (
        "should not be set when joining existing",
        "two-ways",
        "a member that joins later is given --initial-cluster with all members",
    ),
    ("error setting up initial cluster", "initial-cluster", LIST_SHAPE),
    (
        "failed to join discovery cluster",
        "discovery-url",
        "take the URL that `quorate new` printed, to the letter",
    ),
    (
        "should be at least as 5 times",
        "timing",
        "make --election-timeout five heartbeats or more, ten are usual",
    ),
    ("is too long, and should be set", "timing", "an election may take 50000 at most"),
    ("must be provided for client url", "https-without-certificate", CERTIFICATE),
    ("are not presented", "https-without-certificate", CERTIFICATE),
    ("must both be present", "half-a-pair", "name the certificate and its key"),
    ("must be provided for metrics", "https-without-certificate", CERTIFICATE),
    ("both --discovery-token and", "half-a-pair", "say both of them"),
    ("must be set together", "half-a-pair", "say both of them"),
];

const CERTIFICATE: &str = "name a certificate and its key, as `quorate certs node` makes them, or \
                           write http://";

/// What to do about a problem, where it does not say so itself.
pub(in crate::cli) fn way_out(problem: &Problem) -> Option<&'static str> {
    let text = problem.to_string();
    way(&text).map(|(_, _, advice)| *advice)
}

fn way(text: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    WAYS.iter().find(|(part, ..)| text.contains(part))
}

/// Asks the configuration of the node about all settings of a member together.
pub(super) fn check(member: &Member, findings: &mut Vec<Finding>) {
    let (problems, notes) = node::judge(member.given());
    findings.extend(problems.iter().filter_map(|problem| of_problem(member, problem)));
    findings.extend(notes.iter().filter_map(|note| of_note(member, note)));
}

/// The finding of a problem, unless it is about something that is not known here.
fn of_problem(member: &Member, problem: &Problem) -> Option<Finding> {
    let names = problem.settings();
    let given = |name: &&&'static str| member.setting(name).is_some();
    let is_unknown = |name: &&str| member.setting(name).is_some_and(|it| !it.word.is_known());
    // What seems to be missing may be said where it cannot be seen.
    let may_be_said = member.open && !names.first().is_some_and(|name| given(&name));
    let text = problem.to_string();
    let way = way(&text);
    // Two ways are two, whatever is said about each.
    let by_value = !matches!(way, Some((_, "two-ways", _)));
    if (by_value && names.iter().any(is_unknown)) || may_be_said {
        return None;
    }
    // Only members of our own keep to TCP.
    if text.contains("not over a Unix socket") && member.program != Program::Quorate {
        return None;
    }
    let place = names.iter().find(given).map_or(&member.place, |name| member.place_of(name));
    let (code, advice) = match (way, names.first()) {
        (Some((_, code, advice)), _) => (*code, (*advice).to_owned()),
        (None, Some(name)) => ("value", meaning(name)),
        (None, None) => ("value", "`quorate-node --help` tells what settings mean".to_owned()),
    };
    Some(Finding::error(code, place, text, advice))
}

/// What a setting takes.
fn meaning(name: &str) -> String {
    let flag = node::flags().find(|flag| flag.name == name);
    let help = flag.map_or("", |flag| flag.help).trim_end_matches('.');
    match flag.map(|flag| flag.kind) {
        Some(node::Kind::Bool) => format!("--{name} is `true` or `false`"),
        Some(node::Kind::Duration) => format!("--{name} is a duration such as 5s or 1h: {help}"),
        Some(node::Kind::Int | node::Kind::Uint) => format!("--{name} is a number: {help}"),
        _ if help.is_empty() => format!("`quorate-node --help` tells what --{name} means"),
        _ => format!("--{name}: {help}"),
    }
}

/// The finding of a note, if it is one for this program.
fn of_note(member: &Member, note: &Note) -> Option<Finding> {
    let place = |name: &str| member.place_of(name.split(['=', ' ', ',']).next().unwrap_or(name));
    let is_quorate = member.program == Program::Quorate;
    Some(match note {
        Note::WithoutEffect { setting, meaning } if is_quorate => Finding::warning(
            "no-effect",
            place(setting),
            format!("--{setting} has no effect on quorate-node"),
            meaning.clone(),
        ),
        Note::Deprecated { setting, instead } if is_quorate => Finding::warning(
            "deprecated",
            place(setting),
            format!("--{setting} is an older name"),
            format!("write --{instead}"),
        ),
        Note::Instead { setting, meaning } => Finding::warning(
            "odd-value",
            place(setting),
            format!("--{setting} is accepted and means something else: {meaning}"),
            "write what you mean",
        ),
        Note::BcryptCost { given } => Finding::warning(
            "odd-value",
            place("bcrypt-cost"),
            format!("--bcrypt-cost={given} is no cost that bcrypt knows, and 10 is taken"),
            "write a number from 4 to 31",
        ),
        Note::Ignored { setting } => Finding::warning(
            "no-effect",
            place(setting),
            format!("--{setting} does nothing since etcd 3"),
            "take it out",
        ),
        Note::NothingEncrypted { port, url, settings, .. } => Finding::warning(
            "not-encrypted",
            member.place_of(listening(port)),
            format!("{url} is not encrypted, which leaves {} without effect", settings.join(", ")),
            "write https:// in all URLs of this port, or take the certificates out",
        ),
        Note::NoAutoTls { port } => Finding::warning(
            "no-effect",
            place(if *port == "peer" { "peer-auto-tls" } else { "auto-tls" }),
            format!("certificates of the {port} port are given, and none is made"),
            "take --auto-tls or the certificate out",
        ),
        _ => return None,
    })
}

fn listening(port: &str) -> &'static str {
    if port == "peer" { "listen-peer-urls" } else { "listen-client-urls" }
}
