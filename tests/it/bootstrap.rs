//! What a node refuses before it joins anything, and data directories that are not its own.

use std::fs;
use std::path::Path;

use crate::harness::{Flavor, Node, Process, free_port, initial_cluster, scratch, static_cluster};

const NODE: &str = env!("CARGO_BIN_EXE_quorate-node");

/// Runs a node that must end by itself; its exit code and everything it printed.
fn refused(flags: &[&str]) -> (i32, String) {
    let dir = scratch();
    let mut flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    flags.push(format!("--data-dir={}", dir.path().join("d").display()));
    let mut node = Process::start("node", Path::new(NODE), &flags, &[], dir.path());
    // Log lines are JSON; the texts are compared as people read them.
    (node.exit_code(), node.log().replace("\\\"", "\""))
}

#[track_caller]
fn check(flags: &[&str], code: i32, text: &str) {
    let (seen, log) = refused(flags);
    assert!(log.contains(text), "{flags:?}\nwanted: {text}\nprinted: {log}");
    assert_eq!(seen, code, "{flags:?}: {log}");
    assert!(!log.contains("panicked"), "{log}");
}

/// Flags for a node on ports of its own, called n1, that advertises `http://127.0.0.1:3001`.
fn with(more: &[&'static str]) -> Vec<&'static str> {
    let mut flags = vec![
        "--name=n1",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--listen-client-urls=http://127.0.0.1:0",
        "--advertise-client-urls=http://127.0.0.1:4001",
        "--initial-advertise-peer-urls=http://127.0.0.1:3001",
    ];
    flags.extend(more);
    flags
}

#[test]
fn member_lists_that_are_wrong() {
    let prefix = "error setting up initial cluster: ";
    let cases = [
        (
            "n1=127.0.0.1:3001",
            "parse \"127.0.0.1:3001\": first path segment in URL cannot contain colon",
        ),
        ("n1=http://127.0.0.1:3001/", "URL must not contain a path: http://127.0.0.1:3001/"),
        (
            "n1=http://127.0.0.1",
            "URL address does not have the form \"host:port\": http://127.0.0.1",
        ),
        (
            "n1=ftp://127.0.0.1:3001",
            "URL scheme must be http, https, unix, or unixs: ftp://127.0.0.1:3001",
        ),
        ("n1", "URL scheme must be http, https, unix, or unixs: "),
    ];
    for (list, text) in cases {
        let flag = format!("--initial-cluster={list}");
        let mut flags = with(&[]);
        flags.push(&flag);
        let (code, log) = refused(&flags);
        assert!(log.contains(&format!("{prefix}{text}")), "{list}: {log}");
        assert_eq!(code, 1, "{list}: {log}");
    }
}

#[test]
fn lists_that_do_not_fit_this_node() {
    check(
        &with(&["--initial-cluster=n2=http://127.0.0.1:3001"]),
        1,
        "couldn't find local name \"n1\" in the initial cluster configuration",
    );
    check(
        &with(&["--initial-cluster=n1=http://127.0.0.1:3099"]),
        1,
        "--initial-cluster has n1=http://127.0.0.1:3099 but missing from \
         --initial-advertise-peer-urls=http://127.0.0.1:3001",
    );
    check(
        &with(&["--initial-cluster=n1=http://127.0.0.1:3001,n2=http://127.0.0.1:3001"]),
        1,
        "initial cluster n1=http://127.0.0.1:3001,n2=http://127.0.0.1:3001 has duplicate url",
    );
}

/// Its members would wait for a peer that cannot speak with them.
#[test]
fn a_cluster_of_etcd_is_not_joined() {
    for flavor in [Flavor::Etcd34, Flavor::Etcd35] {
        let dir = scratch();
        let Some(nodes) = static_cluster(&[flavor], dir.path()) else { continue };
        let mut node = Node::new(Flavor::Ours, "ours", dir.path()).unwrap();
        nodes[0].client().add_member(node.peer_url()).unwrap();
        let list = format!("{},ours={}", initial_cluster(&nodes), node.peer_url());
        let existing = "--initial-cluster-state=existing".to_owned();
        node.bootstrap = vec![format!("--initial-cluster={list}"), existing];
        assert_eq!(node.start().exit_code(), 1);
        let log = node.log();
        let told = format!("the member at {} is one of etcd", nodes[0].peer_url());
        assert!(log.contains(&told) && log.contains("etcdctl member remove"), "{log}");
    }
}

#[test]
fn flags_that_contradict_each_other() {
    check(
        &with(&["--initial-cluster=n1=http://127.0.0.1:3001", "--discovery=http://127.0.0.1:1/x"]),
        1,
        "multiple discovery or bootstrap flags are set",
    );
    check(
        &with(&["--initial-cluster-state=existing", "--discovery=http://127.0.0.1:1/x"]),
        1,
        "discovery URL should not be set when joining existing initial cluster",
    );
    check(&with(&["--initial-cluster-state=old"]), 2, "initial-cluster-state");
    check(&with(&["--discovery-fallback=foo", "--discovery=http://h/x"]), 2, "discovery-fallback");
    check(&with(&["--no-such-flag=1"]), 2, "no-such-flag");
    check(&with(&["--heartbeat-interval=abc"]), 2, "heartbeat-interval");
    check(&["--name=n1", "--listen-peer-urls=http://foo.example:3001"], 1, "expected IP in URL");
    check(
        &["--name=n1", "--initial-advertise-peer-urls=http://:3001"],
        1,
        "must be \"host:port\" (unexpected empty host (http://:3001))",
    );
    check(
        &["--name=n1", "--listen-client-urls=http://:3001"],
        1,
        "expected IP in URL for binding (http://:3001)",
    );
}

#[test]
fn yaml_files_that_are_wrong() {
    let dir = scratch();
    let cases = [
        ("name: [a, b", "yaml"),
        ("heartbeat-interval: soon", "heartbeat-interval"),
        ("listen-client-urls: 127.0.0.1:2379", "127.0.0.1:2379"),
    ];
    for (text, named) in cases {
        let file = dir.path().join("node.yml");
        fs::write(&file, text).unwrap();
        let flag = format!("--config-file={}", file.display());
        let mut node = Process::start("node", Path::new(NODE), &[flag], &[], dir.path());
        assert_ne!(node.exit_code(), 0, "{text}");
        let log = node.log();
        assert!(log.to_lowercase().contains(named), "{text}\n{log}");
        assert!(!log.contains("panicked"), "{log}");
        fs::remove_file(dir.path().join("node.log")).unwrap();
    }
    let missing = ["--config-file=/nowhere/at/all.yml"];
    let mut node = Process::start("node", Path::new(NODE), &missing, &[], dir.path());
    assert_ne!(node.exit_code(), 0);
    assert!(node.log().contains("/nowhere/at/all.yml"), "{}", node.log());
}

#[test]
fn an_unknown_token_is_refused_with_the_reason() {
    let dir = scratch();
    let service = crate::harness::Service::start(dir.path());
    let url = service.url("/0123456789abcdef0123456789abcdef");
    let mut node = Node::new(Flavor::Ours, "n1", dir.path()).unwrap();
    node.bootstrap = vec![format!("--discovery={url}")];
    node.start();
    assert_eq!(node.process().exit_code(), 1);
    assert!(node.log().contains("100: Key not found"), "{}", node.log());
}

#[test]
fn an_occupied_port_is_named() {
    let dir = scratch();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let mut node = Node::new(Flavor::Ours, "n1", dir.path()).unwrap();
    node.client_port = port;
    node.bootstrap = vec![format!("--initial-cluster=n1={}", node.peer_url())];
    node.start();
    assert_eq!(node.process().exit_code(), 1);
    let text = format!("listen tcp 127.0.0.1:{port}: bind: address already in use");
    assert!(node.log().contains(&text), "{}", node.log());
}

#[test]
fn a_data_directory_in_use_is_named() {
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours; 1], dir.path()).unwrap();
    let mut flags = nodes[0].flags();
    for flag in &mut flags {
        if flag.contains("-urls=") {
            *flag = format!("{}=http://127.0.0.1:{}", flag.split('=').next().unwrap(), free_port());
        }
    }
    flags.retain(|flag| !flag.starts_with("--initial-"));
    let mut second = Process::start("second", Path::new(NODE), &flags, &[], dir.path());
    assert_eq!(second.exit_code(), 1);
    let log = second.log();
    assert!(log.contains(&nodes[0].data_dir().display().to_string()), "{log}");
    assert!(log.contains("in use") || log.contains("another process"), "{log}");
    assert!(nodes[0].process().is_running() && nodes[0].is_healthy(), "the first is not disturbed");
}

