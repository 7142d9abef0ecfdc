use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

use super::*;
use crate::discovery_server::Accounts;
use crate::discovery_server::tests::Bench;
use crate::membership::MemberId;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::kv_client::KvClient;
use crate::proto::etcdserverpb::lease_client::LeaseClient;
use crate::proto::etcdserverpb::watch_client::WatchClient;
use crate::proto::etcdserverpb::watch_request::RequestUnion;

/// No test waits longer than this for anything.
const DEADLINE: Duration = Duration::from_secs(60);

/// A node of etcd 3.6 as far as the registry sees it.
struct Caller {
    channel: Channel,
    token: String,
}

/// An open watch; the sender keeps it open.
struct Watching {
    answers: Streaming<pb::WatchResponse>,
    requests: mpsc::Sender<pb::WatchRequest>,
}

fn value(number: u16) -> String {
    format!("n{number}=http://127.0.0.1:{}", 3000 + number)
}

impl Caller {
    fn new(bench: &Bench, token: &str) -> Self {
        let channel = Endpoint::from_shared(bench.url.clone()).unwrap().connect_lazy();
        Self { channel, token: token.to_owned() }
    }

    fn key(&self, below: &str) -> String {
        format!("/_etcd/registry/{}/{below}", self.token)
    }

    fn id(&self, number: u16) -> String {
        let url = format!("http://127.0.0.1:{}", 3000 + number);
        MemberId::derive([url.as_str()], &self.token).to_string()
    }

    async fn range(&self, key: &str, end: &str) -> Result<pb::RangeResponse, Status> {
        let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
        self.ask(pb::RangeRequest { key, range_end, ..pb::RangeRequest::default() }).await
    }

    async fn ask(&self, request: pb::RangeRequest) -> Result<pb::RangeResponse, Status> {
        Ok(KvClient::new(self.channel.clone()).range(request).await?.into_inner())
    }

    async fn members(&self) -> pb::RangeResponse {
        self.range(&self.key("members"), &self.key("membert")).await.unwrap()
    }

    async fn put(&self, key: &str, value: &str) -> Result<i64, Status> {
        let (key, value) = (key.to_owned().into(), value.to_owned().into());
        let request = pb::PutRequest { key, value, ..pb::PutRequest::default() };
        let answer = KvClient::new(self.channel.clone()).put(request).await?.into_inner();
        Ok(answer.header.unwrap().revision)
    }

    async fn register(&self, number: u16) -> Result<i64, Status> {
        let key = self.key(&format!("members/{}", self.id(number)));
        self.put(&key, &value(number)).await
    }

    async fn watch(&self, key: &str, end: &str, from: i64) -> Watching {
        let create = pb::WatchCreateRequest {
            key: key.to_owned().into(),
            range_end: end.to_owned().into(),
            start_revision: from,
            ..pb::WatchCreateRequest::default()
        };
        let (requests, queue) = mpsc::channel(4);
        let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        requests.send(request).await.unwrap();
        let mut client = WatchClient::new(self.channel.clone());
        let answers = client.watch(ReceiverStream::new(queue)).await.unwrap().into_inner();
        Watching { answers, requests }
    }

    async fn watch_members(&self, from: i64) -> Watching {
        let mut watch = self.watch(&self.key("members"), &self.key("membert"), from).await;
        assert!(watch.next().await.unwrap().created);
        watch
    }
}

impl Watching {
    async fn next(&mut self) -> Result<pb::WatchResponse, Status> {
        let answer = tokio::time::timeout(DEADLINE, self.answers.message()).await.unwrap();
        answer.map(|answer| answer.expect("the stream goes on"))
    }

