//! The protocol against a small store that answers as a real etcd does, and misbehaves where a test
//! asks it to.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::unfold;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Request as Call, Response, Status, Streaming};

use super::*;
use crate::discovery::Way;
use crate::membership::{MemberId, PeerUrl};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::kv_server::KvServer;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::etcdserverpb::watch_server::WatchServer;
use crate::proto::mvccpb;
use crate::transport::{Bound, Http, serve};

/// Far more than anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
const PACE: Pace = Pace {
    first: Duration::from_millis(5),
    last: Duration::from_millis(20),
    request: Duration::from_secs(2),
    poll: Duration::from_secs(5),
};

#[derive(Default)]
struct State {
    revision: i64,
    kvs: BTreeMap<String, mvccpb::KeyValue>,
    history: Vec<mvccpb::KeyValue>,
    log: Vec<String>,
    /// The next call whose line contains the text gets the status.
    faults: Vec<(&'static str, Status)>,
    /// This many watches are cancelled as soon as they are made.
    cancelled_watches: usize,
}

#[derive(Clone)]
struct Store {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<i64>>,
}

impl Store {
    async fn start(size: &str) -> (Self, String) {
        let state = State { revision: 1, ..State::default() };
        let changed = Arc::new(watch::Sender::new(1));
        let store = Self { state: Arc::new(Mutex::new(state)), changed };
        store.put("_config/size", size);
        let bound = Bound::bind("127.0.0.1:0").await.unwrap();
        let endpoint = bound.address().to_string();
        let router = axum::Router::new()
            .route_service("/etcdserverpb.KV/{call}", KvServer::new(store.clone()))
            .route_service("/etcdserverpb.Watch/{call}", WatchServer::new(store.clone()));
        tokio::spawn(serve(bound, router, Http::default(), CancellationToken::new()));
        (store, endpoint)
    }

    fn put(&self, below: &str, value: &str) -> i64 {
        let key = format!("/_etcd/registry/T/{below}");
        let mut state = self.state.lock();
        state.revision += 1;
        let revision = state.revision;
        let held = state.kvs.get(&key);
        let kv = mvccpb::KeyValue {
            key: key.clone().into(),
            value: value.to_owned().into(),
            create_revision: held.map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            version: held.map_or(1, |kv| kv.version + 1),
            lease: 0,
        };
        state.kvs.insert(key, kv.clone());
        state.history.push(kv);
        self.changed.send_replace(revision);
        revision
    }

    fn register(&self, number: u16) {
        let id = MemberId::derive([peer(number).as_str()], "T");
        self.put(&format!("members/{id}"), &format!("n{number}={}", peer(number)));
    }

    fn fault(&self, on: &'static str, status: Status) {
        self.state.lock().faults.push((on, status));
    }

    fn log(&self) -> Vec<String> {
        self.state.lock().log.clone()
    }

