//! Paths, queries and bodies of HTTP.

use std::time::Instant;

use ::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::body::Body;
use serde_json::Value;

use super::{Bench, DISLIKED, TOKEN, URL, whole};
use crate::discovery_server::WRITE_LIMIT;
use crate::discovery_server::parameters::Parameters;
use crate::discovery_server::target::{Leaf, Target};
use crate::fuzz::Fuzz;
use crate::membership::InitialCluster;

const ROUNDS: u64 = 4000;

/// What etcd, curl, browsers and operators send: method, path and query, body.
fn seeds() -> Vec<(Method, String, Vec<u8>)> {
    let plain = "?quorum=false&recursive=false&sorted=false";
    let value = |n: u32| format!("value=n{n}%3Dhttp%3A%2F%2F10.0.0.{n}%3A2380").into_bytes();
    let mut seeds = Vec::new();
    for base in [format!("/{TOKEN}"), "/v2/keys/discovery/tok1".to_owned()] {
        for n in 1..12 {
            let member = format!("n{n}=http://10.0.0.{n}:2380").parse::<InitialCluster>().unwrap();
            let id = member.member_id(&format!("n{n}"), &format!("{URL}{base}")).unwrap();
            seeds.push((Method::PUT, format!("{base}/{id}?prevExist=false"), value(n)));
            seeds.push((Method::PUT, format!("{base}/{id}?prevExist=true"), value(n)));
            seeds.push((Method::GET, format!("{base}/{id}{plain}"), Vec::new()));
        }
        for tail in ["", "/", "/_config", "/_config/size", "/initial-cluster", "/events"] {
            seeds.push((Method::GET, format!("{base}{tail}{plain}"), Vec::new()));
            seeds.push((Method::HEAD, format!("{base}{tail}"), Vec::new()));
        }
        seeds.push((
            Method::GET,
            format!("{base}?recursive=true&wait=true&waitIndex=5"),
            Vec::new(),
        ));
        seeds.push((
            Method::GET,
            format!("{base}/initial-cluster?format=yaml&etcd=3.5"),
            Vec::new(),
        ));
        seeds.push((Method::GET, format!("{base}/initial-cluster?member=n1"), Vec::new()));
        seeds.push((
            Method::PUT,
            format!("{base}/_config/size?prevExist=false"),
            b"value=3".to_vec(),
        ));
        seeds.push((Method::DELETE, base.clone(), Vec::new()));
        seeds.push((Method::OPTIONS, base, Vec::new()));
    }
    for path in [
        "/new?size=3",
        "/new?size=3&name=prod&ttl=30m&client-port=2379",
        "/new?format=json&etcd=3.6",
        "/",
        "/health",
        "/metrics",
        "/robots.txt",
        "/openapi.json",
        "/api/v1/tokens?state=open&limit=3&label=prod",
        "/api/v1/timeline/verify",
        "/assets/page.css",
        "/view/6c007a14875d53d9bf0ef5a6fc0257c8",
    ] {
        seeds.push((Method::GET, path.to_owned(), Vec::new()));
        seeds.push((Method::POST, path.to_owned(), b"size=3&name=test".to_vec()));
    }
    seeds
}