    /// The values of the next events.
    async fn values(&mut self, count: usize) -> Vec<String> {
        let mut found = Vec::new();
        while found.len() < count {
            for event in self.next().await.unwrap().events {
                found.push(text(&event.kv.unwrap().value));
            }
        }
        found
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn token_of(bench: &Bench, size: u32) -> String {
    let url = bench.new_token(&format!("?size={size}")).await;
    url.rsplit('/').next().unwrap().to_owned()
}

/// What nodes of etcd ask in the usual order is recorded in `tests/differential/discovery`; here is the
/// rest.
#[tokio::test]
async fn a_registration_stays_where_it_is_and_late_ones_come_after() {
    let bench = Bench::start().await;
    let token = token_of(&bench, 3).await;
    let node = Caller::new(&bench, &token);
    assert_eq!(node.register(1).await.unwrap(), 5);
    let mut watch = node.watch_members(6).await;
    assert_eq!(node.register(2).await.unwrap(), 6);
    assert_eq!(watch.values(1).await, [value(2)]);
    // A node that comes again while it is open keeps its place and makes no event.
    assert_eq!(node.register(2).await.unwrap(), 6);
    assert_eq!(node.register(3).await.unwrap(), 7);
    assert_eq!(watch.values(1).await, [value(3)]);
    // The whole history, from any revision, on a new stream.
    let mut again = node.watch_members(1).await;
    assert_eq!(again.values(3).await, [value(1), value(2), value(3)]);
    // A founder that comes again now has lost its disk.
    let refused = node.register(2).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().starts_with("Q1033: "), "{refused}");
    // A late comer finds itself behind the founders, which is how it learns that it is late.
    assert_eq!(node.register(4).await.unwrap(), 8);
    let mut created: Vec<_> = node.members().await.kvs;
    created.sort_by_key(|kv| kv.create_revision);
    let last = node.key(&format!("members/{}", node.id(4)));
    assert_eq!(created.iter().position(|kv| text(&kv.key) == last), Some(3));
    // The same founders through the older door.
    let list = bench.ask(reqwest::Method::GET, &format!("/{token}/initial-cluster"), "").await;
    assert_eq!(list.text().await.unwrap(), format!("{},{},{}\n", value(1), value(2), value(3)));
    bench.stop().await;
}

#[tokio::test]
async fn an_operator_makes_a_token_by_its_size() {
    let bench = Bench::start().await;
    let node = Caller::new(&bench, "6c007a14-875d-53d9-bf0e-f5a6fc0257c8");
    let size = node.key("_config/size");
    assert_eq!(node.range(&size, "").await.unwrap().count, 0);
    assert_eq!(node.register(1).await.unwrap_err().code(), Code::NotFound);
    for (text, starts) in [("0", "Q1001: "), ("x", "Q1001: ")] {
        let refused = node.put(&size, text).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with(starts), "{refused}");
    }
    assert_eq!(node.put(&size, "3").await.unwrap(), 4);
    assert_eq!(node.put(&size, "3").await.unwrap(), 4);
    let refused = node.put(&size, "5").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().starts_with("Q1003: "), "{refused}");
    assert_eq!(node.register(1).await.unwrap(), 5);
    bench.stop().await;
}

