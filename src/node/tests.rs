use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{Config, Error, Running, StartError, start};
use crate::auth::Caller;
use crate::lease::LeaseId;
use crate::membership::{InitialCluster, MemberId, PeerUrl};
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::MembershipChange;
use crate::proto::quorate::replica::membership_change::Kind;
use crate::transport::{Bound, Http, serve};

const TOKEN: &str = "test";
/// Far more than anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node of a test cluster, in this process.
struct Node {
    running: Running,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Node {
    async fn stop(self) {
        self.running.close().await;
        self.stop.cancel();
        // It has ended with the node's thread if not by itself.
        drop(self.serving.await);
    }
}

fn config(dir: &Path, name: &str, list: &InitialCluster) -> Config {
    Config::for_test(dir, name, list, TOKEN)
}

async fn run(bound: Bound, config: Config) -> Node {
    let stop = CancellationToken::new();
    let running = start(config, CancellationToken::new()).unwrap();
    let serve = serve(bound, running.peer_router(), Http::default(), stop.clone());
    let serving = running.peer_runtime().spawn(serve);
    Node { running, stop, serving }
}

/// Listeners for that many members, and the list of them.
async fn founders(count: usize) -> (Vec<(String, Bound)>, InitialCluster) {
    let mut list = InitialCluster::new();
    let mut bound = Vec::new();
    for number in 1..=count {
        let listener = Bound::bind("127.0.0.1:0").await.unwrap();
        let name = format!("n{number}");
        list.add(&name, PeerUrl::parse(&format!("http://{}", listener.address())).unwrap());
        bound.push((name, listener));
    }
    (bound, list)
}

async fn put(node: &Node, key: &str, value: &str) {
    let request = pb::PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..pb::PutRequest::default()
    };
    let put = node.running.handle().propose(Caller::Nobody, request);
    tokio::time::timeout(PATIENCE, put).await.unwrap().unwrap();
}

/// A linearizable read.
async fn get(node: &Node, key: &str) -> Option<String> {
    let handle = node.running.handle();
    tokio::time::timeout(PATIENCE, handle.linearize()).await.unwrap().unwrap();
    let request = pb::RangeRequest { key: key.to_owned().into(), ..pb::RangeRequest::default() };
    let response = handle.state().range(&request).unwrap();
    response.kvs.first().map(|kv| String::from_utf8(kv.value.to_vec()).unwrap())
}

async fn ready(node: &Node) {
    tokio::time::timeout(PATIENCE, node.running.ready()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_node_keeps_what_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (mut bound, list) = founders(1).await;
    let (name, listener) = bound.remove(0);
    let node = run(listener, config(dir.path(), &name, &list)).await;
    ready(&node).await;
    put(&node, "a", "1").await;
    assert_eq!(get(&node, "a").await.as_deref(), Some("1"));
    assert_eq!(node.running.handle().header().revision, 2);
    node.stop().await;

    let again = Config { founding: None, ..config(dir.path(), &name, &list) };
    let node = run(Bound::bind("127.0.0.1:0").await.unwrap(), again).await;
    ready(&node).await;
    assert_eq!(get(&node, "a").await.as_deref(), Some("1"));
    put(&node, "a", "2").await;
    assert_eq!(node.running.handle().header().revision, 3);
    node.stop().await;
}

/// Whoever brings something while another has the turn leaves it to that one. What is forgotten then would be found
/// by the next tick, which is far away here, or after seconds by what else the node does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_that_was_brought_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (mut bound, list) = founders(1).await;
    let (name, listener) = bound.remove(0);
    let heartbeat = Duration::from_secs(3600);
    let config = config(dir.path(), &name, &list);
    let config = Config { heartbeat, election: 10 * heartbeat, unsafe_no_fsync: true, ..config };
    let node = Arc::new(run(listener, config).await);
    ready(&node).await;
    let late = Arc::new(AtomicUsize::new(0));
    for clients in 1..=4 {
        let mut busy = tokio::task::JoinSet::new();
        for client in 0..clients {
            let (node, late) = (Arc::clone(&node), Arc::clone(&late));
            busy.spawn(async move {
                for turn in 0..300 {
                    let asked = Instant::now();
                    put(&node, &format!("key{client}"), &turn.to_string()).await;
                    late.fetch_add(usize::from(asked.elapsed().as_secs() > 0), Ordering::Relaxed);
                }
                assert_eq!(get(&node, &format!("key{client}")).await.as_deref(), Some("299"));
            });
        }
        busy.join_all().await;
    }
    let late = late.load(Ordering::Relaxed);
    assert!(late < 2, "{late} of 3000 puts took more than a second");
    Arc::into_inner(node).expect("the clients are gone").stop().await;
}

