//! A running cluster: every node serves everything, and nothing acknowledged is ever lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use quorate::proto::etcdserverpb::RangeRequest;

use crate::harness::{
    Client, Flavor, Node, Put, cluster_id, etcdctl, scratch, static_cluster, wait,
};

#[test]
fn every_node_reads_what_any_node_wrote() {
    let dir = scratch();
    let nodes = static_cluster(&[Flavor::Ours; 3], dir.path()).unwrap();
    for writer in &nodes {
        let key = format!("written-through-{}", writer.name);
        let put = etcdctl(&writer.client_url(), &["put", &key, "x y z"]);
        let Some(put) = put else { return };
        assert_eq!(String::from_utf8_lossy(&put.stdout), "OK\n", "{put:?}");
        for reader in &nodes {
            let get = etcdctl(&reader.client_url(), &["get", &key]).unwrap();
            assert_eq!(String::from_utf8_lossy(&get.stdout), format!("{key}\nx y z\n"), "{get:?}");
        }
    }
    let (cluster, members) = nodes[0].client().members().unwrap();
    assert_eq!(cluster, cluster_id(&nodes, "etcd-cluster"));
    assert_eq!(members.len(), 3);
}

/// Writers through all three nodes note what was acknowledged while each node in turn, and the
/// leader twice, is killed and started again. Afterwards every node has all of it.
#[test]
fn kill_of_any_node_loses_nothing_acknowledged() {
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours; 3], dir.path()).unwrap();
    let writers: Vec<Writer> = nodes.iter().map(Writer::start).collect();
    for round in 0..5 {
        let victim = if round < 3 { round } else { leader(&nodes) };
        let before = acknowledged(&writers);
        wait("writes before the kill", || (acknowledged(&writers) > before + 50).then_some(()));
        nodes[victim].kill();
        let at_kill = acknowledged(&writers);
        wait("writes without the killed node", || {
            (acknowledged(&writers) > at_kill + 50).then_some(())
        });
        nodes[victim].start();
        nodes[victim].wait_until_healthy();
    }
    let puts: Vec<Put> = writers.into_iter().flat_map(Writer::finish).collect();
    assert!(puts.len() > 500, "only {} writes were acknowledged", puts.len());
    assert_all_nodes_hold(&nodes, &puts);
}

/// The whole cluster loses power at once.
#[test]
fn kill_of_all_nodes_loses_nothing_acknowledged() {
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours; 3], dir.path()).unwrap();
    let writers: Vec<Writer> = nodes.iter().map(Writer::start).collect();
    wait("writes before the kill", || (acknowledged(&writers) > 300).then_some(()));
    nodes.iter_mut().for_each(Node::kill);
    let puts: Vec<Put> = writers.into_iter().flat_map(Writer::finish).collect();
    for node in &mut nodes {
        node.start();
    }
    nodes.iter_mut().for_each(Node::wait_until_healthy);
    assert_all_nodes_hold(&nodes, &puts);
}

#[test]
fn a_restarted_node_catches_up() {
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours; 3], dir.path()).unwrap();
    nodes[2].kill();
    let client = nodes[0].client();
    // It may have been the leader.
    wait("a write without the killed node", || client.put("first", "v").ok());
    let puts: Vec<Put> =
        (0..200).map(|n| client.put(&format!("k{n}"), &format!("v{n}")).unwrap()).collect();
    nodes[2].start();
    nodes[2].wait_until_healthy();
    assert_all_nodes_hold(&nodes, &puts);
}

/// Two of three are gone: reads and writes end with an error, in bounded time, and work again later.
#[test]
fn without_a_majority_requests_fail_instead_of_hanging() {
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours; 3], dir.path()).unwrap();
    let client = nodes[0].client();
    client.put("k", "before").unwrap();
    nodes[1].kill();
    nodes[2].kill();
    let refused = client.put("k", "during").unwrap_err();
    let texts = [
        "etcdserver: request timed out",
        "etcdserver: request timed out, possibly due to previous leader failure",
        "etcdserver: no leader",
        "etcdserver: leader changed",
    ];
    assert!(texts.iter().any(|text| refused.message().starts_with(text)), "{refused:?}");
    assert!(client.get("k").is_err(), "a linearizable read needs a majority");
    let local = RangeRequest { key: "k".into(), serializable: true, ..RangeRequest::default() };
    assert_eq!(client.range(local).unwrap().kvs.len(), 1, "a serializable read needs nobody");
    nodes[1].start();
    nodes[1].wait_until_healthy();
    client.put("k", "after").unwrap();
    assert_eq!(client.get("k").unwrap().as_deref(), Some("after"));
}

#[test]
fn a_new_leader_comes_within_a_few_election_timeouts() {
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours; 3], dir.path()).unwrap();
    let leader = leader(&nodes);
    nodes[leader].kill();
    let survivor = nodes.iter().enumerate().find(|(at, _)| *at != leader).unwrap().1.client();
    let started = std::time::Instant::now();
    wait("a write after the leader died", || survivor.put("k", "v").ok());
    // Election timeouts are 1 s by default and drawn between one and two of them.
    assert!(started.elapsed().as_secs() < 10, "it took {:?}", started.elapsed());
}

/// Index of the node that leads.
fn leader(nodes: &[Node]) -> usize {
    wait("a leader", || {
        nodes.iter().position(|node| {
            let status = node.client().status();
            status.is_ok_and(|status| {
                status.leader != 0 && Some(status.leader) == status.header.map(|h| h.member_id)
            })
        })
    })
}

fn acknowledged(writers: &[Writer]) -> usize {
    writers.iter().map(|writer| writer.puts.lock().unwrap().len()).sum()
}

fn assert_all_nodes_hold(nodes: &[Node], puts: &[Put]) {
    for node in nodes {
        let held = everything(&node.client());
        for put in puts {
            assert_eq!(held.get(&put.key), Some(&put.value), "{} on {}", put.key, node.name);
        }
    }
}

/// All keys, read linearizably: the node has to have caught up first.
fn everything(client: &Client) -> BTreeMap<String, String> {
    let all = RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..Default::default() };
    let answer = wait("a range over everything", || client.range(all.clone()).ok());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    answer.kvs.iter().map(|kv| (text(&kv.key), text(&kv.value))).collect()
}

/// A thread that writes keys of its own and notes the acknowledged ones.
struct Writer {
    stop: Arc<AtomicBool>,
    puts: Arc<Mutex<Vec<Put>>>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(node: &Node) -> Self {
        let (url, name) = (node.client_url(), node.name.clone());
        let (stop, puts) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (stopped, noted): (_, Arc<Mutex<Vec<Put>>>) = (Arc::clone(&stop), Arc::clone(&puts));
        let thread = std::thread::spawn(move || {
            let client = Client::connect(&url);
            for n in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                // A failed write may or may not have happened; nobody was promised anything.
                if let Ok(put) = client.put(&format!("{name}/{n}"), &format!("value {n}")) {
                    noted.lock().unwrap().push(put);
                }
            }
        });
        Self { stop, puts, thread }
    }

    fn finish(self) -> Vec<Put> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let mut puts = self.puts.lock().unwrap();
        std::mem::take(&mut *puts)
    }
}
