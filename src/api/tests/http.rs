//! The JSON gateway, reflection, `/metrics` and `/debug/vars` of a live node.

use std::io::Read as _;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use flate2::read::GzDecoder;
use tonic::Code;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tower::ServiceExt as _;

use super::live::{Node, words};
use super::{ask, request};
use crate::api::peer_router;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::kv_client::KvClient;

/// Answers without the numbers that differ from cluster to cluster.
async fn post(node: &Node, path: &str, body: &str) -> (StatusCode, String) {
    let header = node.running.handle().header_at(7);
    let response = node.http("POST", path, body).await;
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let text = text
        .replace(&header.cluster_id.to_string(), "C")
        .replace(&header.member_id.to_string(), "M")
        .replace(&format!("\"raft_term\":\"{}\"", header.raft_term), "\"raft_term\":\"T\"");
    (head.status, text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_answers_as_etcd_does() {
    let node = Node::start().await;
    let header = |revision: &str| {
        let revision = format!(r#""cluster_id":"C","member_id":"M",{revision}"raft_term":"T""#);
        format!(r#""header":{{{revision}}}"#)
    };
    let at = |revision: i64| header(&format!(r#""revision":"{revision}","#));
    let kv =
        r#"{"key":"Zm9v","create_revision":"2","mod_revision":"2","version":"1","value":"YmFy"}"#;
    let refusal =
        |code: i32, text: &str| format!(r#"{{"error":"{text}","code":{code},"message":"{text}"}}"#);
    for (path, body, status, answer) in [
        ("/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#, 200, format!("{{{}}}", at(2))),
        (
            "/v3beta/kv/range",
            r#"{"key":"Zm9v"} trailing"#,
            200,
            format!(r#"{{{},"kvs":[{kv}],"count":"1"}}"#, at(2)),
        ),
        (
            "/v3/kv/range",
            r#"{"key":"Zm9v","revision":"100"}"#,
            400,
            refusal(11, "etcdserver: mvcc: required revision is a future revision"),
        ),
        ("/v3/kv/range", "", 400, refusal(3, "etcdserver: key is not provided")),
        ("/v3/kv/range", r#"{"key":"Zm9v""#, 400, refusal(3, "unexpected EOF")),
        (
            "/v3/lease/revoke",
            r#"{"ID":"999"}"#,
            404,
            refusal(5, "etcdserver: requested lease not found"),
        ),
        (
            "/v3/lease/keepalive",
            r#"{"ID":"1"} {"ID":2}"#,
            200,
            format!(
                "{{\"result\":{{{0},\"ID\":\"1\"}}}}\n{{\"result\":{{{0},\"ID\":\"2\"}}}}\n",
                at(2)
            ),
        ),
        (
            "/v3/watch",
            "zork",
            500,
            refusal(2, "invalid character 'z' looking for beginning of value"),
        ),
        ("/v3/election/leader", r#"{"name":"ZQ=="}"#, 500, refusal(2, "election: no leader")),
        ("/v3/kv/nothing", "{}", 404, "Not Found\n".to_owned()),
        ("/v3/kv/range/", "{}", 404, "Not Found\n".to_owned()),
        ("/v3alpha/kv/range", "{}", 404, "404 page not found\n".to_owned()),
    ] {
        let answered = post(&node, path, body).await;
        assert_eq!((answered.0.as_u16(), answered.1), (status, answer), "{path} {body}");
    }
    for (method, path) in
        [("GET", "/v3/kv/range"), ("PUT", "/v3beta/kv/range"), ("HEAD", "/v3/watch")]
    {
        let (status, headers, body) = ask(&node.router, request(method, path)).await;
        let kind = headers["content-type"].to_str().unwrap();
        assert_eq!((status.as_u16(), kind), (501, "application/json"), "{method} {path}");
        let refused = r#"{"code":12,"message":"Method Not Allowed"}"#;
        assert_eq!(body, if method == "HEAD" { "" } else { refused });
    }
    node.stop().await;
}

#[tokio::test]
async fn metrics_are_told_whatever_the_method_is() {
    let node = Node::start().await;
    for method in ["GET", "HEAD", "POST", "PUT"] {
        let (status, headers, body) = ask(&node.router, request(method, "/metrics")).await;
        assert_eq!(status, StatusCode::OK, "{method}");
        assert!(headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
        assert_eq!(body.is_empty(), method == "HEAD", "{method}");
    }
    node.stop().await;
}

#[tokio::test]
async fn metrics_are_compressed_for_those_who_ask_for_it() {
    let node = Node::start().await;
    for method in ["GET", "HEAD"] {
        let mut request = request(method, "/metrics");
        request.headers_mut().insert("accept-encoding", "deflate, gzip".parse().unwrap());
        let response = node.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        assert_eq!(head.headers["content-encoding"], "gzip", "{method}");
        assert!(head.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let mut text = String::new();
        if method == "GET" {
            GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
            assert!(text.ends_with("etcd_cluster_version{cluster_version=\"3.6\"} 1\n"));
            assert!(body.len() < text.len() / 10, "{} of {}", body.len(), text.len());
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_counted() {
    let node = Node::start().await;
    let channel = node.channel().await;
    node.put(&channel, "a", "1").await;
    KvClient::new(channel).put(pb::PutRequest::default()).await.unwrap_err();
    let text = node.running.handle().metrics();
    let put = r#"grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary""#;
    for line in [
        format!("grpc_server_started_total{{{put}}} 2"),
        format!("grpc_server_handled_total{{grpc_code=\"OK\",{put}}} 1"),
        format!("grpc_server_handled_total{{grpc_code=\"InvalidArgument\",{put}}} 1"),
        format!("grpc_server_handled_total{{grpc_code=\"Internal\",{put}}} 0"),
        format!("grpc_server_msg_received_total{{{put}}} 2"),
        format!("grpc_server_msg_sent_total{{{put}}} 1"),
        "etcd_network_client_grpc_received_bytes_total 6".to_owned(),
        r#"etcd_server_client_requests_total{client_api_version="unknown",type="unary"} 2"#
            .to_owned(),
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line} is not in:\n{text}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_range_is_of_one_revision() {
    let node = Node::start().await;
    let channel = node.channel().await;
    for number in 100..135 {
        node.put(&channel, &format!("k{number}"), "v").await;
    }
    let mut kv = KvClient::new(channel.clone());
    let all = pb::RangeRequest { key: "k".into(), range_end: "l".into(), ..Default::default() };
    for (limit, keys) in [(0, 35), (i64::MIN, 35), (1, 1), (30, 30), (35, 35)] {
        let request = pb::RangeRequest { limit, ..all.clone() };
        let mut pieces = kv.range_stream(request).await.unwrap().into_inner();
        let mut seen = Vec::new();
        let mut last = pb::RangeResponse::default();
        while let Some(piece) = pieces.message().await.unwrap() {
            assert!(last.header.is_none(), "only the last piece has a header");
            last = piece.range_response.unwrap();
            seen.extend(last.kvs.iter().map(|kv| kv.key.clone()));
            // A later write is not of this range.
            node.put(&channel, "k999", "later").await;
            let delete = pb::DeleteRangeRequest { key: "k999".into(), ..Default::default() };
            kv.delete_range(delete).await.unwrap();
        }
        assert_eq!(seen.len(), keys);
        assert!(seen.is_sorted() && !seen.contains(&"k999".into()));
        assert_eq!((last.count, last.more), (35, keys < 35));
        assert!(last.header.unwrap().revision >= 36);
    }
    let request = pb::RangeRequest { min_mod_revision: 1, ..all };
    let refused = kv.range_stream(request).await.unwrap_err();
    let text = "RangeStream does not support revision filters";
    assert_eq!(words(&refused), (Code::Unimplemented, text));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_tells_of_the_api_alone() {
    let node = Node::start().await;
    let mut client = ServerReflectionClient::new(node.channel().await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    assert!(names.contains(&"v3lockpb.Lock".to_owned()), "{names:?}");
    assert!(names.iter().all(|name| !name.starts_with("quorate")), "{names:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_are_json() {
    let node = Node::start().await;
    let response = node.http("GET", "/debug/vars", "").await;
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let variables: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(variables["raft.status"]["raftState"], "StateLeader");
    assert!(variables["memstats"]["Sys"].as_u64().unwrap() > 0);
    node.stop().await;
}

/// As etcd 3.6.14 and 3.7.1 answered, cluster ids aside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_compare_hashes_on_the_peer_port() {
    let node = Node::start().await;
    let channel = node.channel().await;
    for revision in 2..=7 {
        assert_eq!(node.put(&channel, "k", "v").await, revision);
    }
    let compacted = post(&node, "/v3/kv/compaction", r#"{"revision":4}"#).await;
    assert_eq!(compacted.0, StatusCode::OK);
    let router = peer_router(node.running.handle().clone());
    let cluster = node.running.handle().cluster_id().to_string();
    let ask = async |method: &str, named: &str, body: &'static str| {
        let request = Request::builder().method(method).uri("/members/hashkv");
        let request = request.header("X-Etcd-Cluster-ID", named).body(Body::from(body)).unwrap();
        let (status, headers, body) = ask(&router, request).await;
        assert_eq!(headers.contains_key("x-etcd-cluster-id"), status == StatusCode::OK, "{body}");
        (status.as_u16(), body)
    };
    let hash = async |revision| node.running.handle().hash_kv(revision).await.unwrap().hash;
    let shown = |hash: u32, revision: i64| {
        let body = format!(
            r#"{{"header":{{"revision":7}},"hash":{hash},"compact_revision":4,"hash_revision":{revision}}}"#
        );
        (200, body)
    };
    assert_eq!(ask("GET", &cluster, r#"{"revision":6}"#).await, shown(hash(6).await, 6));
    assert_eq!(ask("GET", "", "{}").await, shown(hash(0).await, 7));
    for (method, named, body, status, text) in [
        ("GET", "", r#"{"revision":3}"#, 400, "mvcc: required revision has been compacted"),
        ("GET", "", r#"{"revision":9}"#, 400, "mvcc: required revision is a future revision"),
        ("GET", "", r#"{"revision":"5"}"#, 400, "error unmarshalling request"),
        ("GET", "", "", 400, "error unmarshalling request"),
        ("GET", "12", "{}", 412, "cluster ID mismatch"),
        ("POST", "", "{}", 405, "Method Not Allowed"),
    ] {
        assert_eq!(ask(method, named, body).await, (status, format!("{text}\n")), "{body}");
    }
    drop((router, channel));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_told_of_a_downgrade_on_the_peer_port() {
    let node = Node::start().await;
    let router = peer_router(node.running.handle().clone());
    let enabled = async || {
        let (status, headers, body) = ask(&router, request("GET", "/downgrade/enabled")).await;
        assert_eq!(headers["content-type"], "text/plain");
        assert_eq!(status, StatusCode::OK);
        body
    };
    assert_eq!(enabled().await, "false");
    let downgrade = r#"{"action":"ENABLE","version":"3.5.0"}"#;
    assert_eq!(post(&node, "/v3/maintenance/downgrade", downgrade).await.0, StatusCode::OK);
    assert_eq!(enabled().await, "true");
    let (status, ..) = ask(&router, request("POST", "/downgrade/enabled")).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    drop(router);
    node.stop().await;
}