/// Nobody asked beforehand whether there is room, as when it goes between the question and the apply.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_that_is_gone_when_a_request_is_applied_raises_the_alarm() {
    let dir = tempfile::tempdir().unwrap();
    let (mut bound, list) = founders(1).await;
    let (name, listener) = bound.remove(0);
    let mut config = config(dir.path(), &name, &list);
    config.limits.quota_bytes = 1;
    let node = run(listener, config).await;
    ready(&node).await;
    let handle = node.running.handle();
    let put = pb::PutRequest { key: "a".into(), ..pb::PutRequest::default() };
    let refused = handle.propose(Caller::Nobody, put).await;
    assert!(matches!(refused, Err(Error::Apply(crate::apply::Error::NoSpace))), "{refused:?}");
    assert!(handle.state().alarms().is_raised(pb::AlarmType::Nospace));
    node.stop().await;
}

/// Measured on three members of etcd 3.4.23 and 3.5.1, of which one has a small quota.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_without_room_raises_the_alarm_for_what_others_proposed() {
    let dir = tempfile::tempdir().unwrap();
    let (bound, list) = founders(3).await;
    let mut nodes = Vec::new();
    for (name, listener) in bound {
        let mut config = config(dir.path(), &name, &list);
        if name == "n3" {
            config.limits.quota_bytes = 1;
        }
        nodes.push(run(listener, config).await);
    }
    for node in &nodes {
        ready(node).await;
    }
    put(&nodes[0], "a", "1").await;
    let (proposer, full) = (nodes[0].running.handle(), nodes[2].running.handle());
    let raised = || proposer.state().alarms().list(pb::AlarmType::None);
    let mut applied = proposer.0.applied.subscribe();
    let heard = applied.wait_for(|_| !raised().is_empty());
    tokio::time::timeout(PATIENCE, heard).await.unwrap().unwrap();
    let wanted =
        pb::AlarmMember { member_id: full.member_id().0, alarm: pb::AlarmType::Nospace.into() };
    assert_eq!(raised(), [wanted]);
    assert_eq!(get(&nodes[2], "a").await.as_deref(), Some("1"), "it is applied all the same");
    let put = pb::PutRequest { key: "b".into(), ..pb::PutRequest::default() };
    let refused = proposer.propose(Caller::Nobody, put).await;
    assert!(matches!(refused, Err(Error::Apply(crate::apply::Error::NoSpace))), "{refused:?}");
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_without_the_log_is_not_promoted() {
    let dir = tempfile::tempdir().unwrap();
    let (mut bound, list) = founders(1).await;
    let (name, listener) = bound.remove(0);
    let node = run(listener, config(dir.path(), &name, &list)).await;
    ready(&node).await;
    let learner = MemberId(7);
    let change = |kind: Kind, urls: &[&str]| MembershipChange {
        kind: kind.into(),
        member_id: learner.0,
        peer_urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        ..MembershipChange::default()
    };
    let handle = node.running.handle();
    let members = handle.change_membership(change(Kind::AddLearner, &["http://127.0.0.1:1"])).await;
    assert_eq!(members.unwrap().len(), 2);
    let promoted = handle.change_membership(change(Kind::Promote, &[])).await;
    assert!(matches!(promoted, Err(Error::LearnerNotReady)), "{promoted:?}");
    node.stop().await;
}

/// Three nodes that serve.
async fn three(dir: &Path) -> Vec<Node> {
    three_with(dir, true).await
}

