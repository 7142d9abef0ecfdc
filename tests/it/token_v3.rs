//! Bootstrap by v3 discovery, from our service and from a real etcd's store.

use std::path::Path;
use std::process::Output;

use crate::harness::{
    Flavor, Node, Process, Service, etcdctl, free_port, http, scratch, token_v3_cluster, tools,
    wait,
};
use crate::token::expect_one_cluster;

/// A fresh token without the URL around it.
fn new_token(service: &Service, size: usize) -> String {
    service.new_token(size).rsplit('/').next().unwrap().to_owned()
}

fn endpoint(service: &Service) -> String {
    format!("127.0.0.1:{}", service.http_port)
}

#[test]
fn three_of_ours_from_the_service_and_a_fourth_is_told_full() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let token = new_token(&service, 3);
    let mut nodes = token_v3_cluster(4, &token, &endpoint(&service), dir.path());
    // One that does not answer stands first in the list of one node.
    nodes[1].bootstrap[1] =
        format!("--discovery-endpoints=127.0.0.1:{},http://{}", free_port(), endpoint(&service));
    let mut surplus = nodes.pop().unwrap();
    for node in &mut nodes {
        node.start();
    }
    expect_one_cluster(&mut nodes, &token);
    surplus.start();
    assert_eq!(surplus.process().exit_code(), 1);
    assert!(surplus.log().contains("discovery: cluster is full"), "{}", surplus.log());
    // Logs do not show what lets strangers in.
    let logs = [nodes[0].log(), surplus.log(), service.process.log()].concat();
    assert!(!logs.contains(&token), "the token is in a log");
    let list = http("GET", &service.url(&format!("/{token}/initial-cluster")), None).unwrap();
    assert!(nodes.iter().all(|node| list.body.contains(&node.peer_url())), "{}", list.body);
    // A formed cluster asks nobody.
    drop(service);
    nodes[0].kill();
    nodes[0].start();
    expect_one_cluster(&mut nodes, &token);
}

#[test]
fn a_waiting_v3_node_that_lost_its_disk_still_completes_the_cluster() {
    let dir = scratch();
    let mut service = Service::start(dir.path());
    let token = new_token(&service, 3);
    let mut nodes = token_v3_cluster(3, &token, &endpoint(&service), dir.path());
    nodes[0].start();
    nodes[1].start();
    service.wait_for_waiters(2);
    nodes[1].kill();
    nodes[1].wipe();
    nodes[1].start();
    wait("the wiped node to wait again", || {
        (nodes[1].log().matches("waiting for 1 of 3 members").count() >= 2).then_some(())
    });
    // The watches end with the service and begin again where they were.
    service.process.kill();
    service.restart();
    nodes[2].start();
    expect_one_cluster(&mut nodes, &token);

    // From now on it could vote twice in one term.
    nodes[2].kill();
    nodes[2].wipe();
    nodes[2].start();
    assert_eq!(nodes[2].process().exit_code(), 1);
    let log = nodes[2].log();
    assert!(log.contains("member remove"), "the way out is not named: {log}");
}

/// As our nodes log it.
fn cut(token: &str) -> String {
    format!("{}...", &token[..8])
}

/// The refusal reaches the journal of the node, with both spellings.
#[test]
fn a_v2_node_on_the_token_of_v3_nodes_is_told_so() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let token = new_token(&service, 2);
    let mut nodes = token_v3_cluster(2, &token, &endpoint(&service), dir.path());
    nodes[0].start();
    service.wait_for_waiters(1);
    let url = service.url(&format!("/{token}"));
    let right = std::mem::replace(&mut nodes[1].bootstrap, vec![format!("--discovery={url}")]);
    nodes[1].start();
    assert_eq!(nodes[1].process().exit_code(), 1);
    let log = nodes[1].log();
    assert!(log.contains("Q1023"), "{log}");
    let shown = cut(&token);
    assert!(log.contains(&format!("--discovery-token {shown}")), "{log}");
    assert!(log.contains(&format!("--discovery {}", service.url(&format!("/{shown}")))), "{log}");
    assert!(!log.contains(&token), "whoever knows it can join: {log}");
    nodes[1].bootstrap = right;
    nodes[1].start();
    expect_one_cluster(&mut nodes, &token);
}

/// Scheme, alias and port do not enter v3 ids; slashes around the token and a whole URL do.
#[test]
fn a_v3_node_with_another_spelling_of_the_token_is_told_both() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let token = new_token(&service, 2);
    let mut nodes = token_v3_cluster(2, &token, &endpoint(&service), dir.path());
    for used in [format!("{token}/"), format!("/{token}"), format!("//{token}")] {
        nodes[0].bootstrap[0] = format!("--discovery-token={used}");
        nodes[0].start();
        assert_eq!(nodes[0].process().exit_code(), 1);
        let log = nodes[0].log();
        let shown = cut(&token);
        let used = used.replace(&token, &shown);
        assert!(log.contains("Q1021") && log.contains(&format!("follows from {used}")), "{log}");
        assert!(log.contains(&format!("--discovery-token {shown}")), "{log}");
        nodes[0].wipe();
    }
    nodes[0].bootstrap[0] = format!("--discovery-token={token}");
    nodes[0].bootstrap[1] = nodes[0].bootstrap[1].replace("127.0.0.1", "http://localhost");
    for node in &mut nodes {
        node.start();
    }
    expect_one_cluster(&mut nodes, &token);
}