/// The data stays what it was: flags for another cluster are ignored, loudly.
#[test]
fn a_data_directory_of_another_cluster_is_said_aloud() {
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours; 1], dir.path()).unwrap();
    nodes[0].client().put("k", "v").unwrap();
    let (cluster, members) = nodes[0].client().members().unwrap();
    nodes[0].process().stop();
    nodes[0].bootstrap = vec![
        format!("--initial-cluster={},other=http://127.0.0.1:1", initial_cluster(&nodes)),
        "--initial-cluster-token=another".to_owned(),
    ];
    nodes[0].start();
    nodes[0].wait_until_healthy();
    assert_eq!(nodes[0].client().get("k").unwrap().as_deref(), Some("v"));
    let log = nodes[0].log();
    assert!(log.contains(&format!("{cluster:x}")) && log.contains("ignored"), "{log}");
    assert_eq!(nodes[0].client().members().unwrap(), (cluster, members));
}

/// Every file of the member, damaged in its first bytes: a sentence, never a panic, never silence.
#[test]
fn damaged_files_are_refused_by_name() {
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours; 1], dir.path()).unwrap();
    for n in 0..50 {
        nodes[0].client().put(&format!("k{n}"), "v").unwrap();
    }
    nodes[0].process().stop();
    let log = first_file(&nodes[0].data_dir().join("member/wal"));
    let sound = fs::read(&log).unwrap();
    let mut damaged = sound.clone();
    damaged[..8].fill(0xff);
    fs::write(&log, &damaged).unwrap();
    nodes[0].start();
    assert_ne!(nodes[0].process().exit_code(), 0);
    let said = nodes[0].log();
    assert!(said.contains(log.file_name().unwrap().to_str().unwrap()), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    fs::write(&log, &sound).unwrap();
    nodes[0].start();
    nodes[0].wait_until_healthy();
    assert_eq!(nodes[0].client().get("k49").unwrap().as_deref(), Some("v"));
}

fn first_file(dir: &Path) -> std::path::PathBuf {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.is_file());
    files.sort();
    files.into_iter().next().expect("a member has a log")
}
