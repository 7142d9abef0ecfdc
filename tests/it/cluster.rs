//! A running cluster: every node serves everything, and nothing acknowledged is ever lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use quorate::proto::etcdserverpb::RangeRequest;

use crate::harness::{
    Client, Flavor, Node, Put, assert_all_agree, cluster_id, etcdctl, http, initial_cluster,
    leader, scratch, static_cluster, static_cluster_with, wait,
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

/// A log this short is of no use to a member that missed more than a moment.
const SHORT_LOG: [&str; 2] = ["--snapshot-count=100", "--snapshot-catchup-entries=20"];

#[test]
fn a_member_far_behind_catches_up_by_snapshot() {
    let dir = scratch();
    let mut nodes = static_cluster_with(&[Flavor::Ours; 3], dir.path(), &SHORT_LOG).unwrap();
    nodes[2].kill();
    let client = nodes[0].client();
    wait("a write without the killed node", || client.put("first", "v").ok());
    write_far_ahead(&nodes);
    nodes[2].start().wait_for_log("installing a snapshot");
    nodes[2].wait_until_healthy();
    assert_all_agree(&nodes);
}

/// A member loses its disk and is added again while clients write; `kill -9` meets it while the state of the
/// others arrives.
#[test]
fn a_wiped_member_added_again_catches_up_under_load() {
    let dir = scratch();
    let mut nodes = static_cluster_with(&[Flavor::Ours; 3], dir.path(), &SHORT_LOG).unwrap();
    write_far_ahead(&nodes);
    let writers: Vec<Writer> = nodes[..2].iter().map(Writer::start).collect();
    nodes[2].kill();
    nodes[2].wipe();
    let client = nodes[0].client();
    let members = wait("the members", || client.members().ok()).1;
    let gone = members.iter().find(|member| member.name == nodes[2].name).unwrap();
    wait("the removal", || client.remove_member(gone.id).ok());
    wait("the addition", || client.add_member(nodes[2].peer_url()).ok());
    nodes[2].bootstrap = vec![
        format!("--initial-cluster={}", initial_cluster(&nodes)),
        "--initial-cluster-state=existing".to_owned(),
    ];
    nodes[2].bootstrap.extend(SHORT_LOG.map(str::to_owned));
    let replaced = |line: &str| {
        let opened = line.contains("opened the data directory");
        line.contains("the state was replaced by a snapshot")
            || opened && !line.contains("\"applied\":0,")
    };
    for met in ["arriving", "arrived", "installed"] {
        nodes[2].start();
        let received = nodes[2].data_dir().join("member/snap");
        let arrived = || nodes[2].log().contains("received a snapshot").then_some(());
        wait(&format!("the snapshot {met}"), || match met {
            // It may have come and gone between two looks.
            "arriving" => {
                let file = received.read_dir().ok().and_then(|mut files| files.next());
                file.map(drop).or_else(arrived)
            }
            "arrived" => arrived(),
            // A kill may come after the change and before the words about it.
            _ => nodes[2].log().lines().any(replaced).then_some(()),
        });
        nodes[2].kill();
    }
    nodes[2].start();
    nodes[2].wait_until_healthy();
    let puts: Vec<Put> = writers.into_iter().flat_map(Writer::finish).collect();
    assert!(!puts.is_empty());
    assert_all_nodes_hold(&nodes, &puts);
    assert_all_agree(&nodes);
    let left = |dir: &str| nodes[2].data_dir().join(dir).read_dir().unwrap().count();
    wait("the end of what was half built", || {
        (left("member/snap") == 0 && left("member") == 3).then_some(())
    });
}

/// What the leader knows of a learner is not as old as its last heartbeat, which are seconds apart here.
#[test]
fn a_learner_that_serves_can_be_promoted_at_once() {
    let dir = scratch();
    let slow = ["--heartbeat-interval=2000", "--election-timeout=10000"];
    let founder = static_cluster_with(&[Flavor::Ours], dir.path(), &slow).unwrap().remove(0);
    let client = founder.client();
    let mut learner = Node::new(Flavor::Ours, "learner", dir.path()).unwrap();
    let id = client.add_learner(learner.peer_url()).unwrap();
    let list = format!("{}={},learner={}", founder.name, founder.peer_url(), learner.peer_url());
    learner.bootstrap =
        vec![format!("--initial-cluster={list}"), "--initial-cluster-state=existing".to_owned()];
    learner.bootstrap.extend(slow.map(str::to_owned));
    learner.start().wait_for_log("ready to serve client requests");
    // That it has the last entries may still be on its way to the leader, but not for as long as a heartbeat.
    let mut refused = Vec::new();
    wait("the promotion", || client.promote_member(id).map_err(|it| refused.push(it)).ok());
    assert!(refused.len() < 10, "{refused:?}");
}

/// `etcdctl` sends the whole URL as authority in its maintenance calls.
#[test]
fn maintenance_by_etcdctl_takes_urls_as_endpoints() {
    let dir = scratch();
    let nodes = static_cluster(&[Flavor::Ours; 3], dir.path()).unwrap();
    for arguments in [["endpoint", "status", "--cluster"], ["endpoint", "hashkv", "--cluster"]] {
        let Some(answer) = etcdctl(&nodes[0].client_url(), &arguments) else { return };
        let text = String::from_utf8_lossy(&answer.stdout);
        assert!(answer.status.success() && text.lines().count() == 3, "{answer:?}");
    }
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
        "context deadline exceeded",
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

/// Whoever renews a lease, or asks how long it lives, does not hear that the leader died.
#[test]
fn leases_are_renewed_through_a_follower_right_after_the_leader_died() {
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours; 3], dir.path()).unwrap();
    let leads = leader(&nodes);
    let follower = &nodes[(leads + 1) % 3];
    let (client, url) = (follower.client(), follower.client_url());
    let lease = client.lease_key("k", 60).unwrap();
    nodes[leads].kill();
    let asked = std::thread::spawn(move || {
        let body = format!("{{\"ID\":{lease}}}");
        http("POST", &format!("{url}/v3/lease/timetolive"), Some(&body)).unwrap()
    });
    for attempt in 0..8 {
        let renewed = client.keep_alive(lease);
        assert!(matches!(renewed, Ok(60)), "{attempt}: {renewed:?}");
    }
    let left = asked.join().unwrap();
    assert_eq!(left.status, 200, "{}", left.body);
    assert!(left.body.contains(r#""grantedTTL":"60""#), "{}", left.body);
}

/// What only a leader can answer is refused when the time of a request is over and there was none.
#[test]
fn without_a_leader_its_questions_wait_and_are_told_so() {
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours; 3], dir.path()).unwrap();
    let leads = leader(&nodes);
    let (left, other) = ((leads + 1) % 3, (leads + 2) % 3);
    let lease = nodes[left].client().lease_key("k", 60).unwrap();
    nodes[other].kill();
    nodes[leads].kill();
    let started = Instant::now();
    let (renewing, promoting) = (nodes[left].client(), nodes[left].client());
    let renewing = std::thread::spawn(move || renewing.keep_alive(lease).map(drop));
    let promoting = std::thread::spawn(move || promoting.promote_member(7));
    for asked in [renewing, promoting] {
        let refused = asked.join().unwrap().unwrap_err();
        let told = (refused.code(), refused.message());
        assert_eq!(told, (tonic::Code::Unavailable, "etcdserver: no leader"));
    }
    assert!(started.elapsed().as_secs() >= 6, "after {:?}", started.elapsed());
}

