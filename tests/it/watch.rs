//! Watchers miss nothing and see nothing twice while members, the leader among them, are killed and
//! started again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use quorate::proto::etcdserverpb::watch_client::WatchClient;
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use quorate::proto::etcdserverpb::{RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};

use crate::harness::{Client, Flavor, scratch, static_cluster, wait};

/// How often a quiet watcher looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);

/// A watcher of one member that comes back to it whenever it can, from where it was.
struct Watcher {
    seen: Arc<Mutex<Vec<i64>>>,
    wanted: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watcher {
    fn start(url: String) -> Self {
        let seen: Arc<Mutex<Vec<i64>>> = Arc::default();
        let wanted = Arc::new(AtomicBool::new(true));
        let (found, go_on) = (Arc::clone(&seen), Arc::clone(&wanted));
        let thread = std::thread::spawn(move || follow(&url, &found, &go_on));
        Self { seen, wanted, thread }
    }

    fn last(&self) -> i64 {
        self.seen.lock().unwrap().last().copied().unwrap_or(0)
    }
}

fn follow(url: &str, seen: &Mutex<Vec<i64>>, wanted: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    while wanted.load(Ordering::Relaxed) {
        let next = seen.lock().unwrap().last().map_or(2, |last| last + 1);
        let opened = wait("a member to take a watch", || {
            if !wanted.load(Ordering::Relaxed) {
                return Some(None);
            }
            runtime.block_on(open(url, next)).ok().map(Some)
        });
        let Some(mut answers) = opened else { return };
        while wanted.load(Ordering::Relaxed) {
            let answer = async { tokio::time::timeout(LOOK, answers.message()).await };
            match runtime.block_on(answer) {
                Err(_) => {}
                Ok(Ok(Some(answer))) => {
                    assert!(!answer.canceled, "{answer:?}");
                    let revisions =
                        answer.events.iter().map(|event| event.kv.as_ref().unwrap().mod_revision);
                    seen.lock().unwrap().extend(revisions);
                }
                Ok(_) => break,
            }
        }
    }
}

async fn open(url: &str, start_revision: i64) -> Result<Streaming<WatchResponse>, Status> {
    let endpoint = Endpoint::from_shared(url.to_owned()).unwrap();
    let channel =
        endpoint.connect().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let create = WatchCreateRequest {
        key: "w/".into(),
        range_end: "w0".into(),
        start_revision,
        ..WatchCreateRequest::default()
    };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let answers = WatchClient::new(channel).watch(tokio_stream::once(create)).await?;
    Ok(answers.into_inner())
}

fn put(client: &Client, number: usize) {
    wait("a put to go through", || client.put(&format!("w/{number}"), "value").ok());
}

#[test]
fn watchers_miss_nothing_over_leader_changes_and_restarts() {
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours; 3], dir.path()).unwrap();
    let watchers: Vec<Watcher> =
        nodes.iter().map(|node| Watcher::start(node.client_url())).collect();
    for round in 0..4 {
        let leader = wait("a leader", || {
            let statuses: Vec<_> = nodes.iter().map(|node| node.client().status()).collect();
            statuses.iter().position(|status| {
                let status = status.as_ref().ok();
                status.is_some_and(|it| it.header.is_some_and(|own| own.member_id == it.leader))
            })
        });
        // The leader in every other round, the one after it in the others.
        let victim = (leader + round % 2) % nodes.len();
        let client = nodes[(victim + 1) % nodes.len()].client();
        (0..40).for_each(|number| put(&client, number));
        nodes[victim].kill();
        (40..80).for_each(|number| put(&client, number));
        nodes[victim].start();
        nodes[victim].wait_until_healthy();
    }
    let all = RangeRequest { key: "w/".into(), range_end: "w0".into(), ..RangeRequest::default() };
    let last = nodes[0].client().range(all).unwrap().header.unwrap().revision;
    for (watcher, node) in watchers.into_iter().zip(&nodes) {
        wait("the watcher to see all", || (watcher.last() >= last).then_some(()));
        watcher.wanted.store(false, Ordering::Relaxed);
        watcher.thread.join().unwrap();
        let seen = watcher.seen.lock().unwrap();
        // Nothing else was written, so every revision is one event.
        let every: Vec<i64> = (2..=last).collect();
        assert!(*seen == every, "{}: {} of {} events", node.name, seen.len(), every.len());
    }
}
