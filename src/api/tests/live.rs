use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tower::ServiceExt as _;

use crate::api::{Options, client_router};
use crate::membership::{InitialCluster, PeerUrl};
use crate::node::{Config, Running, start};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::cluster_client::ClusterClient;
use crate::proto::etcdserverpb::kv_client::KvClient;
use crate::proto::etcdserverpb::lease_client::LeaseClient;
use crate::proto::etcdserverpb::watch_client::WatchClient;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::health_client::HealthClient;
use crate::proto::health::{HealthCheckRequest, HealthListRequest};
use crate::proto::mvccpb;
use crate::transport::{Bound, Http, serve};

/// Far more than anything here takes; only a failure waits for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A lone node in this process, with its client port.
pub(super) struct Node {
    pub(super) running: Running,
    pub(super) router: axum::Router,
    address: SocketAddr,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Node {
    pub(super) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut list = InitialCluster::new();
        list.add("n1", PeerUrl::parse("http://127.0.0.1:1").unwrap());
        let config = Config::for_test(dir.path(), "n1", &list, "test");
        let running = start(config, CancellationToken::new()).unwrap();
        tokio::time::timeout(PATIENCE, running.ready()).await.unwrap();
        let bound = Bound::bind("127.0.0.1:0").await.unwrap();
        let address = bound.address();
        let stop = CancellationToken::new();
        let router = client_router(running.handle(), Options::default());
        let serving = tokio::spawn(serve(bound, router.clone(), Http::default(), stop.clone()));
        Self { running, router, address, stop, serving, _dir: dir }
    }