/// A leader that is cut off and does not know it yet: nobody could agree to what it would ask.
#[test]
fn a_leader_promotes_nobody_it_does_not_know() {
    let dir = scratch();
    let slow = ["--election-timeout=5000"];
    let mut nodes = static_cluster_with(&[Flavor::Ours; 3], dir.path(), &slow).unwrap();
    let leads = leader(&nodes);
    let client = nodes[leads].client();
    for follower in [(leads + 1) % 3, (leads + 2) % 3] {
        nodes[follower].kill();
    }
    let refused = client.promote_member(7).unwrap_err();
    let told = (refused.code(), refused.message());
    assert_eq!(told, (tonic::Code::NotFound, "etcdserver: member not found"));
}

#[test]
fn a_new_leader_comes_within_a_few_election_timeouts() {
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours; 3], dir.path()).unwrap();
    let mut attempt = || {
        let leads = leader(&nodes);
        nodes[leads].kill();
        let survivor = nodes[(leads + 1) % 3].client();
        let started = Instant::now();
        wait("a write after the leader died", || survivor.put("k", "v").ok());
        let took = started.elapsed();
        nodes[leads].start();
        nodes[leads].wait_until_healthy();
        took
    };
    // Election timeouts are 1 s by default and drawn between one and two of them. On a busy machine it may take more
    // of them, but not time and again.
    let mut took = Vec::new();
    while took.last().is_none_or(|took| *took > Duration::from_secs(10)) {
        assert!(took.len() < 5, "it took {took:?}");
        took.push(attempt());
    }
}

fn acknowledged(writers: &[Writer]) -> usize {
    writers.iter().map(|writer| writer.puts.lock().unwrap().len()).sum()
}

/// 20,000 keys in 200 entries.
fn write_far_ahead(nodes: &[Node]) {
    let client = nodes[0].client();
    for n in 0..200 {
        let keys: Vec<String> = (0..100).map(|at| format!("far/{n}/{at}")).collect();
        client.put_many(&keys, 256).unwrap();
    }
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

const BACKOFF: Duration = Duration::from_millis(5);

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
                match client.put(&format!("{name}/{n}"), &format!("value {n}")) {
                    Ok(put) => noted.lock().unwrap().push(put),
                    // A node that is not there is not asked as fast as it can be.
                    Err(_) => std::thread::sleep(BACKOFF),
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
