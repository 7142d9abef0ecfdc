//! gRPC messages packed with gzip; what etcd 3.5.1 answers was measured.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use tonic::Code;
use tonic::Status;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::codegen::tokio_stream;
use tower::ServiceExt as _;

use super::live::{Node, words};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::kv_client::KvClient;
use crate::proto::etcdserverpb::lease_client::LeaseClient;
use crate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use crate::proto::etcdserverpb::watch_client::WatchClient;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::v3lockpb::{LockRequest, lock_client::LockClient};

fn packed(metadata: &tonic::metadata::MetadataMap) -> bool {
    metadata.get("grpc-encoding").is_some_and(|encoding| encoding == "gzip")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_packs_gets_packed_answers() {
    let node = Node::start().await;
    let channel = node.channel().await;
    let mut kv = KvClient::new(channel.clone()).send_compressed(Gzip).accept_compressed(Gzip);
    let put =
        pb::PutRequest { key: "a".into(), value: vec![b'v'; 300].into(), ..Default::default() };
    assert!(packed(kv.put(put).await.unwrap().metadata()));
    let range = pb::RangeRequest { key: "a".into(), ..Default::default() };
    let answer = kv.range(range.clone()).await.unwrap();
    assert!(packed(answer.metadata()));
    assert_eq!(answer.into_inner().kvs[0].value, vec![b'v'; 300]);
    let compaction = kv.compact(pb::CompactionRequest { revision: 2, physical: true }).await;
    assert!(packed(compaction.unwrap().metadata()));

    let lease = pb::LeaseGrantRequest { ttl: 60, id: 7 };
    let leases = LeaseClient::new(channel.clone());
    let mut leases = leases.send_compressed(Gzip).accept_compressed(Gzip);
    assert!(packed(leases.lease_grant(lease).await.unwrap().metadata()));
    let renewals = tokio_stream::iter([pb::LeaseKeepAliveRequest { id: 7 }; 2]);
    let mut renewed = leases.lease_keep_alive(renewals).await.unwrap();
    assert!(packed(renewed.metadata()));
    for _ in 0..2 {
        assert_eq!(renewed.get_mut().message().await.unwrap().unwrap().ttl, 60);
    }
    let create =
        pb::WatchCreateRequest { key: "a".into(), start_revision: 2, ..Default::default() };
    let request_union = Some(RequestUnion::CreateRequest(create));
    let watches = WatchClient::new(channel.clone());
    let mut watches = watches.send_compressed(Gzip).accept_compressed(Gzip);
    let requests = tokio_stream::iter([pb::WatchRequest { request_union }]);
    let mut watching = watches.watch(requests).await.unwrap();
    assert!(packed(watching.metadata()));
    assert!(watching.get_mut().message().await.unwrap().unwrap().created);
    assert_eq!(watching.get_mut().message().await.unwrap().unwrap().events.len(), 1);
    let mut locks = LockClient::new(channel.clone()).send_compressed(Gzip).accept_compressed(Gzip);
    let lock = LockRequest { name: "l".into(), lease: 7 };
    assert!(packed(locks.lock(lock).await.unwrap().metadata()));
    let mut maintenance =
        MaintenanceClient::new(channel.clone()).send_compressed(Gzip).accept_compressed(Gzip);
    assert!(packed(maintenance.status(pb::StatusRequest {}).await.unwrap().metadata()));

    // Libraries say that they could read it whether anybody wants it or not.
    let mut plain = KvClient::new(channel.clone()).accept_compressed(Gzip);
    assert!(!packed(plain.range(range).await.unwrap().metadata()));
    let mut plain = MaintenanceClient::new(channel).accept_compressed(Gzip);
    assert!(!packed(plain.status(pb::StatusRequest {}).await.unwrap().metadata()));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_unpacks_to_more_than_a_message_may_have_is_refused() {
    let node = Node::start().await;
    let mut kv = KvClient::new(node.channel().await).send_compressed(Gzip);
    let put = |size: usize| pb::PutRequest {
        key: "a".into(),
        value: vec![b'v'; size].into(),
        ..Default::default()
    };
    let refused = kv.put(put(3_000_000)).await.unwrap_err();
    let text = "grpc: received message larger than max (2097153 vs. 2097152)";
    assert_eq!(words(&refused), (Code::ResourceExhausted, text));
    let refused = kv.put(put(1_800_000)).await.unwrap_err();
    let text = "etcdserver: request is too large";
    assert_eq!(words(&refused), (Code::InvalidArgument, text));
    node.stop().await;
}

/// One message as it is, and its refusal.
async fn refusal(node: &Node, encoding: &str, flag: u8, message: &[u8]) -> Status {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let request = Request::post("/etcdserverpb.KV/Range")
        .header("content-type", "application/grpc")
        .header("grpc-encoding", encoding)
        .body(Body::from([&[flag][..], &length, message].concat()))
        .unwrap();
    let response: Response = node.router.clone().oneshot(request).await.unwrap();
    Status::from_header_map(response.headers()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_unpacked_is_refused_in_the_words_of_grpc_go() {
    let node = Node::start().await;
    // `gzip` of the message of a range of `k`, whole and with another checksum.
    let whole = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff\xe3\x62\xcc\x06\0\x55\xd5\xad\x31\x03\0\0\0";
    let unknown = "grpc: Decompressor is not installed for grpc-encoding \"snappy\"";
    let identity = "grpc: compressed flag set with identity or empty encoding";
    let mut wrong = whole.to_vec();
    wrong[15] ^= 1;
    for (encoding, flag, message, code, text) in [
        ("snappy", 1, &whole[..], Code::Unimplemented, unknown),
        ("identity", 1, whole, Code::Internal, identity),
        ("gzip", 2, whole, Code::Internal, "grpc: received unexpected payload format 2"),
        (
            "gzip",
            1,
            b"not packed",
            Code::Internal,
            "grpc: failed to decompress the received message gzip: invalid header",
        ),
        (
            "gzip",
            1,
            &whole[..14],
            Code::Internal,
            "grpc: failed to decompress the received message unexpected EOF",
        ),
        (
            "gzip",
            1,
            &wrong,
            Code::Internal,
            "grpc: failed to decompress the received message gzip: invalid checksum",
        ),
    ] {
        let refused = refusal(&node, encoding, flag, message).await;
        assert_eq!(words(&refused), (code, text), "{encoding} {flag}");
    }
    node.stop().await;
}
