//! Users over gRPC, where `etcdctl` does not reach.

use axum::http::StatusCode;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::live::{Node, words};
use crate::proto::authpb;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::auth_client::AuthClient;
use crate::proto::etcdserverpb::cluster_client::ClusterClient;
use crate::proto::etcdserverpb::kv_client::KvClient;
use crate::proto::etcdserverpb::lease_client::LeaseClient;
use crate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use crate::proto::etcdserverpb::watch_client::WatchClient;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::transport::PeerIdentity;

const NOBODY: (Code, &str) = (Code::InvalidArgument, "etcdserver: user name is empty");
const DENIED: (Code, &str) = (Code::PermissionDenied, "etcdserver: permission denied");
const INVALID: (Code, &str) = (Code::Unauthenticated, "etcdserver: invalid auth token");

/// The same message from whoever holds this token.
fn signed<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !token.is_empty() {
        request.metadata_mut().insert("token", token.parse().unwrap());
    }
    request
}

/// The same message over a connection with a certificate of this name.
fn certified<T>(name: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let common_name = Some(name.to_owned());
    request.extensions_mut().insert(PeerIdentity { common_name, ..Default::default() });
    request
}

fn add(name: &str, password: &str) -> pb::AuthUserAddRequest {
    pb::AuthUserAddRequest { name: name.into(), password: password.into(), ..Default::default() }
}

async fn token(channel: &Channel, name: &str, password: &str) -> Result<String, Status> {
    let asked = pb::AuthenticateRequest { name: name.into(), password: password.into() };
    Ok(AuthClient::new(channel.clone()).authenticate(asked).await?.into_inner().token)
}

/// Turns checks on; `alice` may read and write the key `a`. Her token, and root's.
async fn guard(channel: &Channel) -> (String, String) {
    let mut auth = AuthClient::new(channel.clone());
    let refused = auth.auth_enable(pb::AuthEnableRequest {}).await.unwrap_err();
    let text = "etcdserver: root user does not exist";
    assert_eq!(words(&refused), (Code::FailedPrecondition, text));
    auth.user_add(add("root", "r")).await.unwrap();
    let refused = auth.auth_enable(pb::AuthEnableRequest {}).await.unwrap_err();
    let text = "etcdserver: root user does not have root role";
    assert_eq!(words(&refused), (Code::FailedPrecondition, text));
    let grant = |user: &str, role: &str| pb::AuthUserGrantRoleRequest {
        user: user.into(),
        role: role.into(),
    };
    auth.user_grant_role(grant("root", "root")).await.unwrap();
    auth.user_add(add("alice", "a")).await.unwrap();
    auth.role_add(pb::AuthRoleAddRequest { name: "r".into() }).await.unwrap();
    let none = pb::AuthRoleGrantPermissionRequest { name: "r".into(), perm: None };
    let refused = auth.role_grant_permission(none).await.unwrap_err();
    let text = "etcdserver: permission not given";
    assert_eq!(words(&refused), (Code::InvalidArgument, text));
    let perm = authpb::Permission { perm_type: 2, key: "a".into(), range_end: "".into() };
    let permit = pb::AuthRoleGrantPermissionRequest { name: "r".into(), perm: Some(perm) };
    auth.role_grant_permission(permit).await.unwrap();
    auth.user_grant_role(grant("alice", "r")).await.unwrap();
    let refused = token(channel, "alice", "a").await.unwrap_err();
    let text = "etcdserver: authentication is not enabled";
    assert_eq!(words(&refused), (Code::FailedPrecondition, text));
    let status = auth.auth_status(pb::AuthStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.enabled, status.auth_revision), (false, 7));
    auth.auth_enable(pb::AuthEnableRequest {}).await.unwrap();
    (token(channel, "alice", "a").await.unwrap(), token(channel, "root", "r").await.unwrap())
}

fn put(key: &'static str) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), value: "v".into(), ..Default::default() }
}