#[tokio::test]
async fn damaged_requests_get_a_whole_answer_and_never_5xx() {
    let bench = Bench::start().await;
    let (mut fuzz, seeds) = (Fuzz::new("HTTP", ROUNDS).with_disliked(DISLIKED), seeds());
    let paths: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.1.clone().into_bytes()).collect();
    let bodies: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.2.clone()).collect();
    let accepts = ["", "*/*", "text/html", "application/json", "text/event-stream"];
    let (mut refused, mut registered) = (0_u64, 0_u64);
    while fuzz.goes_on() {
        let (method, path, body) = fuzz.pick(&seeds).clone();
        let (mut path, mut body) = (path.into_bytes(), body);
        // Where both are damaged nothing gets through to what comes behind.
        if fuzz.below(2) == 0 {
            fuzz.damage(&mut path, &paths);
        }
        if fuzz.below(2) == 0 {
            fuzz.damage(&mut body, &bodies);
        }
        let Ok(uri) = ::http::Uri::try_from(path.clone()) else { continue };
        let accept = *fuzz.pick(&accepts);
        let request = Request::builder()
            .method(method.clone())
            .uri(uri.clone())
            .header(header::HOST, "127.0.0.1:8087")
            .header(header::ACCEPT, accept)
            .body(Body::from(body.clone()))
            .unwrap();
        let context = || {
            let (path, body) = (path.escape_ascii(), body.escape_ascii());
            format!("{}: {method} {path} `{body}` accepting `{accept}`", fuzz.place())
        };
        let began = Instant::now();
        let response = bench.ask(request).await;
        if began.elapsed() >= WRITE_LIMIT {
            // The machine had other things to do, and the node is told to come again.
            continue;
        }
        let (status, headers) = (response.status(), response.headers().clone());
        assert!(!status.is_server_error(), "{status} to {}", context());
        assert!(headers.contains_key("x-request-id"), "{}", context());
        if is_open(&uri, &headers) {
            continue;
        }
        let (bytes, _) = whole(response, &context()).await;
        if status.is_client_error() {
            refused += 1;
            explained(&method, status, &headers, &bytes, &context());
        }
        let parameters = Parameters::read(uri.query(), &body);
        if status == StatusCode::CREATED && method == Method::PUT {
            let value = parameters.text("value").unwrap_or_default();
            registered += u64::from(reads_back(&bench, uri.path(), value, &context()).await);
        }
    }
    assert!(bench.is_writing());
    assert!(refused > ROUNDS / 8 && registered > 9, "{refused} refused, {registered} registered");
}

/// Whether the answer has no end of its own.
fn is_open(uri: &::http::Uri, headers: &HeaderMap) -> bool {
    let waits = uri.query().is_some_and(|query| query.contains("wait"));
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    let events = kind.is_some_and(|kind| kind.starts_with(b"text/event-stream"));
    waits || events
}

/// Every refusal says what is wrong, in the words of the door at which it stands.
fn explained(method: &Method, status: StatusCode, headers: &HeaderMap, body: &[u8], context: &str) {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap());
    let kind = kind.unwrap_or_default();
    let said = String::from_utf8(body.to_vec()).expect("a text");
    if *method == Method::HEAD {
        return;
    }
    assert!(!said.trim().is_empty(), "{status} without a word to {context}");
    if kind == "application/json" {
        let json: Value =
            serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}: {context}"));
        // The list that is not complete yet is no error.
        if json["missing"].is_u64() {
            return;
        }
        let code = json["errorCode"].as_u64().unwrap_or_else(|| panic!("{said}: {context}"));
        let expected = match code {
            100 => 404,
            105 | 108 => 412,
            102 | 103 | 109 | 110 => 403,
            209 if said.contains("Q1002") => 404,
            _ => 400,
        };
        assert_eq!(u64::from(status.as_u16()), expected, "{said}: {context}");
        assert!(json["message"].is_string() && json["index"].is_u64(), "{said}: {context}");
    } else if kind == "application/problem+json" {
        let json: Value = serde_json::from_str(&said).unwrap();
        assert!(json["code"].as_str().is_some_and(|code| code.starts_with('Q')), "{context}");
        assert_eq!(json["status"], status.as_u16(), "{context}");
    } else {
        assert!(kind.starts_with("text/"), "{kind} `{said}` to {context}");
    }
}

/// What was taken is there byte for byte, under the id that follows from it.
async fn reads_back(bench: &Bench, path: &str, value: &str, context: &str) -> bool {
    let (token, id) = match Target::of(path) {
        Target::Key { token, leaf: Leaf::Member(id) } => (token, id),
        Target::Either { parent: Some(token), last, .. } => (token, last),
        _ => return false,
    };
    let url = format!("{URL}{}", token.as_str());
    let member: InitialCluster = value.parse().unwrap_or_else(|_| panic!("`{value}`: {context}"));
    assert_eq!(member.len(), 1, "{context}");
    let name = member.members().next().unwrap().0;
    assert_eq!(member.member_id(name, &url).unwrap().to_string(), id, "{context}");
    let request = Request::get(path).body(Body::empty()).unwrap();
    let (bytes, _) = whole(bench.ask(request).await, context).await;
    let json: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(json["node"]["value"], value, "{context}");
    true
}
