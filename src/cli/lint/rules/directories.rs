//! Where data are kept.

use super::super::finding::Finding;
use super::super::member::Member;
use super::super::start::Host;
use super::super::word::Word;
use crate::config::node::Source;

/// Directories that are empty after a start of the machine, or after a while.
const TEMPORARY: [&str; 5] = ["/tmp", "/var/tmp", "/dev/shm", "/run", "/var/run"];

pub(super) fn check(member: &Member, findings: &mut Vec<Finding>) {
    for name in ["data-dir", "wal-dir"] {
        let Some(setting) = member.setting(name) else { continue };
        // A path that begins with a variable can be anywhere.
        if setting.word.begins_unknown() {
            continue;
        }
        let path = setting.word.shown();
        let called = member.called(name);
        let is_in = |root: &&str| path == **root || path.starts_with(&format!("{root}/"));
        if let Some(root) = TEMPORARY.iter().find(|root| is_in(root)) {
            let text = format!("{called} is below {root}, where data do not stay");
            let advice = "take a directory such as /var/lib/etcd";
            findings.push(Finding::warning("data-dir-temporary", &setting.place, text, advice));
        } else if !path.starts_with('/') && is_elsewhere(member, setting.source) {
            let text = format!("{called} is `{path}`, relative to wherever the member is started");
            let advice = "write a path from the root, such as /var/lib/etcd";
            findings.push(Finding::warning("data-dir-relative", &setting.place, text, advice));
        }
    }
    default_of_a_service(member, findings);
    container(member, findings);
}

/// Whether it is not to be seen from which directory a member is started.
fn is_elsewhere(member: &Member, source: Source) -> bool {
    match &member.host {
        Host::Shared => false,
        Host::Service { directory } => directory.is_none(),
        Host::Container { .. } => true,
        // Who types a command knows where.
        Host::Machine => source != Source::Flag,
    }
}

/// systemd starts in the root directory unless it is told another one.
fn default_of_a_service(member: &Member, findings: &mut Vec<Finding>) {
    let in_root = matches!(&member.host, Host::Service { directory: None });
    if in_root && member.setting("data-dir").is_none() && !member.open {
        let text = "without --data-dir the data are in the directory in which systemd starts, `/`";
        let advice = "write --data-dir=/var/lib/etcd";
        findings.push(Finding::warning("data-dir-relative", &member.place, text, advice));
    }
}

/// What a container does not keep outside is gone with it.
fn container(member: &Member, findings: &mut Vec<Finding>) {
    let Host::Container { volumes: Some(volumes), .. } = &member.host else { return };
    let path = match member.setting("data-dir") {
        Some(setting) => setting.word.text(),
        None if member.open => None,
        None => member.name().map(|name| format!("{name}.etcd")),
    };
    let Some(path) = path else { return };
    // The image of this project keeps the directory in which it starts.
    let holds = |volume: &Word| match volume.text() {
        None => true,
        Some(volume) => {
            let volume = volume.trim_end_matches('/');
            path == volume || path.starts_with(&format!("{volume}/"))
        }
    };
    if path.starts_with('/') && !volumes.iter().any(holds) {
        let text = format!("data are kept in {path}, which goes with the container");
        let advice = format!("mount a volume there, such as `etcd-data:{path}`");
        let place = member.place_of("data-dir");
        findings.push(Finding::warning("data-not-kept", place, text, advice));
    }
}
