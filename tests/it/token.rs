//! Bootstrap by discovery token, for our nodes and for real ones.

use std::sync::{Arc, Barrier};

use quorate::membership::MemberId;

use crate::harness::{
    Flavor, Node, Service, cluster_id, http, scratch, token_cluster, tools, wait,
};

/// Starts nodes of these kinds on one token and expects one cluster of all of them.
fn forms_one_cluster(flavors: &[Flavor]) {
    let dir = scratch();
    let service = Service::start(dir.path());
    let url = service.new_token(flavors.len());
    let Some(mut nodes) = token_cluster(flavors, &url, dir.path()) else { return };
    for node in &mut nodes {
        node.start();
    }
    expect_one_cluster(&mut nodes, &url);
}

/// Waits for one cluster with the ids that this URL or token gives, and writes through each node.
pub(super) fn expect_one_cluster(nodes: &mut [Node], url: &str) {
    nodes.iter_mut().for_each(Node::wait_until_healthy);
    let expected = cluster_id(nodes, url);
    for node in nodes.iter() {
        let (cluster, members) = node.client().members().unwrap();
        assert_eq!(cluster, expected, "{}", node.name);
        assert_eq!(members.len(), nodes.len(), "{}", node.name);
        let key = format!("through-{}", node.name);
        node.client().put(&key, "v").unwrap();
        for reader in nodes.iter() {
            assert_eq!(reader.client().get(&key).unwrap().as_deref(), Some("v"));
        }
    }
}

#[test]
fn three_of_ours() {
    forms_one_cluster(&[Flavor::Ours; 3]);
}

#[test]
fn one_and_five_of_ours() {
    forms_one_cluster(&[Flavor::Ours; 1]);
    forms_one_cluster(&[Flavor::Ours; 5]);
}

#[test]
fn three_real_etcd_3_4() {
    forms_one_cluster(&[Flavor::Etcd34; 3]);
}

#[test]
fn three_real_etcd_3_5() {
    forms_one_cluster(&[Flavor::Etcd35; 3]);
}

#[test]
fn real_etcd_3_4_and_3_5_mixed() {
    forms_one_cluster(&[Flavor::Etcd34, Flavor::Etcd35, Flavor::Etcd34]);
}

/// Peers of both kinds do not replicate to each other, but one token gives all of them the same
/// members, in the same order, and so the same cluster id.
#[test]
fn a_token_shared_with_real_etcd_gives_one_membership() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let url = service.new_token(3);
    let kinds = [Flavor::Ours, Flavor::Etcd34, Flavor::Etcd35];
    let Some(mut nodes) = token_cluster(&kinds, &url, dir.path()) else { return };
    for node in &mut nodes {
        node.start();
    }
    let id = format!("{:x}", cluster_id(&nodes, &url));
    for node in &mut nodes {
        node.process().wait_for_log(&id);
    }
}

#[test]
fn the_service_is_killed_while_two_nodes_wait() {
    for kinds in [[Flavor::Ours; 3], [Flavor::Etcd34; 3], [Flavor::Etcd35; 3]] {
        let dir = scratch();
        let mut service = Service::start(dir.path());
        let url = service.new_token(3);
        let Some(mut nodes) = token_cluster(&kinds, &url, dir.path()) else { return };
        nodes[0].start();
        nodes[1].start();
        service.wait_for_waiters(2);
        service.process.kill();
        service.restart();
        nodes[2].start();
        expect_one_cluster(&mut nodes, &url);
    }
}

#[test]
fn a_waiting_node_that_lost_its_disk_still_completes_the_cluster() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let url = service.new_token(3);
    let mut nodes = token_cluster(&[Flavor::Ours; 3], &url, dir.path()).unwrap();
    nodes[0].start();
    nodes[1].start();
    service.wait_for_waiters(2);
    nodes[1].kill();
    nodes[1].wipe();
    nodes[1].start();
    // The third completes the cluster, and nobody resumes after that.
    wait("the wiped node to wait again", || {
        (nodes[1].log().matches("waiting for 1 of 3 members").count() == 2).then_some(())
    });
    nodes[2].start();
    expect_one_cluster(&mut nodes, &url);
}

