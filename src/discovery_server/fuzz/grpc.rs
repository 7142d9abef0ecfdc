//! Messages of v3 discovery.

use std::time::Instant;

use ::http::{HeaderMap, Request};
use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use prost::Message as _;

use super::{Bench, DEADLINE, DISLIKED, TOKEN, whole};
use crate::discovery_server::WRITE_LIMIT;
use crate::fuzz::Fuzz;
use crate::membership::InitialCluster;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::watch_request::RequestUnion;

const ROUNDS: u64 = 3000;

fn range(key: String, range_end: &str, count_only: bool) -> Vec<u8> {
    let range_end = range_end.to_owned().into();
    let request = pb::RangeRequest {
        key: key.into(),
        range_end,
        limit: 3,
        count_only,
        ..pb::RangeRequest::default()
    };
    request.encode_to_vec()
}

/// The calls of a node, by method.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let below = |tail: &str| format!("/_etcd/registry/{TOKEN}/{tail}");
    let put = |key: String, value: String| {
        let (key, value) = (key.into(), value.into());
        pb::PutRequest { key, value, ..pb::PutRequest::default() }.encode_to_vec()
    };
    let mut seeds = vec![
        ("KV/Range", range(below("_config/size"), "", false)),
        ("KV/Range", range(below("members"), &below("membert"), false)),
        ("KV/Range", range("/_etcd/registry/".to_owned(), "/_etcd/registry0", true)),
        ("KV/Range", range("\0".to_owned(), "\0", false)),
        ("KV/Put", put(below("_config/size"), "3".to_owned())),
        ("KV/DeleteRange", range(below("members"), "", false)),
        ("KV/Txn", Vec::new()),
        ("KV/Compact", vec![8, 1]),
        ("Lease/LeaseGrant", vec![8, 1]),
        ("Auth/Authenticate", {
            let (name, password) = ("a".to_owned(), "b".to_owned());
            pb::AuthenticateRequest { name, password }.encode_to_vec()
        }),
    ];
    for n in 1..12 {
        let value = format!("n{n}=http://10.0.0.{n}:2380");
        let id =
            value.parse::<InitialCluster>().unwrap().member_id(&format!("n{n}"), TOKEN).unwrap();
        seeds.push(("KV/Put", put(below(&format!("members/{id}")), value)));
        seeds.push(("KV/Range", range(below(&format!("members/{id}")), "", false)));
    }
    for start_revision in [0, 4, 1 << 40] {
        let (key, range_end) = (below("members").into(), below("membert").into());
        let create =
            pb::WatchCreateRequest { key, range_end, start_revision, ..Default::default() };
        let union = RequestUnion::CreateRequest(create);
        seeds
            .push(("Watch/Watch", pb::WatchRequest { request_union: Some(union) }.encode_to_vec()));
    }
    seeds
}

async fn call(bench: &Bench, method: &str, message: &[u8]) -> axum::response::Response {
    let length = u32::try_from(message.len()).unwrap();
    let frame = [&[0], &length.to_be_bytes()[..], message].concat();
    let request = Request::post(format!("/etcdserverpb.{method}"))
        .version(::http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::from(frame))
        .unwrap();
    bench.ask(request).await
}

fn code(headers: &HeaderMap) -> Option<i32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// Whether a message is one that this method takes.
fn is_message(method: &str, message: &[u8]) -> bool {
    match method {
        "KV/Range" => pb::RangeRequest::decode(message).is_ok(),
        "KV/Put" => pb::PutRequest::decode(message).is_ok(),
        "KV/DeleteRange" => pb::DeleteRangeRequest::decode(message).is_ok(),
        "KV/Txn" => pb::TxnRequest::decode(message).is_ok(),
        "KV/Compact" => pb::CompactionRequest::decode(message).is_ok(),
        "Auth/Authenticate" => pb::AuthenticateRequest::decode(message).is_ok(),
        "Watch/Watch" => pb::WatchRequest::decode(message).is_ok(),
        _ => true,
    }
}

#[tokio::test]
async fn damaged_messages_are_answered_or_refused_with_a_reason() {
    const UNKNOWN: i32 = 2;
    const INTERNAL: i32 = 13;
    const UNAVAILABLE: i32 = 14;
    const DATA_LOSS: i32 = 15;
    let bench = Bench::start().await;
    let (mut fuzz, seeds) = (Fuzz::new("v3 discovery", ROUNDS).with_disliked(DISLIKED), seeds());
    let messages: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.1.clone()).collect();
    let (mut refused, mut written) = (0_u64, 0_u64);
    while fuzz.goes_on() {
        let (method, mut message) = fuzz.pick(&seeds).clone();
        fuzz.damage(&mut message, &messages);
        let context = format!("{}: {method} {}", fuzz.place(), message.escape_ascii());
        let began = Instant::now();
        let response = call(&bench, method, &message).await;
        assert_eq!(response.status(), 200, "{context}");
        if began.elapsed() >= WRITE_LIMIT {
            // The machine had other things to do, and the node is told to come again.
            continue;
        }
        let head = code(response.headers());
        if method == "Watch/Watch" && head.is_none() {
            // It says that it is there, or why not; the stream of requests has ended behind it.
            let first = tokio::time::timeout(DEADLINE, response.into_body().frame()).await;
            first.unwrap_or_else(|_| panic!("silence to {context}"));
            continue;
        }
        let (body, trailers) = whole(response, &context).await;
        let Some(code) = head.or_else(|| code(&trailers)) else { panic!("no status: {context}") };
        if is_message(method, &message) {
            let trouble = [UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS];
            assert!(!trouble.contains(&code), "{code}: {context}");
        }
        refused += u64::from(code != 0);
        if (method, code) == ("KV/Put", 0) {
            let put = pb::PutRequest::decode(&message[..]).expect("it was taken");
            written += u64::from(reads_back(&bench, &put, &context).await);
        }
        if (method, code) == ("KV/Range", 0) {
            assert!(body.len() > 5, "an answer has a header: {context}");
        }
    }
    assert!(bench.is_writing());
    assert!(refused > ROUNDS / 8 && written > 9, "{refused} refused, {written} written");
}

/// What was taken is there byte for byte, under the id that follows from it.
async fn reads_back(bench: &Bench, put: &pb::PutRequest, context: &str) -> bool {
    let key = String::from_utf8(put.key.to_vec()).expect("a key of ours");
    let question = pb::RangeRequest { key: put.key.clone(), ..pb::RangeRequest::default() };
    let (body, _) = whole(call(bench, "KV/Range", &question.encode_to_vec()).await, context).await;
    let answer = pb::RangeResponse::decode(&body[5..]).unwrap();
    let held: Vec<Bytes> = answer.kvs.iter().map(|kv| kv.value.clone()).collect();
    let Some((rest, id)) = key.split_once("/members/") else {
        // A size is a number, however it was written.
        let number = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().parse::<u32>().ok();
        assert_eq!(held.first().and_then(|it| number(it)), number(&put.value), "{context}");
        return false;
    };
    assert!(held.iter().eq([&put.value]), "{held:?}: {context}");
    let token = rest.trim_start_matches("/_etcd/registry/");
    let text = String::from_utf8(put.value.to_vec()).expect("a member list");
    let member: InitialCluster = text.parse().expect("a member list");
    let name = member.members().next().unwrap().0;
    assert_eq!(member.member_id(name, token).unwrap().to_string(), id, "{context}");
    true
}