    async fn logged(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().iter().any(|line| line.contains(text)) {
            assert!(Instant::now() < deadline, "{text} is not in {:#?}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn note(&self, line: String) -> Result<(), Status> {
        let mut state = self.state.lock();
        let fault = state.faults.iter().position(|(on, _)| line.contains(on));
        state.log.push(line);
        match fault {
            Some(at) => Err(state.faults.remove(at).1),
            None => Ok(()),
        }
    }
}

fn peer(number: u16) -> String {
    format!("http://127.0.0.1:{}", 3000 + number)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("/_etcd/registry/", "")
}

#[tonic::async_trait]
impl pb::kv_server::Kv for Store {
    async fn range(
        &self,
        call: Call<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        let pb::RangeRequest { key, range_end, .. } = call.into_inner();
        self.note(format!("range {} {}", text(&key), text(&range_end)).trim().to_owned())?;
        let state = self.state.lock();
        let wanted = |kv: &&mvccpb::KeyValue| {
            if range_end.is_empty() { kv.key == key } else { key <= kv.key && kv.key < range_end }
        };
        let kvs: Vec<_> = state.kvs.values().filter(wanted).cloned().collect();
        let header = pb::ResponseHeader { revision: state.revision, ..Default::default() };
        let count = i64::try_from(kvs.len()).unwrap();
        Ok(Response::new(pb::RangeResponse { header: Some(header), kvs, more: false, count }))
    }

    async fn put(&self, call: Call<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        let pb::PutRequest { key, value, lease, .. } = call.into_inner();
        assert_eq!(lease, 0);
        let below = text(&key).strip_prefix("T/").unwrap().to_owned();
        self.note(format!("put {below} {}", text(&value)))?;
        self.put(&below, &text(&value));
        Ok(Response::new(pb::PutResponse::default()))
    }

    async fn delete_range(
        &self,
        _: Call<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        Err(Status::unimplemented("not asked by nodes"))
    }

    async fn txn(&self, _: Call<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        Err(Status::unimplemented("not asked by nodes"))
    }

    async fn compact(
        &self,
        _: Call<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        Err(Status::unimplemented("not asked by nodes"))
    }

    type RangeStreamStream = tokio_stream::Empty<Result<pb::RangeStreamResponse, Status>>;

    async fn range_stream(
        &self,
        _: Call<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(Status::unimplemented("not asked by nodes"))
    }
}

#[tonic::async_trait]
impl pb::watch_server::Watch for Store {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        call: Call<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = call.into_inner().message().await?.unwrap().request_union;
        let Some(RequestUnion::CreateRequest(create)) = request else { panic!("{request:?}") };
        let (key, end) = (text(&create.key), text(&create.range_end));
        self.note(format!("watch {key} {end} from {}", create.start_revision))?;
        let created = pb::WatchResponse { created: true, ..pb::WatchResponse::default() };
        let mut state = self.state.lock();
        if state.cancelled_watches > 0 {
            state.cancelled_watches -= 1;
            let cancelled = pb::WatchResponse { canceled: true, ..pb::WatchResponse::default() };
            let both = tokio_stream::iter([Ok(created), Ok(cancelled)]);
            return Ok(Response::new(Box::pin(both)));
        }
        drop(state);
        let mut from = create.start_revision;
        let history = Arc::clone(&self.state);
        let mut receiver = self.changed.subscribe();
        receiver.mark_changed();
        let changes = Box::pin(unfold(receiver, async |mut receiver| {
            receiver.changed().await.ok()?;
            Some(((), receiver))
        }));
        let events = changes.map(move |()| {
            let state = history.lock();
            let new: Vec<_> =
                state.history.iter().filter(|kv| kv.mod_revision >= from).cloned().collect();
            from = state.revision + 1;
            let event = |kv| mvccpb::Event { r#type: 0, kv: Some(kv), prev_kv: None };
            let events = new.into_iter().map(event).collect();
            Ok(pb::WatchResponse { events, ..pb::WatchResponse::default() })
        });
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(created)).chain(events))))
    }
}

/// Node `n1`, with a data directory of its own.
struct Node {
    request: Request,
    way: TokenV3Request,
    dir: tempfile::TempDir,
}

impl Node {
    fn new(endpoints: &[&str]) -> Self {
        let way = TokenV3Request {
            token: "T".to_owned(),
            endpoints: endpoints.iter().map(|text| (*text).to_owned()).collect(),
            dial_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            keepalive_time: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(6),
            tls: None,
            credentials: None,
        };
        let request = Request {
            name: "n1".to_owned(),
            peer_urls: vec![PeerUrl::parse(&peer(1)).unwrap()],
            way: Way::TokenV3(Box::new(way.clone())),
            cluster_token: "unused".to_owned(),
            existing: false,
            tls: None,
        };
        Self { request, way, dir: tempfile::tempdir().unwrap() }
    }

    fn id() -> MemberId {
        MemberId::derive([peer(1).as_str()], "T")
    }

    async fn join(&self) -> Result<String, String> {
        let memo = Memo::new(self.dir.path());
        let joined = join_at(&self.request, &self.way, &memo, PACE);
        let joined = tokio::time::timeout(PATIENCE, joined).await.unwrap();
        joined.map(|list| list.to_string()).map_err(|error| error.to_string())
    }
}

const PAIR: &str = "n1=http://127.0.0.1:3001,n2=http://127.0.0.1:3002";

#[tokio::test]
async fn calls_are_those_of_etcd() {
    let (store, endpoint) = Store::start("2").await;
    let node = Node::new(&[&endpoint]);
    let (joined, ()) = tokio::join!(node.join(), async {
        store.logged("watch").await;
        store.put("members/abc", "no member");
        store.register(1);
        store.register(2);
        store.register(3);
    });
    assert_eq!(joined.unwrap(), PAIR);
    assert_eq!(
        store.log(),
        [
            "range T/_config/size".to_owned(),
            "range T/members T/membert".to_owned(),
            format!("put members/{} n1=http://127.0.0.1:3001", Node::id()),
            "range T/_config/size".to_owned(),
            "range T/members T/membert".to_owned(),
            "watch T/members T/membert from 4".to_owned(),
        ]
    );
}