/// It could vote twice in one term; its own journal says how to replace it instead.
#[test]
fn a_founder_that_lost_its_disk_is_refused_once_the_cluster_is_full() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let url = service.new_token(3);
    let mut nodes = token_cluster(&[Flavor::Ours; 3], &url, dir.path()).unwrap();
    for node in &mut nodes {
        node.start();
    }
    expect_one_cluster(&mut nodes, &url);
    nodes[2].kill();
    nodes[2].wipe();
    nodes[2].start();
    assert_eq!(nodes[2].process().exit_code(), 1);
    let log = nodes[2].log();
    assert!(log.contains("discovery: found duplicate id"), "{log}");
    assert!(log.contains("Q1033") && log.contains("member remove"), "no way out is named: {log}");
}

#[test]
fn a_formed_cluster_restarts_without_the_service() {
    let dir = scratch();
    let mut service = Service::start(dir.path());
    let url = service.new_token(3);
    let mut nodes = token_cluster(&[Flavor::Ours; 3], &url, dir.path()).unwrap();
    for node in &mut nodes {
        node.start();
    }
    expect_one_cluster(&mut nodes, &url);
    service.process.kill();
    for node in &mut nodes {
        node.kill();
    }
    for node in &mut nodes {
        node.start();
    }
    expect_one_cluster(&mut nodes, &url);
    let ignored = "bootstrap flags are ignored: data dir holds member";
    nodes[0].process().wait_for_log(ignored);
}

#[test]
fn a_surplus_node_forwards_to_the_cluster() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let url = service.new_token(3);
    let mut nodes = token_cluster(&[Flavor::Ours; 4], &url, dir.path()).unwrap();
    let mut surplus = nodes.pop().unwrap();
    for node in &mut nodes {
        node.start();
    }
    expect_one_cluster(&mut nodes, &url);
    surplus.start();
    surplus.wait_until_healthy();
    surplus.client().put("through-the-surplus-node", "v").unwrap();
    let read = nodes[0].client().get("through-the-surplus-node").unwrap();
    assert_eq!(read.as_deref(), Some("v"));
    // Unlike etcd's, it starts again on its own directory.
    surplus.kill();
    surplus.start();
    surplus.wait_until_healthy();
    assert_eq!(surplus.client().get("through-the-surplus-node").unwrap().as_deref(), Some("v"));
}

#[test]
fn a_surplus_node_exits_when_asked_to() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let url = service.new_token(1);
    let mut nodes = token_cluster(&[Flavor::Ours; 2], &url, dir.path()).unwrap();
    nodes[0].start();
    nodes[0].wait_until_healthy();
    nodes[1].bootstrap.push("--discovery-fallback=exit".to_owned());
    nodes[1].start();
    assert_eq!(nodes[1].process().exit_code(), 1);
    assert!(nodes[1].log().contains("discovery: cluster is full"));
}

/// A real etcd is the discovery service, as the tutorials have it.
#[test]
fn ours_from_the_v2_keys_of_a_real_etcd() {
    let dir = scratch();
    let Some(mut store) = Node::new(Flavor::Etcd34, "store", dir.path()) else { return };
    store.bootstrap =
        vec![format!("--initial-cluster=store={}", store.peer_url()), "--enable-v2".to_owned()];
    store.start();
    store.wait_until_healthy();
    let key = "/v2/keys/discovery/6c007a14875d53d9bf0ef5a6fc0257c817f0fb83";
    let url = format!("{}{key}", store.client_url());
    let made = http("PUT", &format!("{url}/_config/size"), Some("value=3")).unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
    let mut nodes = token_cluster(&[Flavor::Ours; 3], &url, dir.path()).unwrap();
    for node in &mut nodes {
        node.start();
    }
    expect_one_cluster(&mut nodes, &url);
}