/// etcd's words, measured on 3.4.23 and 3.5.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_serves_nobody_whose_certificate_is_a_user() {
    let node = Node::start().await;
    let shown = |common_name: Option<&str>, path: &str| {
        let common_name = common_name.map(str::to_owned);
        let mut request = super::request("POST", path);
        request.extensions_mut().insert(PeerIdentity { common_name, ..Default::default() });
        request
    };
    let list = "/v3/cluster/member/list";
    let (status, ..) = super::ask(&node.router, shown(Some("root"), list)).await;
    assert_eq!(status, StatusCode::OK, "while nobody is checked");
    guard(&node.channel().await).await;
    let named = "CommonName of client sending a request against gateway will be ignored and not used as expected\n";
    let nobody = r#"{"error":"etcdserver: user name is empty","code":3,"message":"etcdserver: user name is empty"}"#;
    for (name, path, wanted) in [
        (Some("root"), list, named),
        (Some("root"), "/v3beta/auth/authenticate", named),
        (Some("root"), "/v3/nothing", named),
        (None, list, nobody),
        (Some(""), list, nobody),
    ] {
        let (status, _, body) = super::ask(&node.router, shown(name, path)).await;
        assert_eq!((status, &body[..]), (StatusCode::BAD_REQUEST, wanted), "{name:?} {path}");
    }
    let (status, ..) = super::ask(&node.router, super::request("GET", "/version")).await;
    assert_eq!(status, StatusCode::OK);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_asks_who_calls() {
    let node = Node::start().await;
    let channel = node.channel().await;
    let (alice, root) = guard(&channel).await;
    let (mut kv, mut auth) = (KvClient::new(channel.clone()), AuthClient::new(channel.clone()));
    let mut leases = LeaseClient::new(channel.clone());
    let mut cluster = ClusterClient::new(channel.clone());
    let mut maintenance = MaintenanceClient::new(channel.clone());
    // What each caller gets: nobody, alice with her own key, alice elsewhere, root.
    macro_rules! as_said {
        ($client:ident.$call:ident($message:expr), $nobody:expr, $alice:expr, $root:expr) => {
            for (token, wanted) in [("", $nobody), (&alice[..], $alice), (&root[..], $root)] {
                let answer = $client.$call(signed(token, $message)).await;
                let seen = answer.as_ref().err().map(words);
                assert_eq!(seen, wanted, "{} by `{token}`", stringify!($call));
            }
            let made_up = $client.$call(signed("abc.1", $message)).await.err().unwrap();
            assert_eq!(words(&made_up), INVALID, stringify!($call));
        };
    }
    let range = |key: &'static str| pb::RangeRequest { key: key.into(), ..Default::default() };
    as_said!(kv.put(put("a")), Some(NOBODY), None, None);
    as_said!(kv.put(put("q")), Some(NOBODY), Some(DENIED), None);
    as_said!(kv.range(range("a")), Some(NOBODY), None, None);
    as_said!(kv.range(range("q")), Some(NOBODY), Some(DENIED), None);
    as_said!(kv.range_stream(range("q")), Some(NOBODY), Some(DENIED), None);
    as_said!(leases.lease_leases(pb::LeaseLeasesRequest {}), Some(NOBODY), None, None);
    let grant = pb::LeaseGrantRequest { ttl: 60, id: 0 };
    as_said!(leases.lease_grant(grant), Some(NOBODY), None, None);
    as_said!(leases.lease_leases(pb::LeaseLeasesRequest {}), Some(NOBODY), None, None);
    let held = pb::LeaseGrantRequest { ttl: 60, id: 7 };
    leases.lease_grant(signed(&root, held)).await.unwrap();
    kv.put(signed(&root, pb::PutRequest { lease: 7, ..put("q") })).await.unwrap();
    let look = |keys| pb::LeaseTimeToLiveRequest { id: 7, keys };
    as_said!(leases.lease_time_to_live(look(false)), Some(NOBODY), None, None);
    as_said!(leases.lease_time_to_live(look(true)), Some(NOBODY), Some(DENIED), None);
    as_said!(leases.lease_leases(pb::LeaseLeasesRequest {}), Some(NOBODY), Some(DENIED), None);
    let revoke = pb::LeaseRevokeRequest { id: 7 };
    let refused = leases.lease_revoke(signed(&alice, revoke)).await.unwrap_err();
    assert_eq!(words(&refused), DENIED);
    let renewal = || tokio_stream::once(pb::LeaseKeepAliveRequest { id: 7 });
    for (token, wanted) in [("", Some(NOBODY)), (&alice[..], Some(DENIED)), (&root[..], None)] {
        let answers = leases.lease_keep_alive(signed(token, renewal())).await.unwrap();
        let answer = answers.into_inner().next().await.unwrap();
        assert_eq!(answer.as_ref().err().map(words), wanted, "keep-alive by `{token}`");
    }
    as_said!(cluster.member_list(pb::MemberListRequest::default()), Some(NOBODY), None, None);
    as_said!(maintenance.status(pb::StatusRequest {}), Some(NOBODY), None, None);
    let hash = pb::HashKvRequest { revision: 0 };
    as_said!(maintenance.hash_kv(hash), Some(NOBODY), Some(DENIED), None);
    as_said!(auth.auth_status(pb::AuthStatusRequest {}), Some(NOBODY), Some(DENIED), None);
    as_said!(auth.user_list(pb::AuthUserListRequest {}), Some(NOBODY), Some(DENIED), None);
    let own = || pb::AuthUserGetRequest { name: "alice".into() };
    as_said!(auth.user_get(own()), Some(NOBODY), None, None);
    let removed = cluster.member_remove(signed(&alice, pb::MemberRemoveRequest { id: 1 })).await;
    assert_eq!(words(&removed.unwrap_err()), DENIED);
    let compaction = pb::CompactionRequest { revision: 2, physical: false };
    let compacted = kv.compact(signed(&alice, compaction)).await;
    assert_eq!(words(&compacted.unwrap_err()), DENIED);
    node.stop().await;
}

