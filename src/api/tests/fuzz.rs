//! Damaged gRPC messages against a live node: whatever comes, it answers, and afterwards too.

mod generate;

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use prost::Message as _;
use prost_reflect::MethodDescriptor;
use tokio::time::timeout;
use tonic::Code;
use tower::ServiceExt as _;

use super::live::{Node, PATIENCE};
use crate::api::descriptors;
use crate::fuzz::Fuzz;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use crate::proto::etcdserverpb::request_op::Request as Op;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::quorate::peer;
use crate::proto::{v3electionpb, v3lockpb};

/// Streams and locks answer later or never.
const GLANCE: Duration = Duration::from_millis(20);

type Method = (&'static str, Vec<u8>);

/// Methods, and messages that they understand.
fn corpus() -> Vec<Method> {
    [keys(), leases_and_members(), maintenance_and_users(), recipes()].concat()
}

/// Services beside those of etcd, and messages for them.
fn borrowed() -> Vec<Method> {
    let reflected = [
        vec![0x3a, 1, b'*'],
        [&[0x22, 15][..], b"etcdserverpb.KV"].concat(),
        [&[0x1a, 9][..], b"kv.proto\0"].concat(),
        vec![0x2a, 4, 0x0a, 0, 0x10, 7],
    ];
    let mut methods = Vec::new();
    for version in [
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        methods.extend(reflected.iter().map(|message| (version, message.clone())));
    }
    for method in ["grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch"] {
        methods.push((method, vec![0x0a, 0]));
        methods.push((method, [&[0x0a, 15][..], b"etcdserverpb.KV"].concat()));
    }
    methods.push(("grpc.health.v1.Health/List", Vec::new()));
    methods
}

/// Every method of the services of these packages.
fn methods(packages: &[&str]) -> Vec<MethodDescriptor> {
    let services =
        descriptors::services().filter(|service| packages.contains(&service.package_name()));
    services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

fn path(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}

fn keys() -> Vec<Method> {
    let put = pb::PutRequest { key: "k".into(), value: "v".into(), ..Default::default() };
    let range = pb::RangeRequest {
        key: "a".into(),
        range_end: "z".into(),
        limit: 3,
        min_mod_revision: 1,
        ..Default::default()
    };
    let delete = pb::DeleteRangeRequest { key: "k".into(), prev_kv: true, ..Default::default() };
    let txn = pb::TxnRequest {
        compare: vec![pb::Compare {
            key: "k".into(),
            target_union: Some(pb::compare::TargetUnion::Version(1)),
            ..Default::default()
        }],
        success: vec![pb::RequestOp { request: Some(Op::RequestPut(put.clone())) }],
        failure: vec![pb::RequestOp { request: Some(Op::RequestRange(range.clone())) }],
    };
    let nested = pb::TxnRequest {
        success: vec![pb::RequestOp { request: Some(Op::RequestTxn(txn.clone())) }],
        ..Default::default()
    };
    let compact = pb::CompactionRequest { revision: 2, physical: false };
    let create = pb::WatchCreateRequest {
        key: "k".into(),
        start_revision: 1,
        prev_kv: true,
        fragment: true,
        ..Default::default()
    };
    let create = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    vec![
        ("etcdserverpb.KV/Put", put.encode_to_vec()),
        ("etcdserverpb.KV/Range", range.encode_to_vec()),
        ("etcdserverpb.KV/RangeStream", range.encode_to_vec()),
        ("etcdserverpb.KV/DeleteRange", delete.encode_to_vec()),
        ("etcdserverpb.KV/Txn", txn.encode_to_vec()),
        ("etcdserverpb.KV/Txn", nested.encode_to_vec()),
        ("etcdserverpb.KV/Compact", compact.encode_to_vec()),
        ("etcdserverpb.Watch/Watch", create.encode_to_vec()),
    ]
}

fn leases_and_members() -> Vec<Method> {
    let grant = pb::LeaseGrantRequest { ttl: 5, id: 3 };
    let look = pb::LeaseTimeToLiveRequest { id: 3, keys: true };
    let add = pb::MemberAddRequest { peer_ur_ls: vec!["no url".to_owned()], is_learner: true };
    let update = pb::MemberUpdateRequest { id: 5, peer_ur_ls: vec!["http://h:1".to_owned()] };
    let list = pb::MemberListRequest { linearizable: true };
    vec![
        ("etcdserverpb.Lease/LeaseGrant", grant.encode_to_vec()),
        ("etcdserverpb.Lease/LeaseRevoke", pb::LeaseRevokeRequest { id: 3 }.encode_to_vec()),
        ("etcdserverpb.Lease/LeaseKeepAlive", pb::LeaseKeepAliveRequest { id: 3 }.encode_to_vec()),
        ("etcdserverpb.Lease/LeaseTimeToLive", look.encode_to_vec()),
        ("etcdserverpb.Lease/LeaseLeases", Vec::new()),
        ("etcdserverpb.Cluster/MemberAdd", add.encode_to_vec()),
        ("etcdserverpb.Cluster/MemberRemove", pb::MemberRemoveRequest { id: 5 }.encode_to_vec()),
        ("etcdserverpb.Cluster/MemberUpdate", update.encode_to_vec()),
        ("etcdserverpb.Cluster/MemberPromote", pb::MemberPromoteRequest { id: 5 }.encode_to_vec()),
        ("etcdserverpb.Cluster/MemberList", list.encode_to_vec()),
    ]
}

fn maintenance_and_users() -> Vec<Method> {
    let alarm = pb::AlarmRequest { member_id: 7, alarm: 1, ..Default::default() };
    let hash = pb::HashKvRequest { revision: 1 };
    let to = pb::MoveLeaderRequest { target_id: 9 };
    let downgrade = pb::DowngradeRequest { action: 0, version: "3.5".to_owned() };
    let user = pb::AuthUserDeleteRequest { name: "u".to_owned() };
    let role = pb::AuthRoleAddRequest { name: "r".to_owned() };
    vec![
        ("etcdserverpb.Maintenance/Alarm", alarm.encode_to_vec()),
        ("etcdserverpb.Maintenance/Status", Vec::new()),
        ("etcdserverpb.Maintenance/Defragment", Vec::new()),
        ("etcdserverpb.Maintenance/Hash", Vec::new()),
        ("etcdserverpb.Maintenance/HashKV", hash.encode_to_vec()),
        ("etcdserverpb.Maintenance/Snapshot", Vec::new()),
        ("etcdserverpb.Maintenance/MoveLeader", to.encode_to_vec()),
        ("etcdserverpb.Maintenance/Downgrade", downgrade.encode_to_vec()),
        ("etcdserverpb.Auth/AuthStatus", Vec::new()),
        ("etcdserverpb.Auth/UserList", Vec::new()),
        ("etcdserverpb.Auth/UserDelete", user.encode_to_vec()),
        ("etcdserverpb.Auth/UserGet", user.encode_to_vec()),
        ("etcdserverpb.Auth/RoleAdd", role.encode_to_vec()),
        ("etcdserverpb.Auth/RoleGet", role.encode_to_vec()),
    ]
}

fn recipes() -> Vec<Method> {
    let lock = v3lockpb::LockRequest { name: "l".into(), lease: 0 };
    let campaign = v3electionpb::CampaignRequest { name: "e".into(), ..Default::default() };
    let leader = v3electionpb::LeaderKey { name: "e".into(), key: "e/3".into(), rev: 2, lease: 3 };
    let proclaim = v3electionpb::ProclaimRequest { leader: Some(leader), value: "v".into() };
    vec![
        ("v3lockpb.Lock/Lock", lock.encode_to_vec()),
        ("v3electionpb.Election/Campaign", campaign.encode_to_vec()),
        ("v3electionpb.Election/Observe", campaign.encode_to_vec()),
        ("v3electionpb.Election/Proclaim", proclaim.encode_to_vec()),
    ]
}

/// A body of gRPC: mostly one message in its frame, or two, sometimes damaged as a whole.
fn body(fuzz: &mut Fuzz, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for message in messages {
        body.push(u8::from(fuzz.below(50) == 0));
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message);
    }
    if fuzz.below(20) == 0 { fuzz.damaged(&[body]) } else { body }
}

/// Whether there was an answer in time; streams and locks answer later or never.
async fn call(router: &Router, path: &str, body: Vec<u8>, limit: Duration) -> bool {
    let request = Request::post(format!("/{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::from(body))
        .unwrap();
    let work = async {
        let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
        assert_eq!(head.status, 200, "gRPC says what is wrong in its trailers");
        axum::body::to_bytes(body, 1 << 20).await
    };
    timeout(limit, work).await.is_ok()
}

/// The node answers and leads, unless it was asked in all form for what a lone member cannot do: to wait for
/// a second, or for a password.
async fn lives(node: &Node, fuzz: &Fuzz) -> bool {
    let mut maintenance = MaintenanceClient::new(node.channel().await);
    let status = timeout(PATIENCE, maintenance.status(pb::StatusRequest {})).await;
    match status.unwrap_or_else(|_| panic!("{}: no answer", fuzz.place())) {
        Ok(status) if status.get_ref().leader != 0 => true,
        Ok(_) => {
            let voters = node.running.handle().members().iter().filter(|it| !it.learner).count();
            assert!(voters > 1, "{}: it leads no more", fuzz.place());
            false
        }
        Err(refusal) => {
            assert_eq!(refusal.code(), Code::InvalidArgument, "{}: {refusal}", fuzz.place());
            false
        }
    }
}

#[tokio::test]
async fn damaged_grpc_messages_are_answered_and_the_node_lives() {
    let mut fuzz = Fuzz::new("gRPC messages", 3000);
    let mut node = Node::start().await;
    let written = [corpus(), borrowed()].concat();
    let messages: Vec<Vec<u8>> = written.iter().map(|(_, message)| message.clone()).collect();
    let all = methods(&["etcdserverpb", "v3lockpb", "v3electionpb"]);
    let mut answered = BTreeSet::new();
    while fuzz.goes_on() {
        let (path, message) = if fuzz.below(2) == 0 {
            let at = fuzz.below(written.len());
            // Mostly what the method understands, sometimes what another does.
            let own = if fuzz.below(5) == 0 { &messages[..] } else { &messages[at..=at] };
            (written[at].0.to_owned(), fuzz.damaged(own))
        } else {
            let method = &all[fuzz.below(all.len())];
            let message = generate::message(&mut fuzz, &method.input());
            let damaged = fuzz.below(4) == 0;
            (path(method), if damaged { fuzz.damaged(&[message]) } else { message })
        };
        let body = body(&mut fuzz, &[message]);
        if call(&node.router, &path, body, GLANCE).await {
            answered.insert(path);
        }
        // What one did to the node, such as an alarm, is not to keep all that comes later from getting far.
        if fuzz.below(100) == 0 && (!lives(&node, &fuzz).await || fuzz.below(10) == 0) {
            node.stop().await;
            node = Node::start().await;
        }
    }
    // These answer when something happens.
    let waits = ["Watch", "Observe", "Campaign", "Lock"];
    for path in all.iter().map(path).filter(|it| !waits.iter().any(|name| it.ends_with(name))) {
        // A slow machine may not have answered at a glance.
        let late =
            answered.contains(&path) || call(&node.router, &path, vec![0; 5], PATIENCE).await;
        assert!(late, "{path} never answers");
    }
    node.stop().await;
}

/// Whoever reaches the peer port may send anything, whether it is a member or not.
#[tokio::test]
async fn damaged_calls_of_peers_are_answered_and_the_node_lives() {
    let mut fuzz = Fuzz::new("peer calls", 2000);
    let node = Node::start().await;
    let router = node.running.peer_router();
    let handle = node.running.handle();
    let envelope =
        peer::Envelope { cluster_id: handle.cluster_id().0, from: 77, to: handle.member_id().0 };
    // As a field of a message: the last of several counts.
    let envelope = peer::ProbeRequest { envelope: Some(envelope) }.encode_to_vec();
    let all = methods(&["quorate.peer"]);
    let mut answered = BTreeSet::new();
    while fuzz.goes_on() {
        let method = &all[fuzz.below(all.len())];
        let admitted = fuzz.below(2) == 0;
        let messages: Vec<Vec<u8>> = (0..=fuzz.below(3))
            .map(|_| {
                let mut message = generate::message(&mut fuzz, &method.input());
                if fuzz.below(4) == 0 {
                    message = fuzz.damaged(&[message]);
                }
                if admitted {
                    message.extend(&envelope);
                }
                message
            })
            .collect();
        let body = body(&mut fuzz, &messages);
        if call(&router, &path(method), body, GLANCE).await {
            answered.insert(path(method));
        }
        if fuzz.below(100) == 0 {
            assert!(lives(&node, &fuzz).await, "{}", fuzz.place());
        }
    }
    for path in all.iter().map(path) {
        let late = answered.contains(&path) || call(&router, &path, Vec::new(), PATIENCE).await;
        assert!(late, "{path} never answers");
    }
    node.stop().await;
}
