//! Damaged gRPC messages against a live node: whatever comes, it answers, and afterwards too.

use axum::body::Body;
use axum::http::Request;
use prost::Message as _;
use tokio::time::timeout;

use super::live::{Node, PATIENCE};
use crate::fuzz::Fuzz;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use crate::proto::etcdserverpb::request_op::Request as Op;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::{v3electionpb, v3lockpb};

/// Streams and locks answer later or never.
const GLANCE: std::time::Duration = std::time::Duration::from_millis(20);

type Method = (&'static str, Vec<u8>);

/// Methods, and messages that they understand. Absent: what ends the life of a lone member if it succeeds, which
/// is adding a second that never comes.
fn corpus() -> Vec<Method> {
    [keys(), leases_and_members(), maintenance_and_users(), recipes()].concat()
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
    let reflection = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    vec![
        ("v3lockpb.Lock/Lock", lock.encode_to_vec()),
        ("v3electionpb.Election/Campaign", campaign.encode_to_vec()),
        ("v3electionpb.Election/Observe", campaign.encode_to_vec()),
        ("grpc.health.v1.Health/Check", vec![0x0a, 0]),
        (reflection, vec![0x3a, 1, b'*']),
    ]
}

#[tokio::test]
async fn damaged_grpc_messages_are_answered_and_the_node_lives() {
    let mut fuzz = Fuzz::new("gRPC messages", 1500);
    let node = Node::start().await;
    let channel = node.channel().await;
    let corpus = corpus();
    let messages: Vec<Vec<u8>> = corpus.iter().map(|(_, message)| message.clone()).collect();
    let mut answered = 0_u64;
    while fuzz.goes_on() {
        let at = fuzz.below(corpus.len());
        // Mostly what the method understands, sometimes what another does.
        let own = if fuzz.below(5) == 0 { &messages[..] } else { &messages[at..=at] };
        let message = fuzz.damaged(own);
        let mut body = vec![u8::from(fuzz.below(50) == 0)];
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message);
        if fuzz.below(20) == 0 {
            body = fuzz.damaged(&[body]);
        }
        let request = Request::post(format!("/{}", corpus[at].0))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::from(body))
            .unwrap();
        let work = async {
            let (head, body) = node.send(request).await.into_parts();
            assert_eq!(head.status, 200, "gRPC says what is wrong in its trailers");
            axum::body::to_bytes(body, 1 << 20).await
        };
        answered += u64::from(timeout(GLANCE, work).await.is_ok());
        if fuzz.below(100) == 0 {
            let mut maintenance = MaintenanceClient::new(channel.clone());
            let status = timeout(PATIENCE, maintenance.status(pb::StatusRequest {})).await;
            let status = status.unwrap_or_else(|_| panic!("{}: no answer", fuzz.place())).unwrap();
            assert_ne!(status.into_inner().leader, 0, "{}", fuzz.place());
        }
    }
    assert!(answered > 100, "{answered}");
    node.stop().await;
}