/// As etcd does: a client that shows a certificate keeps its lease when users come into force.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_its_callers_also_where_checks_begin_later() {
    let node = Node::start().await;
    let channel = node.channel().await;
    let (_, root) = guard(&channel).await;
    let mut auth = AuthClient::new(channel.clone());
    auth.auth_disable(signed(&root, pb::AuthDisableRequest {})).await.unwrap();
    let mut leases = LeaseClient::new(node.router.clone());
    leases.lease_grant(pb::LeaseGrantRequest { ttl: 60, id: 7 }).await.unwrap();
    let (renewals, sent) = mpsc::channel(1);
    let (watches, asked) = mpsc::channel(1);
    let sent = certified("root", ReceiverStream::new(sent));
    let mut renewed = leases.lease_keep_alive(sent).await.unwrap().into_inner();
    let asked = certified("alice", ReceiverStream::new(asked));
    let mut watching =
        WatchClient::new(node.router.clone()).watch(asked).await.unwrap().into_inner();
    renewals.send(pb::LeaseKeepAliveRequest { id: 7 }).await.unwrap();
    assert_eq!(renewed.next().await.unwrap().unwrap().ttl, 60);
    auth.auth_enable(pb::AuthEnableRequest {}).await.unwrap();
    renewals.send(pb::LeaseKeepAliveRequest { id: 7 }).await.unwrap();
    assert_eq!(renewed.next().await.unwrap().unwrap().ttl, 60);
    let create = pb::WatchCreateRequest { key: "a".into(), ..Default::default() };
    watches
        .send(pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) })
        .await
        .unwrap();
    let created = watching.next().await.unwrap().unwrap();
    assert!(created.created && !created.canceled, "{created:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_with_its_user_or_password() {
    let node = Node::start().await;
    let channel = node.channel().await;
    let (alice, root) = guard(&channel).await;
    let (mut kv, mut auth) = (KvClient::new(channel.clone()), AuthClient::new(channel.clone()));
    // A change of users leaves simple tokens alone.
    auth.user_add(signed(&root, add("bob", "b"))).await.unwrap();
    kv.put(signed(&alice, put("a"))).await.unwrap();
    let change = pb::AuthUserChangePasswordRequest {
        name: "alice".into(),
        password: "other".into(),
        ..Default::default()
    };
    auth.user_change_password(signed(&root, change)).await.unwrap();
    let refused = kv.put(signed(&alice, put("a"))).await.unwrap_err();
    assert_eq!(words(&refused), INVALID);
    let failed = "etcdserver: authentication failed, invalid user ID or password";
    let refused = token(&channel, "alice", "a").await.unwrap_err();
    assert_eq!(words(&refused), (Code::InvalidArgument, failed));
    let alice = token(&channel, "alice", "other").await.unwrap();
    kv.put(signed(&alice, put("a"))).await.unwrap();
    let delete = pb::AuthUserDeleteRequest { name: "alice".into() };
    auth.user_delete(signed(&root, delete)).await.unwrap();
    assert_eq!(words(&kv.put(signed(&alice, put("a"))).await.unwrap_err()), INVALID);
    let refused = auth.user_add(signed(&root, add("c", &"x".repeat(73)))).await.unwrap_err();
    assert_eq!(words(&refused), (Code::Unknown, "bcrypt: password length exceeds 72 bytes"));
    auth.user_add(signed(&root, add("c", ""))).await.unwrap();
    token(&channel, "c", "").await.unwrap();
    auth.auth_disable(signed(&root, pb::AuthDisableRequest {})).await.unwrap();
    // Nobody looks at tokens now (etcd 3.4.23 still did).
    kv.put(signed("abc.1", put("q"))).await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_is_refused_as_etcd_prints_its_errors() {
    let node = Node::start().await;
    let channel = node.channel().await;
    let (alice, _) = guard(&channel).await;
    for (token, key, end, reason) in [
        ("", "a", "", "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"),
        (
            &alice[..],
            "q",
            "",
            "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
        ),
        // From a key on: more than the key that may be read.
        (
            &alice[..],
            "a",
            "\0",
            "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
        ),
        (
            "abc.1",
            "a",
            "",
            "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
        ),
        (&alice[..], "a", "", ""),
    ] {
        let create = pb::WatchCreateRequest {
            key: key.to_owned().into(),
            range_end: end.to_owned().into(),
            ..Default::default()
        };
        let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let mut client = WatchClient::new(channel.clone());
        let answers = client.watch(signed(token, tokio_stream::once(request))).await.unwrap();
        let answer = answers.into_inner().next().await.unwrap().unwrap();
        assert!(answer.created);
        assert_eq!((&answer.cancel_reason[..], answer.canceled), (reason, !reason.is_empty()));
        assert_eq!(answer.watch_id, if reason.is_empty() { 0 } else { -1 });
    }
    node.stop().await;
}
