//! Flags that a release of etcd does not have, or will not have much longer.

use super::super::finding::Finding;
use super::super::member::{Member, Setting};
use super::super::start::Program;
use crate::config::node::{self, Source};
use crate::discovery_server::Release;

/// The releases that are spoken of when nobody says which.
const ALL: [u8; 4] = [4, 5, 6, 7];

pub(super) fn check(member: &Member, findings: &mut Vec<Finding>) {
    match member.program {
        Program::Quorate => {}
        Program::Etcd(Some(release)) => {
            let Some(minor) = minor(release) else { return };
            findings.extend(member.settings().filter_map(|it| in_release(member, it, minor)));
        }
        Program::Any | Program::Etcd(None) => {
            findings.extend(member.settings().filter_map(|it| in_some(member, it)));
        }
    }
}

fn minor(release: Release) -> Option<u8> {
    release.version().strip_prefix("3.")?.parse().ok()
}

/// What one release does with a setting.
fn in_release(member: &Member, setting: &Setting, minor: u8) -> Option<Finding> {
    let (name, called) = (setting.flag.name, member.called(setting.flag.name));
    let minors = node::minors(name);
    if minors.is_none() && setting.source == Source::File {
        // A key of the file only.
        return None;
    }
    let Some(minors) = minors.filter(|minors| minors.contains(&minor)) else {
        let text = match setting.source {
            Source::Flag => {
                format!("etcd 3.{minor} has no {called}, and does not start with it")
            }
            _ => format!("etcd 3.{minor} has no {called}, and goes on without it"),
        };
        return Some(Finding::error("not-in-release", &setting.place, text, instead(name, minor)));
    };
    let deprecation = node::deprecation(name, minor)?;
    let last = deprecation.gone;
    let text = format!("etcd 3.{minor} calls {called} deprecated, and 3.{last} does not have it");
    let advice = match &deprecation.instead {
        Some(instead) => format!("write {instead}"),
        None => format!("take it out before the upgrade from 3.{}", minors.end()),
    };
    Some(Finding::warning("deprecated", &setting.place, text, advice))
}

/// What to do about a flag that a release does not have.
fn instead(name: &str, minor: u8) -> String {
    let older = minor.checked_sub(1).and_then(|minor| node::deprecation(name, minor));
    match (name, older.and_then(|it| it.instead)) {
        ("discovery-token" | "discovery-endpoints", _) => {
            "write --discovery=URL as `quorate new` prints it".to_owned()
        }
        (_, Some(instead)) => format!("write {instead}"),
        (_, None) => "take it out".to_owned(),
    }
}

/// A flag that some releases have and others do not.
fn in_some(member: &Member, setting: &Setting) -> Option<Finding> {
    let (name, called) = (setting.flag.name, member.called(setting.flag.name));
    let Some(minors) = node::minors(name) else {
        let is_etcd = member.program != Program::Any && setting.source == Source::Flag;
        return is_etcd.then(|| {
            let text = format!("{called} is a flag of quorate-node, and no etcd has it");
            Finding::error("unknown-flag", &setting.place, text, "take it out")
        });
    };
    if minors == (ALL[0]..=ALL[3]) {
        return None;
    }
    let having: Vec<String> = minors.map(|minor| format!("3.{minor}")).collect();
    let have = if having.len() == 1 { "has" } else { "have" };
    let text = format!("of etcd 3.4 to 3.7 only {} {have} {called}", having.join(", "));
    let advice = "say which release it is with --etcd RELEASE";
    Some(Finding::warning("some-releases", &setting.place, text, advice))
}