/// The same; whether changes wait until all members have been connected for a while.
async fn three_with(dir: &Path, strict_reconfig_check: bool) -> Vec<Node> {
    let (bound, list) = founders(3).await;
    let mut nodes = Vec::new();
    for (name, listener) in bound {
        let config = Config { strict_reconfig_check, ..config(dir, &name, &list) };
        nodes.push(run(listener, config).await);
    }
    for node in &nodes {
        ready(node).await;
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_serve_through_any_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = three(dir.path()).await;
    for (number, node) in nodes.iter().enumerate() {
        put(node, &format!("key{number}"), "x").await;
        for other in &nodes {
            assert_eq!(get(other, &format!("key{number}")).await.as_deref(), Some("x"));
        }
    }
    let members = nodes[0].running.handle().members();
    assert_eq!(members.len(), 3);
    for node in &nodes {
        assert_eq!(
            node.running.handle().status().term.0,
            nodes[0].running.handle().status().term.0
        );
    }

    // The leader goes away; the other two elect another and lose nothing.
    let leader: MemberId = nodes[0].running.handle().status().leader.unwrap();
    let at = nodes.iter().position(|node| node.running.handle().member_id() == leader).unwrap();
    nodes.remove(at).stop().await;
    put(&nodes[0], "after", "y").await;
    assert_eq!(get(&nodes[1], "after").await.as_deref(), Some("y"));
    assert_eq!(get(&nodes[1], "key0").await.as_deref(), Some("x"));
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_renewed_through_any_member_and_by_the_next_leader() {
    const LEASES: i64 = 1500;
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = three(dir.path()).await;
    let handle = nodes[0].running.handle().clone();
    let grants = (1..=LEASES).map(|id| {
        let grant = pb::LeaseGrantRequest { id, ttl: 600 };
        handle.propose(Caller::Nobody, grant)
    });
    for granted in futures_util::future::join_all(grants).await {
        granted.unwrap();
    }
    let renew_all = async |node: &Node| {
        let handle = node.running.handle();
        let renewals = (1..=LEASES + 1).map(|id| handle.lease_renew(LeaseId(id)));
        let all = futures_util::future::join_all(renewals);
        tokio::time::timeout(PATIENCE, all).await.unwrap()
    };
    for node in &nodes {
        let mut renewed = renew_all(node).await;
        assert!(matches!(renewed.pop(), Some(Ok(None))), "there is no such lease");
        assert!(renewed.iter().all(|ttl| matches!(ttl, Ok(Some(600)))), "{renewed:?}");
    }

    let leader = handle.status().leader.unwrap();
    let at = nodes.iter().position(|node| node.running.handle().member_id() == leader).unwrap();
    nodes.remove(at).stop().await;
    let left = nodes[0].running.handle().lease_remaining(LeaseId(1)).await;
    assert!(matches!(left, Ok(Some((_, 600)))), "{left:?}");
    let mut renewed = renew_all(&nodes[0]).await;
    assert!(matches!(renewed.pop(), Some(Ok(None))), "there is no such lease");
    assert!(renewed.iter().all(|ttl| matches!(ttl, Ok(Some(600)))), "{renewed:?}");
    for node in nodes {
        node.stop().await;
    }
}

/// As when a member has an address that only some of the others can reach.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_asked_by_its_second_url() {
    let dir = tempfile::tempdir().unwrap();
    let (bound, mut list) = founders(2).await;
    for (number, (name, _)) in (1..).zip(&bound) {
        list.add(name, PeerUrl::parse(&format!("http://127.0.0.1:{number}")).unwrap());
    }
    let roster = list.roster(TOKEN);
    let dead = |url: &PeerUrl| url.port() < 10;
    assert!(roster.members.values().all(|entry| dead(&entry.peer_urls[0])), "they stand first");
    let mut nodes = Vec::new();
    for (name, listener) in bound {
        nodes.push(run(listener, config(dir.path(), &name, &list)).await);
    }
    for node in &nodes {
        ready(node).await;
    }
    let grant = pb::LeaseGrantRequest { id: 1, ttl: 600 };
    nodes[0].running.handle().propose(Caller::Nobody, grant).await.unwrap();
    for node in &nodes {
        let renewed = node.running.handle().lease_renew(LeaseId(1)).await;
        assert!(matches!(renewed, Ok(Some(600))), "{renewed:?}");
    }
    for node in nodes {
        node.stop().await;
    }
}

/// The leader is behind with applying: it must not call unknown what another member has granted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lease_that_the_leader_has_yet_to_apply_is_renewed() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let leader = nodes[0].running.handle().leader().unwrap();
    let leads = |node: &&Node| node.running.handle().member_id() == leader;
    let slow = nodes.iter().find(leads).unwrap().running.handle().clone();
    let follower = nodes.iter().find(|node| !leads(node)).unwrap().running.handle();
    for id in 1..=2 {
        let (goes_on, held) = std::sync::mpsc::channel::<()>();
        let (holds, reading) = std::sync::mpsc::channel();
        let state = slow.clone();
        let reader = std::thread::spawn(move || {
            let state = state.state();
            holds.send(()).unwrap();
            // Not for ever, should the test itself wait for it.
            held.recv_timeout(Duration::from_secs(3)).unwrap_or_default();
            drop(state);
        });
        reading.recv().unwrap();
        let grant = pb::LeaseGrantRequest { id, ttl: 600 };
        follower.propose(Caller::Nobody, grant).await.unwrap();
        let asking = async {
            if id == 1 {
                return follower.lease_renew(LeaseId(id)).await;
            }
            Ok(follower.lease_remaining(LeaseId(id)).await?.map(|(_, granted)| granted))
        };
        let mut asking = pin!(asking);
        let early = tokio::time::timeout(Duration::from_millis(500), &mut asking).await;
        drop(goes_on);
        let told = match early {
            Ok(told) => told,
            Err(_) => tokio::time::timeout(PATIENCE, asking).await.unwrap(),
        };
        assert!(matches!(told, Ok(Some(600))), "{told:?}");
        reader.join().unwrap();
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_ends_by_itself_and_without_fault() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = three_with(dir.path(), false).await;
    let gone = nodes.pop().unwrap();
    let remove = MembershipChange {
        kind: Kind::Remove.into(),
        member_id: gone.running.handle().member_id().0,
        ..MembershipChange::default()
    };
    let left = nodes[0].running.handle().change_membership(remove).await.unwrap();
    assert_eq!(left.len(), 2);
    let ended = tokio::time::timeout(PATIENCE, gone.running.ended()).await.unwrap();
    assert_eq!(ended, None);
    let again = gone.running.handle().config().clone();
    gone.stop().await;
    // It knows of its removal if that reached it; otherwise its peers tell it again.
    match start(again, CancellationToken::new()) {
        Err(refused) => assert!(matches!(refused, StartError::Removed), "{refused}"),
        Ok(running) => {
            assert_eq!(tokio::time::timeout(PATIENCE, running.ended()).await.unwrap(), None);
            running.close().await;
        }
    }
    put(&nodes[0], "after", "y").await;
    assert_eq!(get(&nodes[1], "after").await.as_deref(), Some("y"));
    for node in nodes {
        node.stop().await;
    }
}