#[tokio::test]
async fn everything_but_the_keys_of_one_token_is_refused() {
    let bench = Bench::start().await;
    let token = token_of(&bench, 3).await;
    let node = Caller::new(&bench, &token);
    let whole = format!("/_etcd/registry/{token}");
    for (key, end) in [
        ("foo", ""),
        ("/_etcd/registry", ""),
        ("/_etcd/registry/", "/_etcd/registry0"),
        ("/_etcd/registry//members", ""),
        (whole.as_str(), "\0"),
        (whole.as_str(), "/_etcd/registry0"),
        ("\0", "\0"),
    ] {
        let refused = node.range(key, end).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{key:?} {end:?}");
        let mut watch = node.watch(key, end, 0).await;
        assert_eq!(watch.next().await.unwrap_err().code(), Code::PermissionDenied);
    }
    for key in ["foo".to_owned(), whole.clone(), node.key("members"), node.key("x/y")] {
        let refused = node.put(&key, "v").await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{key}");
    }
    let request = pb::DeleteRangeRequest::default();
    let refused = KvClient::new(node.channel.clone()).delete_range(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let request = pb::TxnRequest::default();
    let refused = KvClient::new(node.channel.clone()).txn(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let request = pb::LeaseGrantRequest { ttl: 5, id: 0 };
    let refused = LeaseClient::new(node.channel.clone()).lease_grant(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert_eq!(refused.message(), "unknown service etcdserverpb.Lease");
    bench.stop().await;
}

#[tokio::test]
async fn refusals_have_their_code_and_both_spellings() {
    let bench = Bench::start().await;
    let token = token_of(&bench, 3).await;
    let node = Caller::new(&bench, &token);
    node.register(1).await.unwrap();
    let slashed = MemberId::derive(["http://127.0.0.1:3002"], &format!("{token}/"));
    let key = node.key(&format!("members/{slashed}"));
    let refused = node.put(&key, &value(2)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("Q1021: "), "{refused}");
    assert!(refused.message().contains(&format!("follows from {token}/:")), "{refused}");

    // A v2 node on the token of v3 nodes, and the other way round.
    let url = format!("{}/{token}", bench.url);
    let id = MemberId::derive(["http://127.0.0.1:3002"], &url);
    let put = format!("/{token}/{id}?prevExist=false");
    let answer = bench.ask(reqwest::Method::PUT, &put, "value=n2=http://127.0.0.1:3002").await;
    assert_eq!(answer.status(), 400);
    let body = answer.text().await.unwrap();
    assert!(body.contains("Q1023") && body.contains(&url), "{body}");
    assert!(body.contains(&format!("--discovery-token {token}")), "{body}");

    let token = token_of(&bench, 3).await;
    let url = format!("{}/{token}", bench.url);
    let id = MemberId::derive(["http://127.0.0.1:3001"], &url);
    let put = format!("/{token}/{id}?prevExist=false");
    let answer = bench.ask(reqwest::Method::PUT, &put, "value=n1=http://127.0.0.1:3001").await;
    assert_eq!(answer.status(), 201);
    let node = Caller::new(&bench, &token);
    assert_eq!(node.members().await.count, 1, "members are seen through both doors");
    let refused = node.register(2).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().starts_with("Q1023: "), "{refused}");
    assert!(refused.message().contains(&url), "{refused}");
    bench.stop().await;
}

#[tokio::test]
async fn reads_can_be_bounded_sorted_and_of_the_past() {
    let bench = Bench::start().await;
    let token = token_of(&bench, 3).await;
    let node = Caller::new(&bench, &token);
    for number in 1..=3 {
        node.register(number).await.unwrap();
    }
    let all = pb::RangeRequest {
        key: node.key("").into(),
        range_end: format!("/_etcd/registry/{token}0").into(),
        ..pb::RangeRequest::default()
    };
    let keys = |answer: &pb::RangeResponse| {
        answer.kvs.iter().map(|kv| kv.create_revision).collect::<Vec<_>>()
    };
    let answer = node.ask(all.clone()).await.unwrap();
    assert!(answer.kvs.is_sorted_by_key(|kv| kv.key.clone()) && answer.count == 4);
    let sorted = pb::RangeRequest { sort_target: 2, sort_order: 2, limit: 3, ..all.clone() };
    let answer = node.ask(sorted).await.unwrap();
    assert_eq!((keys(&answer), answer.more, answer.count), (vec![7, 6, 5], true, 4));
    let past = pb::RangeRequest { revision: 5, sort_target: 2, ..all.clone() };
    assert_eq!(keys(&node.ask(past).await.unwrap()), [4, 5]);
    let counted = node.ask(pb::RangeRequest { count_only: true, ..all.clone() }).await.unwrap();
    assert_eq!((counted.kvs.len(), counted.count), (0, 4));
    let bare = node.ask(pb::RangeRequest { keys_only: true, ..all.clone() }).await.unwrap();
    assert!(bare.kvs.iter().all(|kv| kv.value.is_empty()));
    let future = node.ask(pb::RangeRequest { revision: 99, ..all }).await.unwrap_err();
    assert_eq!(future.code(), Code::OutOfRange);
    bench.stop().await;
}

#[tokio::test]
async fn a_stream_has_many_watches_and_outlives_none_of_the_service() {
    let bench = Bench::start().await;
    let token = token_of(&bench, 3).await;
    let node = Caller::new(&bench, &token);
    let mut watch = node.watch_members(0).await;
    let size = pb::WatchCreateRequest {
        key: node.key("_config/size").into(),
        start_revision: 1,
        ..pb::WatchCreateRequest::default()
    };
    let send = |union| pb::WatchRequest { request_union: Some(union) };
    watch.requests.send(send(RequestUnion::CreateRequest(size))).await.unwrap();
    let created = watch.next().await.unwrap();
    assert_eq!((created.created, created.watch_id), (true, 1));
    let event = watch.next().await.unwrap();
    assert_eq!(
        (event.watch_id, text(&event.events[0].kv.as_ref().unwrap().value)),
        (1, "3".into())
    );
    let cancel = pb::WatchCancelRequest { watch_id: 1 };
    watch.requests.send(send(RequestUnion::CancelRequest(cancel))).await.unwrap();
    let cancelled = watch.next().await.unwrap();
    assert_eq!((cancelled.canceled, cancelled.watch_id), (true, 1));
    let progress = pb::WatchProgressRequest {};
    watch.requests.send(send(RequestUnion::ProgressRequest(progress))).await.unwrap();
    assert_eq!(watch.next().await.unwrap().watch_id, -1);
    node.register(1).await.unwrap();
    assert_eq!(watch.values(1).await, [value(1)]);

    let address = bench.url.strip_prefix("http://").unwrap().parse().unwrap();
    let dir = bench.stop().await;
    assert_eq!(watch.next().await.unwrap_err().code(), Code::Unavailable);
    // What was told is there after a restart, with the same revisions.
    let bench = Bench::start_in(dir, Some(address)).await;
    let node = Caller::new(&bench, &token);
    node.register(2).await.unwrap();
    let mut watch = node.watch_members(5).await;
    assert_eq!(watch.values(2).await, [value(1), value(2)]);
    drop(watch);
    bench.stop().await;
}

#[tokio::test]
async fn where_there_are_users_a_token_is_demanded() {
    use crate::proto::etcdserverpb::auth_client::AuthClient;
    let accounts = Accounts::parse("alice:secret").unwrap();
    let bench = Bench::start_for(tempfile::tempdir().unwrap(), None, Some(accounts)).await;
    let node = Caller::new(&bench, "T");
    let mut kv = KvClient::new(node.channel.clone());
    let mut auth = AuthClient::new(node.channel.clone());
    let size = pb::RangeRequest { key: node.key("_config/size").into(), ..Default::default() };
    let with = |token: &str| {
        let mut request = tonic::Request::new(size.clone());
        request.metadata_mut().insert("token", token.parse().unwrap());
        request
    };
    let refused = kv.range(size.clone()).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: user name is empty");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let refused = kv.range(with("made.up")).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: invalid auth token");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let login = |password: &str| pb::AuthenticateRequest {
        name: "alice".into(),
        password: password.into(),
    };
    let refused = auth.authenticate(login("guess")).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: authentication failed, invalid user ID or password");
    let token = auth.authenticate(login("secret")).await.unwrap().into_inner().token;
    assert_eq!(kv.range(with(&token)).await.unwrap().into_inner().count, 0);
    let put = pb::PutRequest { key: size.key.clone(), value: "1".into(), ..Default::default() };
    let refused = kv.put(put).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: user name is empty");
    let refused = auth.user_list(pb::AuthUserListRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let (requests, stream) = mpsc::channel(1);
    let refused = WatchClient::new(node.channel.clone()).watch(ReceiverStream::new(stream)).await;
    assert_eq!(refused.unwrap_err().message(), "etcdserver: user name is empty");
    drop(requests);
    bench.stop().await;
}

#[tokio::test]
async fn without_users_there_is_nobody_to_authenticate() {
    use crate::proto::etcdserverpb::auth_client::AuthClient;
    let bench = Bench::start().await;
    let node = Caller::new(&bench, "T");
    let asked = pb::AuthenticateRequest { name: "alice".into(), password: "secret".into() };
    let refused = AuthClient::new(node.channel.clone()).authenticate(asked).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: authentication is not enabled");
    bench.stop().await;
}
