//! The same raw gRPC calls to our node and to etcd 3.5: see `tests/differential/README.md`.
//!
//! Here stands what `etcdctl` cannot send and the JSON gateway cannot say: limits, enums out of their lists,
//! damaged transactions, metadata, streams that stay open, clusters that have lost members.

mod message;
mod random;
mod session;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use self::session::Session;
use crate::differential::{setting, subject};
use crate::harness::{Flavor, Node, Service, initial_cluster, scratch};

#[test]
fn keys() {
    check("grpc_keys");
}

#[test]
fn transactions() {
    check("grpc_txn");
}

#[test]
fn watches() {
    check("grpc_watch");
}

#[test]
fn leases() {
    check("grpc_lease");
}

#[test]
fn users() {
    check("grpc_auth");
}

#[test]
fn signed_tokens() {
    check("grpc_jwt");
}

#[test]
fn tokens_that_cannot_be_signed() {
    check("grpc_verify");
}

#[test]
fn maintenance() {
    check("grpc_maintenance");
}

#[test]
fn range_streams() {
    check("grpc_range_stream");
}

#[test]
fn hashes() {
    check("grpc_hash");
}

#[test]
fn quota() {
    check("grpc_quota");
}

#[test]
fn recipes() {
    check("grpc_recipes");
}

#[test]
fn three_members() {
    check("grpc_members");
}

#[test]
fn without_a_majority() {
    check("grpc_leaderless");
}

/// The requests of v3 discovery as nodes of etcd make them, answered by our service as by the etcd that they were
/// recorded with.
#[test]
fn discovery_of_etcd_3_6() {
    check_service("etcd_3_6");
    check_service("etcd_3_6_users");
}

#[test]
fn discovery_of_etcd_3_7() {
    check_service("etcd_3_7");
    check_service("etcd_3_7_users");
}

/// `etcdctl endpoint health` of 3.4 to 3.7: it reads the key `health`, and from 3.5 on the alarms.
#[test]
fn health_as_etcdctl_asks_for_it() {
    check_service("health");
    check_service("health_users");
}

/// Every rule by which a node of v3 discovery can be refused when it registers, but that of the other protocol.
#[test]
fn refusals_as_etcd_3_7_logs_them() {
    check_service("refusals");
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential")
}

/// Runs one script on a fresh cluster and compares, or records with `UPDATE_GOLDENFILES`.
fn check(name: &str) {
    let flavor = subject(Flavor::Etcd35);
    let file = corpus().join(format!("{name}.txt"));
    let recorded = fs::read_to_string(&file).unwrap();
    let dir = scratch();
    let members = setting(&recorded, "members").map_or(1, |count| count.parse().unwrap());
    let flags = setting(&recorded, "flags").unwrap_or_default();
    let Some(mut nodes) = (1..=members)
        .map(|n| Node::new(flavor, &format!("n{n}"), dir.path()))
        .collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let list = initial_cluster(&nodes);
    for node in &mut nodes {
        node.bootstrap = vec![format!("--initial-cluster={list}")];
        // The path of this directory may have spaces.
        let words = flags.split_whitespace();
        node.bootstrap.extend(words.map(|flag| flag.replace("$root", env!("CARGO_MANIFEST_DIR"))));
        node.start();
    }
    nodes.iter_mut().for_each(Node::wait_until_healthy);
    let hidden = setting(&recorded, "hidden");
    let answered = Session::new(flavor, nodes, dir.path(), hidden).run(&recorded);
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        assert_eq!(flavor, Flavor::Etcd35, "only SUBJECT=etcd says what is right");
        fs::write(&file, answered).unwrap();
        return;
    }
    let differences = differences(&recorded, &answered, flavor);
    assert!(differences.is_empty(), "{name}:\n{differences}");
}

/// Runs one script on a fresh discovery service and compares.
fn check_service(name: &str) {
    let recorded = fs::read_to_string(corpus().join(format!("discovery/{name}.txt"))).unwrap();
    let dir = scratch();
    let users = dir.path().join("users");
    let flag = format!("--discovery-users={}", users.display());
    let named = setting(&recorded, "users");
    fs::write(&users, format!("{}\n", named.unwrap_or_default())).unwrap();
    let flags: &[&str] = if named.is_some() { &[&flag] } else { &[] };
    let service = Service::start_with(dir.path(), flags);
    let metadata = setting(&recorded, "metadata").unwrap_or_default();
    let answered = Session::of_service(&service.url(""), metadata).run(&recorded);
    assert!(recorded.matches("\n> ").count() > 1, "{name} has no calls");
    let differences = differences(&recorded, &answered, Flavor::Ours);
    assert!(differences.is_empty(), "{name}:\n{differences}");
}

/// The calls that were not answered as recorded; of ours those with `~` as these lines say.
fn differences(recorded: &str, answered: &str, flavor: Flavor) -> String {
    let mut differences = String::new();
    for (block, seen) in blocks(recorded).iter().zip(&blocks(answered)) {
        let (wanted, seen) = (block.wanted(flavor), seen.answer.trim_end());
        if wanted != seen {
            differences += &format!("recorded: {wanted}\n{flavor:?}: {seen}\n\n");
        }
    }
    differences
}