/// A real etcd that waits for tokens; `None` when it is not installed.
fn store(dir: &Path) -> Option<Node> {
    let mut store = Node::new(Flavor::Etcd34, "store", dir)?;
    store.bootstrap = vec![format!("--initial-cluster=store={}", store.peer_url())];
    store.start();
    store.wait_until_healthy();
    Some(store)
}

#[track_caller]
fn succeeded(output: Option<Output>) -> Option<String> {
    let output = output?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    Some(said)
}

#[test]
fn three_of_ours_from_the_store_of_a_real_etcd() {
    let dir = scratch();
    let Some(store) = store(dir.path()) else { return };
    let token = "any text will do";
    let size = format!("/_etcd/registry/{token}/_config/size");
    if succeeded(etcdctl(&store.client_url(), &["put", &size, "3"])).is_none() {
        return;
    }
    let endpoint = format!("127.0.0.1:{}", store.client_port);
    let mut nodes = token_v3_cluster(4, token, &endpoint, dir.path());
    let mut surplus = nodes.pop().unwrap();
    for node in &mut nodes {
        node.start();
    }
    expect_one_cluster(&mut nodes, token);
    surplus.start();
    assert_eq!(surplus.process().exit_code(), 1);
    assert!(surplus.log().contains("discovery: cluster is full"), "{}", surplus.log());
    // A token that nobody made can be made there.
    surplus.wipe();
    surplus.bootstrap[0] = "--discovery-token=another".to_owned();
    surplus.start();
    assert_eq!(surplus.process().exit_code(), 1);
    let log = surplus.log();
    assert!(log.contains("size key not found"), "{log}");
    assert!(log.contains("etcdctl put /_etcd/registry/<token>/_config/size 3"), "{log}");
    let members = format!("/_etcd/registry/{token}/members");
    let listed = etcdctl(&store.client_url(), &["get", "--prefix", &members]);
    let listed = succeeded(listed).unwrap();
    assert!(nodes.iter().all(|node| listed.contains(&node.peer_url())), "{listed}");
}

#[test]
fn one_of_ours_from_a_store_with_users() {
    let dir = scratch();
    let Some(store) = store(dir.path()) else { return };
    for command in [
        &["put", "/_etcd/registry/t/_config/size", "1"][..],
        &["user", "add", "root:secret-word"],
        &["user", "grant-role", "root", "root"],
        &["auth", "enable"],
    ] {
        if succeeded(etcdctl(&store.client_url(), command)).is_none() {
            return;
        }
    }
    let endpoint = format!("127.0.0.1:{}", store.client_port);
    let mut nodes = token_v3_cluster(1, "t", &endpoint, dir.path());
    let user = ["--discovery-user=root", "--discovery-password=secret-word"];
    nodes[0].bootstrap.extend(user.map(str::to_owned));
    nodes[0].start();
    expect_one_cluster(&mut nodes, "t");
    assert!(!nodes[0].log().contains("secret-word"), "the password is in the log");
}

#[test]
fn etcdctl_sees_and_makes_tokens() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let url = service.url("");
    let token = new_token(&service, 1);
    let root = format!("/_etcd/registry/{token}");
    let size = format!("{root}/_config/size");
    let Some(said) = succeeded(etcdctl(&url, &["get", &size])) else { return };
    assert_eq!(said, format!("{size}\n1\n"));
    let mut watch = Process::start(
        "watch",
        &tools::etcdctl().unwrap(),
        &[&format!("--endpoints={url}"), "watch", "--prefix", "--rev=1", &root],
        &[("ETCDCTL_API", "3".to_owned())],
        dir.path(),
    );
    watch.wait_for_log(&size);
    let mut nodes = token_v3_cluster(1, &token, &endpoint(&service), dir.path());
    nodes[0].start();
    expect_one_cluster(&mut nodes, &token);
    watch.wait_for_log(&nodes[0].peer_url());
    assert!(watch.is_running());
    let listed = succeeded(etcdctl(&url, &["get", "--prefix", &root])).unwrap();
    assert!(listed.contains(&format!("{root}/members/")), "{listed}");

    let made = "6c007a14875d53d9bf0ef5a6fc0257c817f0fb83";
    let made_size = format!("/_etcd/registry/{made}/_config/size");
    assert_eq!(succeeded(etcdctl(&url, &["put", &made_size, "3"])).unwrap(), "OK\n");
    let size = http("GET", &service.url(&format!("/{made}/_config/size")), None).unwrap();
    assert!(size.body.contains("\"value\":\"3\""), "{}", size.body);
    for (command, text) in [
        (&["put", &made_size, "5"][..], "Q1003"),
        (&["put", &made_size, "x"], "[request "),
        (&["get", "--prefix", "/_etcd/registry/"], "code = PermissionDenied"),
        (&["put", "foo", "bar"], "code = PermissionDenied"),
        (&["del", &made_size], "code = Unimplemented"),
    ] {
        let output = etcdctl(&url, command).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(text), "{command:?}: {said}");
    }
}