    pub(super) async fn stop(self) {
        self.running.close().await;
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

impl Node {
    pub(super) async fn channel(&self) -> Channel {
        Endpoint::new(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// A request to the plain HTTP paths.
    pub(super) async fn http(&self, method: &str, path: &str, body: &str) -> Response {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::from(body.to_owned())).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(super) async fn put(&self, channel: &Channel, key: &str, value: &str) -> i64 {
        let request = pb::PutRequest {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            ..pb::PutRequest::default()
        };
        let response = KvClient::new(channel.clone()).put(request).await.unwrap().into_inner();
        response.header.unwrap().revision
    }
}

pub(super) fn words(status: &Status) -> (Code, &str) {
    (status.code(), status.message())
}

/// A watch stream, and the way to say more on it.
struct Watching {
    requests: mpsc::Sender<pb::WatchRequest>,
    answers: Streaming<pb::WatchResponse>,
}

impl Watching {
    async fn open(channel: &Channel) -> Self {
        let (requests, outgoing) = mpsc::channel(16);
        let client = WatchClient::new(channel.clone());
        // A slice of history may be larger than what clients take by default.
        let mut client = client.max_decoding_message_size(usize::MAX);
        let answers = client.watch(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        Self { requests, answers }
    }

    async fn say(&self, request: RequestUnion) {
        let request_union = Some(request);
        self.requests.send(pb::WatchRequest { request_union }).await.unwrap();
    }

    async fn create(&self, request: pb::WatchCreateRequest) {
        self.say(RequestUnion::CreateRequest(request)).await;
    }

    async fn next(&mut self) -> pb::WatchResponse {
        let answer = tokio::time::timeout(PATIENCE, self.answers.message()).await.unwrap();
        answer.unwrap().unwrap()
    }

    /// The next answer that has events.
    async fn events(&mut self) -> Vec<mvccpb::Event> {
        loop {
            let answer = self.next().await;
            assert!(!answer.canceled, "{answer:?}");
            if !answer.events.is_empty() {
                return answer.events;
            }
        }
    }
}

fn watch(key: &str, start_revision: i64) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest { key: key.to_owned().into(), start_revision, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_carry_ids_term_and_revision() {
    let node = Node::start().await;
    let channel = node.channel().await;
    assert_eq!(node.put(&channel, "a", "1").await, 2);
    let mut kv = KvClient::new(channel.clone());
    let request = pb::RangeRequest { key: "a".into(), ..pb::RangeRequest::default() };
    let range = kv.range(request).await.unwrap().into_inner();
    let header = range.header.unwrap();
    assert_eq!(header, node.running.handle().header_at(2));
    assert!(header.member_id != 0 && header.cluster_id != 0 && header.raft_term != 0);
    assert_eq!(range.kvs[0].value, "1");

    let mut cluster = ClusterClient::new(channel.clone());
    let request = pb::MemberListRequest { linearizable: true };
    let list = cluster.member_list(request).await.unwrap().into_inner();
    assert_eq!((list.header.unwrap().revision, list.members.len()), (0, 1));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_the_words_of_etcd() {
    let node = Node::start().await;
    let channel = node.channel().await;
    let mut kv = KvClient::new(channel.clone());
    let put = |value: Vec<u8>| pb::PutRequest {
        key: "a".into(),
        value: value.into(),
        ..pb::PutRequest::default()
    };
    let refused = kv.put(pb::PutRequest::default()).await.unwrap_err();
    assert_eq!(words(&refused), (Code::InvalidArgument, "etcdserver: key is not provided"));
    let refused = kv.put(put(vec![0; 1_572_864])).await.unwrap_err();
    assert_eq!(words(&refused), (Code::InvalidArgument, "etcdserver: request is too large"));
    let refused = kv.put(put(vec![0; 2_500_000])).await.unwrap_err();
    let text = "grpc: received message larger than max (2500008 vs. 2097152)";
    assert_eq!(words(&refused), (Code::ResourceExhausted, text));
    for (version, known) in [(&b"3.5"[..], true), ("3.5\u{e9}".as_bytes(), true), (b"\xff", false)]
    {
        let mut headers = HeaderMap::new();
        headers.insert("client-api-version", HeaderValue::from_bytes(version).unwrap());
        let mut request = tonic::Request::new(put(vec![1]));
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        let answer = kv.put(request).await.map_err(|refused| refused.message().to_owned());
        let wanted = "etcdserver: invalid client api version".to_owned();
        assert_eq!(answer.err(), (!known).then_some(wanted));
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_reads_history_and_goes_on_live() {
    let node = Node::start().await;
    let channel = node.channel().await;
    for number in 0..600 {
        node.put(&channel, "a", &number.to_string()).await;
    }
    let mut watching = Watching::open(&channel).await;
    watching.create(pb::WatchCreateRequest { prev_kv: true, ..watch("a", 2) }).await;
    let created = watching.next().await;
    assert!(created.created && created.header.unwrap().revision == 601);
    for number in 600..700 {
        node.put(&channel, "a", &number.to_string()).await;
    }
    let mut seen = 0;
    while seen < 700 {
        for event in watching.events().await {
            assert_eq!(event.kv.unwrap().value, seen.to_string());
            let before = event.prev_kv.map(|kv| kv.value);
            assert_eq!(before, (seen > 0).then(|| (seen - 1).to_string().into()));
            seen += 1;
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_falls_behind_and_misses_nothing() {
    const EVENTS: i64 = 24;
    let node = Node::start().await;
    let channel = node.channel().await;
    // Its own connection: what nobody reads here must not hold up the writes.
    let mut watching = Watching::open(&node.channel().await).await;
    watching.create(watch("a", 0)).await;
    assert!(watching.next().await.created);
    let watches = node.running.handle().watches();
    assert_eq!(watches.in_step(), 1);
    let value = "x".repeat(1 << 20);
    for _ in 0..EVENTS {
        node.put(&channel, "a", &value).await;
    }
    assert_eq!(watches.in_step(), 0);
    let mut revision = 1;
    while revision < EVENTS + 1 {
        for event in watching.events().await {
            revision += 1;
            assert_eq!(event.kv.unwrap().mod_revision, revision);
        }
    }
    node.put(&channel, "a", "small").await;
    assert_eq!(watching.events().await[0].kv.as_ref().unwrap().value, "small");
    assert_eq!(watches.in_step(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_and_ended_watches_say_why() {
    let node = Node::start().await;
    let channel = node.channel().await;
    let revision = node.put(&channel, "a", "1").await;
    node.put(&channel, "a", "2").await;
    let mut watching = Watching::open(&channel).await;
    watching.create(pb::WatchCreateRequest { watch_id: 7, ..watch("a", 0) }).await;
    assert_eq!(watching.next().await.watch_id, 7);
    let twice = pb::WatchCreateRequest { watch_id: 7, ..watch("a", 0) };
    let empty = pb::WatchCreateRequest { range_end: "a".into(), ..watch("b", 0) };
    for (request, reason) in [
        (twice, "mvcc: duplicate watch ID provided on the WatchStream"),
        (empty, "mvcc: watcher range is empty"),
        (watch("a", -1), "etcdserver: mvcc: required revision has been compacted"),
    ] {
        watching.create(request).await;
        let answer = watching.next().await;
        assert!(answer.created && answer.canceled && answer.watch_id == -1);
        assert_eq!(answer.cancel_reason, reason);
    }
    watching.say(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 99 })).await;
    watching.say(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 7 })).await;
    let answer = watching.next().await;
    assert!(answer.canceled && answer.watch_id == 7);

    let compaction = pb::CompactionRequest { revision: revision + 1, physical: true };
    KvClient::new(channel.clone()).compact(compaction).await.unwrap();
    watching.create(watch("a", revision)).await;
    assert!(watching.next().await.created);
    let answer = watching.next().await;
    assert!(answer.canceled && answer.cancel_reason.is_empty());
    assert_eq!((answer.compact_revision, answer.header.unwrap().revision), (revision + 1, 0));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_is_told_when_asked_and_when_quiet() {
    let node = Node::start().await;
    let channel = node.channel().await;
    let revision = node.put(&channel, "a", "1").await;
    let mut watching = Watching::open(&channel).await;
    watching.create(watch("a", revision)).await;
    watching.events().await;
    watching.say(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})).await;
    let answer = watching.next().await;
    assert_eq!((answer.watch_id, answer.header.unwrap().revision), (-1, revision));
    watching.create(pb::WatchCreateRequest { progress_notify: true, ..watch("b", 0) }).await;
    assert!(watching.next().await.created);
    let answer = watching.next().await;
    assert!(answer.events.is_empty() && answer.watch_id == 1);
    assert_eq!(answer.header.unwrap().revision, revision);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_granted_renewed_and_revoked() {
    let node = Node::start().await;
    let channel = node.channel().await;
    let mut leases = LeaseClient::new(channel.clone());
    let request = pb::LeaseGrantRequest { ttl: 1, id: 0 };
    let granted = leases.lease_grant(request).await.unwrap().into_inner();
    assert!(granted.id > 0 && granted.ttl == 2);
    let ask = |id| pb::LeaseKeepAliveRequest { id };
    let requests = tokio_stream::iter([ask(granted.id), ask(999)]);
    let mut answers = leases.lease_keep_alive(requests).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().ttl, 2);
    assert_eq!(answers.message().await.unwrap().unwrap().ttl, 0);
    assert!(answers.message().await.unwrap().is_none());
    let revoke = pb::LeaseRevokeRequest { id: granted.id };
    leases.lease_revoke(revoke).await.unwrap();
    let refused = leases.lease_revoke(revoke).await.unwrap_err();
    assert_eq!(words(&refused), (Code::NotFound, "etcdserver: requested lease not found"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_end_when_the_node_stops() {
    let node = Node::start().await;
    let channel = node.channel().await;
    let mut watching = Watching::open(&channel).await;
    watching.create(watch("a", 0)).await;
    assert!(watching.next().await.created);
    node.stop().await;
    let end = tokio::time::timeout(PATIENCE, watching.answers.message()).await.unwrap();
    assert_eq!(words(&end.unwrap_err()), (Code::Unavailable, "etcdserver: server stopped"));
}

#[tokio::test]
async fn health_is_watched_until_the_node_stops() {
    let node = Node::start().await;
    let mut health = HealthClient::new(node.channel().await);
    let ask = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let checked = health.check(ask("")).await.unwrap().into_inner();
    assert_eq!(checked.status(), ServingStatus::Serving);
    let unknown = health.check(ask("etcdserverpb.KV")).await.unwrap_err();
    assert_eq!((unknown.code(), unknown.message()), (Code::NotFound, "unknown service"));
    let listed = health.list(HealthListRequest {}).await.unwrap().into_inner().statuses;
    let listed: Vec<_> = listed.iter().map(|(name, held)| (name.as_str(), held.status())).collect();
    assert_eq!(listed, [("", ServingStatus::Serving)]);
    let mut strange = health.watch(ask("nothing")).await.unwrap().into_inner();
    let first = strange.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    let mut watched = health.watch(ask("")).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let watching = tokio::spawn(async move { watched.message().await });
    node.stop().await;
    let last = watching.await.unwrap().unwrap().unwrap();
    assert_eq!(last.status(), ServingStatus::NotServing);
}