/// A call and what was answered.
#[derive(Debug, Default)]
struct Block {
    answer: String,
    /// What we answer instead, and why.
    ours: Vec<String>,
}

impl Block {
    fn wanted(&self, flavor: Flavor) -> String {
        let head = self.answer.lines().next().unwrap_or_default();
        let ours: Vec<&str> = self.ours.iter().filter_map(|line| line.strip_prefix("~ ")).collect();
        if flavor != Flavor::Ours || ours.is_empty() {
            return self.answer.trim_end().to_owned();
        }
        format!("{head}\n{}", ours.join("\n"))
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for line in text.lines() {
        if line.starts_with("> ") {
            blocks.push(Block::default());
        }
        let Some(block) = blocks.last_mut() else { continue };
        if line.starts_with('~') {
            block.ours.push(line.to_owned());
        } else if !line.starts_with("# ") && !line.is_empty() {
            block.answer += &format!("{line}\n");
        }
    }
    blocks
}

/// Every method of etcd 3.5 stands in a script.
#[test]
fn every_method_was_asked_of_a_real_etcd() {
    let pool = prost_reflect::DescriptorPool::decode(quorate::proto::DESCRIPTORS).unwrap();
    let scripts: String = files(&corpus(), "txt").concat();
    let mut count = 0;
    for service in pool.services().filter(|service| !service.full_name().starts_with("quorate.")) {
        for method in service.methods() {
            let name = format!("{}/{}", service.full_name(), method.name());
            let name = name.trim_start_matches("etcdserverpb.");
            let asked = |line: &str| line.starts_with("> ") && line.contains(name);
            assert!(scripts.lines().any(asked), "no script has {name}");
            count += 1;
        }
    }
    assert!(count > 45, "{count}");
}

/// What our services can say, somebody has heard a real etcd say.
#[test]
fn every_refusal_was_heard_from_a_real_etcd() {
    let mut texts = BTreeSet::new();
    for source in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/grpc"), "rs") {
        let code = source.split("#[cfg(test)]").next().unwrap();
        let begins = |text: &&str| {
            SPEAKERS.iter().any(|speaker| text.starts_with(speaker)) && !text.contains('{')
        };
        texts.extend(code.split('"').filter(begins).map(str::to_owned));
    }
    assert!(texts.len() > 50, "{texts:?}");
    let mut heard = String::new();
    for recorded in files(&corpus(), "txt") {
        let answers = recorded.lines().filter(|line| !line.starts_with(['#', '~', '>']));
        answers.for_each(|line| heard += &format!("{line}\n"));
    }
    let was_heard = |text: &str| heard.lines().any(|line| says(line, text));
    let silent: Vec<&String> = texts
        .iter()
        .filter(|text| !was_heard(text) && UNHEARD.iter().all(|(unheard, _)| unheard != text))
        .collect();
    assert!(silent.is_empty(), "no recorded file has {silent:#?}");
    for (text, why) in UNHEARD {
        assert!(texts.contains(text) && !was_heard(text), "`{text}` was heard, or is gone: {why}");
    }
}

/// The contents of all files with this ending.
fn files(directory: &Path, ending: &str) -> Vec<String> {
    let mut contents = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            contents.extend(files(&path, ending));
        } else if path.extension().is_some_and(|it| it == ending) {
            contents.push(fs::read_to_string(path).unwrap());
        }
    }
    contents
}

/// Whether the line has the text, and not only one that begins like it.
fn says(line: &str, text: &str) -> bool {
    line.match_indices(text).any(|(at, _)| {
        let after = line[at + text.len()..].chars().next();
        after.is_none_or(|c| matches!(c, '"' | ')' | '\\'))
    })
}

/// How the refusals of etcd's parts begin.
const SPEAKERS: [&str; 5] = ["etcdserver: ", "auth: ", "election: ", "mutex: ", "mvcc: "];

/// Refusals that no script brings about in etcd 3.4.23 and 3.5.1, and why.
const UNHEARD: [(&str, &str); 13] = [
    ("auth: token cannot be signed", "a key that was good when it was read"),
    ("election: observe closed early", "only when the member stops in that moment"),
    (
        "etcdserver: cluster has a downgrade job in progress",
        "a lone 3.5.1 does not come back from that",
    ),
    ("etcdserver: invalid client api version", "3.6 has it first"),
    ("etcdserver: invalid sort option", "3.6 has it first; earlier ones panic"),
    ("etcdserver: leader changed", "a read that waits just then"),
    ("etcdserver: member ID already exist", "ids are made of the time"),
    ("etcdserver: request timed out, possibly due to connection lost", "a matter of milliseconds"),
    (
        "etcdserver: request timed out, possibly due to previous leader failure",
        "a matter of milliseconds",
    ),
    ("etcdserver: revision of auth store is old", "3.5.2 has it first"),
    ("etcdserver: server stopped", "only in the moment of stopping"),
    ("etcdserver: too many requests", "5000 entries have to wait"),
    ("mutex: session is expired", "two at a time: a test of our own has it"),
];