/// The raw form: an operator makes the token with curl under any prefix.
#[test]
fn a_token_made_by_hand_below_v2_keys() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let path = "/v2/keys/discovery/6c007a14875d53d9bf0ef5a6fc0257c817f0fb83";
    assert_eq!(service.put(&format!("{path}/_config/size"), "value=3").status, 201);
    let url = service.url(path);
    let mut nodes = token_cluster(&[Flavor::Ours; 3], &url, dir.path()).unwrap();
    for node in &mut nodes {
        node.start();
    }
    expect_one_cluster(&mut nodes, &url);
}

/// Thirty-six light clients that speak the protocol and four real nodes race for three places.
#[test]
fn forty_race_for_three_places() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let url = service.new_token(3);
    let mut nodes = token_cluster(&[Flavor::Ours; 4], &url, dir.path()).unwrap();
    for node in &mut nodes {
        node.bootstrap.push("--discovery-fallback=exit".to_owned());
    }
    let barrier = Arc::new(Barrier::new(37));
    let racers: Vec<_> = (0..36)
        .map(|number| {
            let (url, barrier) = (url.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                race(&url, number)
            })
        })
        .collect();
    barrier.wait();
    for node in &mut nodes {
        node.start();
    }
    let outcomes: Vec<Outcome> = racers.into_iter().map(|racer| racer.join().unwrap()).collect();
    let founders = founders(&url);
    assert_eq!(founders.len(), 3, "{founders:?}");
    for outcome in &outcomes {
        match outcome {
            Outcome::In(id, seen) => {
                assert!(founders.contains(id), "{id} believes it is in: {founders:?}");
                assert!(seen.iter().all(|other| founders.contains(other)), "{seen:?}");
            }
            Outcome::Full(id) => assert!(!founders.contains(id), "{id} was told full"),
        }
    }
    let light = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::In(..))).count();
    let mut real = 0;
    for node in &mut nodes {
        let id = MemberId::derive([node.peer_url().as_str()], &url).to_string();
        if founders.contains(&id) {
            real += 1;
            assert!(node.process().is_running(), "{} is a founder and ended", node.name);
        } else {
            assert_eq!(node.process().exit_code(), 1);
            assert!(node.log().contains("discovery: cluster is full"), "{}", node.log());
        }
    }
    assert_eq!(light + real, 3);
}

enum Outcome {
    /// Its id and the founders it saw.
    In(String, Vec<String>),
    Full(String),
}

/// Registers and looks who is in, as etcd does: the first three by created index.
fn race(url: &str, number: usize) -> Outcome {
    let peer = format!("http://127.0.0.1:{}", 1000 + number);
    let id = MemberId::derive([peer.as_str()], url).to_string();
    let value = format!("value=racer{number}%3Dhttp%3A%2F%2F127.0.0.1%3A{}", 1000 + number);
    let put = http("PUT", &format!("{url}/{id}?prevExist=false"), Some(&value)).unwrap();
    assert!(put.status < 500, "{}: {}", put.status, put.body);
    let founders = founders(url);
    if founders.contains(&id) { Outcome::In(id, founders) } else { Outcome::Full(id) }
}

/// The ids of the first three registrations by created index.
fn founders(url: &str) -> Vec<String> {
    let mut children = children(url);
    children.sort();
    children.into_iter().take(3).map(|(_, id)| id).collect()
}

fn children(url: &str) -> Vec<(u64, String)> {
    let answer = http("GET", url, None).unwrap();
    let tree: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let Some(nodes) = tree["node"]["nodes"].as_array() else { return Vec::new() };
    let child = |node: &serde_json::Value| {
        let id = node["key"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        (node["createdIndex"].as_u64().unwrap(), id)
    };
    nodes.iter().map(child).filter(|(_, id)| id != "_config").collect()
}

#[test]
fn tools_are_found_or_reported() {
    // Prints once per run what the other tests here will skip.
    let _ = (tools::etcd34(), tools::etcd35(), tools::etcdctl(), tools::dig());
}
