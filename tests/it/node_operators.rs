//! What somebody who runs nodes sees when something is wrong: each test is a mistake that is made.

use crate::harness::{
    Flavor, Node, http, initial_cluster, leader, scratch, static_cluster_with, wait,
};

fn count(node: &Node, text: &str) -> usize {
    node.log().matches(text).count()
}

fn nodes(names: &[&str], dir: &std::path::Path) -> Vec<Node> {
    names.iter().map(|name| Node::new(Flavor::Ours, name, dir).unwrap()).collect()
}

/// Two clusters that call each other by mistake: once said, not forty times in a second.
#[test]
fn a_peer_of_another_cluster_is_told_of_once() {
    let dir = scratch();
    let mut nodes = nodes(&["n1", "n2"], dir.path());
    let list = initial_cluster(&nodes);
    for (node, token) in nodes.iter_mut().zip(["one", "two"]) {
        node.bootstrap =
            vec![format!("--initial-cluster={list}"), format!("--initial-cluster-token={token}")];
    }
    // Each founds its own while the other is away; who founds while it runs is refused.
    nodes[1].start().wait_for_log("serving peer traffic");
    nodes[1].kill();
    nodes[0].start().wait_for_log("serving peer traffic");
    nodes[1].start();
    wait("several attempts", || {
        (count(&nodes[1], "request cluster ID mismatch") >= 8).then_some(())
    });
    let said = count(&nodes[0], "cluster ID mismatch: this member is of cluster");
    assert_eq!(said, 1, "{}", nodes[0].log());
    for node in &nodes {
        assert_eq!(count(node, "peer became active"), 0, "{}", node.log());
        assert!(count(node, "peer is unreachable") <= 4, "{}", node.log());
    }
}

#[test]
fn a_peer_says_why_it_ends_a_connection() {
    let dir = scratch();
    let mut nodes = nodes(&["n1", "n2", "n3"], dir.path());
    let plain = initial_cluster(&nodes);
    let secure = plain.replace("http://", "https://");
    for (node, list) in nodes.iter_mut().zip([&secure, &secure, &plain]) {
        node.bootstrap = vec![format!("--initial-cluster={list}")];
        if *list == secure {
            let url = node.peer_url().replace("http://", "https://");
            node.bootstrap.extend([
                "--peer-auto-tls".to_owned(),
                format!("--listen-peer-urls={url}"),
                format!("--initial-advertise-peer-urls={url}"),
            ]);
        }
    }
    // Nobody has a certificate of that name, so the first refuses what the second shows.
    nodes[0].bootstrap.push("--peer-cert-allowed-cn=nobody".to_owned());
    for node in &mut nodes {
        node.start();
    }
    nodes[1].process().wait_for_log("remote error: tls: ");
    nodes[2].process().wait_for_log("the other end speaks TLS: its URL should begin with https://");
}

/// One of three alone cannot decide anything, but it can be asked how it is and what it holds.
#[test]
fn a_member_without_the_others_can_be_looked_into() {
    let dir = scratch();
    let mut nodes = nodes(&["n1", "n2", "n3"], dir.path());
    let list = initial_cluster(&nodes);
    for node in &mut nodes {
        node.bootstrap = vec![
            format!("--initial-cluster={list}"),
            "--experimental-wait-cluster-ready-timeout=1s".to_owned(),
        ];
    }
    nodes[0].start().wait_for_log("timed out waiting for the ready notification");
    let url = nodes[0].client_url();
    let health = wait("an answer", || http("GET", &format!("{url}/health"), None).ok());
    assert_eq!((health.status, health.body.trim()), (503, NO_LEADER));
    assert!(nodes[0].log().contains("serving /health false"), "{}", nodes[0].log());
    let body = r#"{"key":"YQ==","serializable":true}"#;
    let held = http("POST", &format!("{url}/v3/kv/range"), Some(body)).unwrap();
    assert_eq!(held.status, 200, "{}", held.body);
    let status = nodes[0].client().status().unwrap();
    assert_eq!((status.leader, &*status.errors[0]), (0, "etcdserver: no leader"));
    nodes[1].start();
    nodes[0].wait_until_healthy();
    nodes[0].client().put("a", "b").unwrap();
}

/// With one of three down the second is needed; the one that is down may go.
#[test]
fn nobody_is_removed_whom_the_quorum_needs() {
    let dir = scratch();
    let mut nodes = static_cluster_with(&[Flavor::Ours; 3], dir.path(), &[]).unwrap();
    let leads = leader(&nodes);
    let (needed, gone) = ((leads + 1) % 3, (leads + 2) % 3);
    let client = nodes[leads].client();
    let members = client.members().unwrap().1;
    let id = |at: usize| members.iter().find(|member| member.name == nodes[at].name).unwrap().id;
    let (needed, gone_id) = (id(needed), id(gone));
    nodes[gone].kill();
    wait("a write without it", || client.put("a", "1").ok());
    for attempt in 0..3 {
        let refused = client.remove_member(needed).unwrap_err();
        assert!(
            refused.message().contains("etcdserver: unhealthy cluster"),
            "{attempt}: {refused}"
        );
    }
    wait("the removal of who is down", || client.remove_member(gone_id).ok());
    client.put("a", "2").unwrap();
    assert_eq!(client.members().unwrap().1.len(), 2);
}

const NO_LEADER: &str = r#"{"health":"false","reason":"RAFT NO LEADER"}"#;

#[test]
fn calls_that_take_long_are_logged() {
    let dir = scratch();
    let flags =
        ["--experimental-warning-unary-request-duration=1ns", "--max-request-bytes=20000000"];
    let nodes = static_cluster_with(&[Flavor::Ours], dir.path(), &flags).unwrap();
    nodes[0].client().put("secret-key", "secret-value").unwrap();
    let log = wait("the line", || {
        let log = nodes[0].log();
        log.contains(r#""response-type":"/etcdserverpb.KV/Put""#).then_some(log)
    });
    assert!(log.contains(r#""msg":"request stats""#) && log.contains(r#""code":"Ok""#), "{log}");
    assert!(!log.contains("secret"), "{log}");
    assert!(log.contains("exceeded recommended request limit"), "{log}");
}

/// kubeadm's line with etcd 3.6 means what it says, so nothing is said about it.
#[test]
fn features_that_are_honoured_are_not_complained_about() {
    let dir = scratch();
    let flags = ["--feature-gates=InitialCorruptCheck=true", "--watch-progress-notify-interval=5s"];
    let nodes = static_cluster_with(&[Flavor::Ours], dir.path(), &flags).unwrap();
    let log = nodes[0].log();
    assert!(log.contains("initial corruption checking passed"), "{log}");
    assert!(!log.contains("\"level\":\"warn\""), "{log}");
}