#[tokio::test]
async fn every_failure_is_tried_again_and_another_endpoint_is_asked() {
    let (store, endpoint) = Store::start("2").await;
    store.register(2);
    store.fault("_config/size", Status::unavailable("etcdserver: leader changed"));
    store.fault("put", Status::permission_denied("etcdserver: permission denied"));
    store.fault("members T", Status::internal("odd"));
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = gone.local_addr().unwrap().to_string();
    drop(gone);
    let node = Node::new(&[&dead, &endpoint]);
    assert_eq!(node.join().await.unwrap(), PAIR);
}

#[tokio::test]
async fn a_cancelled_watch_leads_to_another_reading() {
    let (store, endpoint) = Store::start("2").await;
    store.state.lock().cancelled_watches = 2;
    let node = Node::new(&[&endpoint]);
    let (joined, ()) = tokio::join!(node.join(), async {
        store.logged("watch").await;
        store.register(2);
    });
    assert_eq!(joined.unwrap(), PAIR);
}

#[tokio::test]
async fn refusals_have_the_texts_of_etcd() {
    for (size, text) in [
        ("0", "size key is bad"),
        ("-1", "size key is bad"),
        ("x", "size key is bad"),
        ("", "size key is bad"),
    ] {
        let (_store, endpoint) = Store::start(size).await;
        let error = Node::new(&[&endpoint]).join().await.unwrap_err();
        assert_eq!(error, format!("failed to join discovery cluster (discovery: {text})"));
    }
    let (store, endpoint) = Store::start("2").await;
    store.state.lock().kvs.clear();
    let error = Node::new(&[&endpoint]).join().await.unwrap_err();
    assert!(error.contains("discovery: size key not found"), "{error}");

    let (store, endpoint) = Store::start("2").await;
    store.register(2);
    store.register(3);
    let error = Node::new(&[&endpoint]).join().await.unwrap_err();
    assert!(error.contains("discovery: cluster is full"), "{error}");

    let (store, endpoint) = Store::start("2").await;
    store.put("members/abc", "n1=http://127.0.0.1:3009");
    let error = Node::new(&[&endpoint]).join().await.unwrap_err();
    assert!(error.contains("discovery: found duplicate name"), "{error}");

    let (store, endpoint) = Store::start("2").await;
    store.put("members/abc", "n2=nowhere");
    let error = Node::new(&[&endpoint]).join().await.unwrap_err();
    assert!(error.contains("discovery: invalid peer URL"), "{error}");
}

#[tokio::test]
async fn a_judgement_of_our_service_is_final_and_leaves_no_memo() {
    let (store, endpoint) = Store::start("2").await;
    store.fault("put", Status::failed_precondition("Q1023: started with something else"));
    let node = Node::new(&[&endpoint]);
    let error = node.join().await.unwrap_err();
    assert!(error.contains("Q1023: started with something else"), "{error}");
    assert!(!Memo::new(node.dir.path()).is_of("T", Node::id()));
}

/// It may have voted; only the data directory that registered may go on.
#[tokio::test]
async fn a_founder_of_a_full_cluster_resumes_with_its_memo_only() {
    let (store, endpoint) = Store::start("2").await;
    store.register(1);
    store.register(2);
    let node = Node::new(&[&endpoint]);
    let error = node.join().await.unwrap_err();
    assert!(error.contains("discovery: found duplicate id"), "{error}");
    Memo::new(node.dir.path()).write("T", Node::id()).unwrap();
    assert_eq!(node.join().await.unwrap(), PAIR);
    assert!(store.log().iter().all(|line| !line.starts_with("put")), "{:?}", store.log());
}

/// Its place is the one it had.
#[tokio::test]
async fn a_waiting_founder_without_its_disk_registers_again() {
    let (store, endpoint) = Store::start("2").await;
    store.register(1);
    let node = Node::new(&[&endpoint]);
    let (joined, ()) = tokio::join!(node.join(), async {
        store.logged("watch").await;
        store.register(2);
    });
    assert_eq!(joined.unwrap(), PAIR);
    assert_eq!(store.log().iter().filter(|line| line.starts_with("put")).count(), 1);
}
