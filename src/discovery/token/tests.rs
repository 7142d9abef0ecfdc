//! The protocol against a small server that speaks v2 as a real etcd was seen to, and misbehaves
//! where a test asks it to.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::*;
use crate::discovery::Way;
use crate::membership::{MemberId, PeerUrl};

/// Far more than anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
const PACE: Pace = Pace {
    first: Duration::from_millis(5),
    last: Duration::from_millis(20),
    request: Duration::from_secs(2),
    poll: Duration::from_secs(5),
};

/// What the server does instead of its work.
#[derive(Clone)]
enum Fault {
    Answer(u16, &'static str),
    /// Does the work, then breaks the connection in the middle of the answer.
    Lost,
    /// Breaks the connection without doing anything.
    Killed,
    Silent,
    Moved(String),
}

#[derive(Default)]
struct Store {
    size: String,
    index: u64,
    /// Id, value, created index.
    keys: Vec<(String, String, u64)>,
    /// Index and body of each event.
    events: Vec<(u64, String)>,
    /// The next request whose line contains the text meets the fault.
    faults: Vec<(&'static str, Fault)>,
    log: Vec<String>,
}

#[derive(Clone, Default)]
struct Server {
    store: Arc<Mutex<Store>>,
    changed: Arc<Notify>,
}

impl Store {
    fn put(&mut self, id: &str, value: &str) -> String {
        self.index += 1;
        self.keys.push((id.to_owned(), value.to_owned(), self.index));
        let event = format!(r#"{{"action":"create","node":{}}}"#, node(id, value, self.index));
        self.events.push((self.index, event.clone()));
        event
    }
}

fn node(id: &str, value: &str, index: u64) -> String {
    format!(
        r#"{{"key":"/discovery/tok1/{id}","value":"{value}","modifiedIndex":{index},"createdIndex":{index}}}"#
    )
}

impl Server {
    async fn start(size: &str) -> (Self, String) {
        let server = Self::default();
        {
            let mut store = server.store.lock();
            size.clone_into(&mut store.size);
            store.index = 4;
        }
        let router = Router::new().fallback(handle).with_state(server.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v2/keys/discovery/tok1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (server, url)
    }

    fn fault(&self, on: &'static str, fault: Fault) {
        self.store.lock().faults.push((on, fault));
    }

    fn put(&self, id: &str, value: &str) {
        self.store.lock().put(id, value);
        self.changed.notify_waiters();
    }

    fn event(&self, body: &str) {
        let mut store = self.store.lock();
        store.index += 1;
        let index = store.index;
        store.events.push((index, body.replace("INDEX", &index.to_string())));
        self.changed.notify_waiters();
    }

    fn log(&self) -> Vec<String> {
        self.store.lock().log.clone()
    }

    async fn logged(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().iter().any(|line| line.contains(text)) {
            assert!(Instant::now() < deadline, "{text} is not in {:#?}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Answers as etcd 3.4.23 does.
    async fn work(&self, method: &str, target: &str, body: &str) -> Response {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let last = path.rsplit('/').next().unwrap_or_default();
        let mut from = None;
        for pair in query.split('&') {
            from = from.or_else(|| pair.strip_prefix("waitIndex="));
        }
        if let Some(from) = from {
            let from: u64 = from.parse().unwrap();
            loop {
                let changed = self.changed.notified();
                let mine = |event: &&(u64, String)| {
                    event.0 >= from && (last == "tok1" || event.1.contains(last))
                };
                let event = self.store.lock().events.iter().find(mine).cloned();
                if let Some((index, body)) = event {
                    return answer(200, Some(index), body);
                }
                changed.await;
            }
        }
        let mut store = self.store.lock();
        let index = store.index;
        match (method, last) {
            ("PUT", id) => {
                let value: Vec<_> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
                assert_eq!(value[0].0, "value");
                if store.keys.iter().any(|(known, _, _)| known == id) {
                    let refusal = format!(
                        r#"{{"errorCode":105,"message":"Key already exists","cause":"/discovery/tok1/{id}","index":{index}}}"#
                    );
                    return answer(412, Some(index), refusal);
                }
                let event = store.put(id, &value[0].1);
                self.changed.notify_waiters();
                answer(201, Some(store.index), event)
            }
            (_, "size") if store.size.is_empty() => answer(
                404,
                Some(index),
                r#"{"errorCode":100,"message":"Key not found","cause":"/discovery/tok1","index":4}"#.to_owned(),
            ),
            (_, "size") => answer(
                200,
                Some(index),
                format!(
                    r#"{{"action":"get","node":{{"key":"/discovery/tok1/_config/size","value":"{}","modifiedIndex":4,"createdIndex":4}}}}"#,
                    store.size
                ),
            ),
            _ => {
                let nodes: Vec<String> =
                    store.keys.iter().rev().map(|(id, value, index)| node(id, value, *index)).collect();
                let nodes = match nodes.as_slice() {
                    [] => String::new(),
                    nodes => format!(r#""nodes":[{}],"#, nodes.join(",")),
                };
                answer(
                    200,
                    Some(index),
                    format!(
                        r#"{{"action":"get","node":{{"key":"/discovery/tok1","dir":true,{nodes}"modifiedIndex":4,"createdIndex":4}}}}"#
                    ),
                )
            }
        }
    }
}

fn answer(status: u16, index: Option<u64>, body: String) -> Response {
    let mut response =
        Response::builder().status(status).header("Content-Type", "application/json");
    if let Some(index) = index {
        response = response.header("X-Etcd-Index", index);
    }
    response.body(Body::from(body)).unwrap()
}

fn broken() -> Response {
    let chunks = [Ok(Bytes::from("{\"act")), Err(io::Error::other("killed"))];
    Response::new(Body::from_stream(futures_util::stream::iter(chunks)))
}

async fn handle(State(server): State<Server>, request: http::Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let target = parts.uri.path_and_query().unwrap().as_str();
    let line = format!("{} {target} {body}", parts.method).trim_end().to_owned();
    let fault = {
        let mut store = server.store.lock();
        store.log.push(line.clone());
        let found = store.faults.iter().position(|(on, _)| line.contains(on));
        found.map(|at| store.faults.remove(at).1)
    };
    match fault {
        None => server.work(parts.method.as_str(), target, &body).await,
        Some(Fault::Answer(status, body)) => answer(status, None, body.to_owned()),
        Some(Fault::Lost) => {
            server.work(parts.method.as_str(), target, &body).await;
            broken()
        }
        Some(Fault::Killed) => broken(),
        Some(Fault::Silent) => std::future::pending().await,
        Some(Fault::Moved(url)) => {
            let location = format!("{url}{target}");
            (http::StatusCode::TEMPORARY_REDIRECT, [("Location", location)]).into_response()
        }
    }
}

/// A node `n<number>` that joins with a data directory of its own.
struct Node {
    request: Request,
    way: TokenRequest,
    dir: tempfile::TempDir,
}

impl Node {
    fn new(number: u16, url: &str) -> Self {
        let peer = PeerUrl::parse(&format!("http://127.0.0.1:{}", 3000 + number)).unwrap();
        let way = TokenRequest { url: url.to_owned(), proxy: None };
        let request = Request {
            name: format!("n{number}"),
            peer_urls: vec![peer],
            way: Way::Token(way.clone()),
            cluster_token: "unused".to_owned(),
            existing: false,
            tls: None,
        };
        Self { request, way, dir: tempfile::tempdir().unwrap() }
    }

    fn id(&self) -> String {
        let urls = self.request.peer_urls.iter().map(PeerUrl::as_str);
        MemberId::derive(urls, &self.way.url).to_string()
    }

    fn value(&self) -> String {
        format!("{}={}", self.request.name, self.request.peer_urls[0])
    }

    fn memo(&self) -> Memo {
        Memo::new(self.dir.path())
    }

    fn has_memo(&self) -> bool {
        self.memo().is_of(&self.way.url, self.id().parse().unwrap())
    }

    async fn join(&self) -> Result<String, String> {
        let memo = self.memo();
        let joined = join(&self.request, &self.way, &memo, PACE);
        let joined = tokio::time::timeout(PATIENCE, joined).await.unwrap();
        joined.map(|list| list.to_string()).map_err(|error| error.to_string())
    }
}

const PAIR: &str = "n1=http://127.0.0.1:3001,n2=http://127.0.0.1:3002";

#[tokio::test]
async fn requests_are_those_of_etcd() {
    let (server, url) = Server::start("3").await;
    let node = Node::new(1, &url);
    let id = node.id();
    let (joined, ()) = tokio::join!(node.join(), async {
        server.logged("waitIndex=6").await;
        server.put("96d34debe40b3243", "n2=http://127.0.0.1:3002");
        server.logged("waitIndex=7").await;
        server.put("59d7615f63bd05d9", "n3=http://127.0.0.1:3003");
    });
    assert_eq!(joined.unwrap(), format!("{PAIR},n3=http://127.0.0.1:3003"));
    let t = "/v2/keys/discovery/tok1";
    let plain = "quorum=false&recursive=false&sorted=false";
    assert_eq!(
        server.log(),
        [
            format!("GET {t}/_config/size?{plain}"),
            format!("GET {t}?{plain}"),
            format!("PUT {t}/{id}?prevExist=false value=n1%3Dhttp%3A%2F%2F127.0.0.1%3A3001"),
            format!("GET {t}/{id}?recursive=false&wait=true&waitIndex=5"),
            format!("GET {t}/_config/size?{plain}"),
            format!("GET {t}?{plain}"),
            format!("GET {t}?recursive=true&wait=true&waitIndex=6"),
            format!("GET {t}?recursive=true&wait=true&waitIndex=7"),
        ]
    );
}

#[tokio::test]
async fn founders_agree_and_the_surplus_is_told_full() {
    let (server, url) = Server::start("3").await;
    let nodes: Vec<Node> = (1..=5).map(|number| Node::new(number, &url)).collect();
    let outcomes = futures_util::future::join_all(nodes.iter().map(Node::join)).await;
    let joined: Vec<&String> = outcomes.iter().flatten().collect();
    assert_eq!(joined.len(), 3, "{outcomes:?}");
    assert!(joined.iter().all(|list| *list == joined[0]));
    for (node, outcome) in nodes.iter().zip(&outcomes) {
        if let Err(text) = outcome {
            assert_eq!(text, "failed to join discovery cluster (discovery: cluster is full)");
            assert!(!joined[0].contains(&node.value()));
        }
    }
    drop(server);
}

#[tokio::test]
async fn passing_trouble_is_waited_out() {
    let faults = [
        ("_config/size", Fault::Answer(503, "")),
        ("_config/size", Fault::Answer(502, "<html>")),
        ("_config/size", Fault::Killed),
        ("_config/size", Fault::Silent),
        ("GET /v2/keys/discovery/tok1?q", Fault::Killed),
        ("PUT", Fault::Killed),
        ("PUT", Fault::Answer(500, "")),
        ("waitIndex", Fault::Killed),
        ("waitIndex", Fault::Answer(503, "")),
        ("waitIndex", Fault::Answer(200, "")),
        (
            "recursive=true",
            Fault::Answer(
                400,
                r#"{"errorCode":401,"message":"The event in requested index is outdated and cleared","cause":"x","index":9}"#,
            ),
        ),
        ("recursive=true", Fault::Killed),
        ("recursive=true", Fault::Answer(200, "")),
    ];
    let (server, url) = Server::start("2").await;
    for (on, fault) in faults {
        server.fault(on, fault);
    }
    let (one, two) = (Node::new(1, &url), Node::new(2, &url));
    let (first, second) = tokio::join!(one.join(), async {
        server.logged("recursive=true").await;
        two.join().await
    });
    assert_eq!((first.unwrap().as_str(), second.unwrap().as_str()), (PAIR, PAIR));
}

#[tokio::test]
async fn a_lost_answer_to_the_registration_is_resumed() {
    let (server, url) = Server::start("1").await;
    server.fault("PUT", Fault::Lost);
    assert_eq!(Node::new(1, &url).join().await.unwrap(), "n1=http://127.0.0.1:3001");
}

#[tokio::test]
async fn final_refusals_have_the_texts_of_etcd() {
    let invalid = "client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint";
    type Case = (&'static str, &'static str, Option<(&'static str, Fault)>, &'static str);
    let cases: [Case; 10] = [
        ("unknown", "", None, "100: Key not found (/discovery/tok1) [4]"),
        ("abc", "abc", None, "discovery: size key is bad"),
        ("0", "0", None, "discovery: size key is bad"),
        ("+3", "+3", None, "discovery: size key is bad"),
        (
            "v2 off",
            "1",
            Some(("size", Fault::Answer(404, "404 page not found\n"))),
            "discovery: bad discovery endpoint",
        ),
        ("empty", "1", Some(("size", Fault::Answer(200, ""))), "client: response body is empty"),
        ("no node", "1", Some(("tok1?quorum", Fault::Answer(200, "{}"))), invalid),
        ("garbage", "1", Some(("PUT", Fault::Answer(200, "garbage"))), invalid),
        (
            "refused",
            "1",
            Some((
                "PUT",
                Fault::Answer(
                    403,
                    r#"{"errorCode":109,"message":"Peer address has existed","cause":"name or URL already registered","index":6}"#,
                ),
            )),
            "109: Peer address has existed (name or URL already registered) [6]",
        ),
        ("watch", "1", Some(("wait=true", Fault::Answer(404, "<html>"))), invalid),
    ];
    for (case, size, fault, text) in cases {
        let (server, url) = Server::start(size).await;
        if let Some((on, fault)) = fault {
            server.fault(on, fault);
        }
        let error = Node::new(1, &url).join().await.unwrap_err();
        assert_eq!(error, format!("failed to join discovery cluster ({text})"), "{case}");
    }
}

#[tokio::test]
async fn an_own_registration_is_resumed_unless_the_member_may_have_voted() {
    // Killed while waiting, with the data directory or without: the cluster is not full.
    for keeps_directory in [true, false] {
        let (server, url) = Server::start("2").await;
        let mut node = Node::new(1, &url);
        tokio::select! {
            joined = node.join() => panic!("{joined:?}"),
            () = server.logged("recursive=true") => {}
        }
        assert!(node.has_memo());
        if !keeps_directory {
            node.dir = tempfile::tempdir().unwrap();
        }
        server.put("aa", "n2=http://127.0.0.1:3002");
        if keeps_directory {
            // It is full by now; the memo says that this node never voted.
            assert_eq!(node.join().await.unwrap(), PAIR);
        } else {
            let text = "failed to join discovery cluster (discovery: found duplicate id)";
            assert_eq!(node.join().await.unwrap_err(), text);
            // The refusal must hold at the second attempt, too.
            assert!(!node.has_memo());
            assert_eq!(node.join().await.unwrap_err(), text);
        }
    }
    let (server, url) = Server::start("2").await;
    let node = Node::new(1, &url);
    server.put(&node.id(), &node.value());
    let (joined, ()) = tokio::join!(node.join(), async {
        server.logged("recursive=true").await;
        server.put("aa", "n2=http://127.0.0.1:3002");
    });
    assert_eq!(joined.unwrap(), PAIR);
    // Another member holds the key.
    let (server, url) = Server::start("2").await;
    let node = Node::new(1, &url);
    server.put(&node.id(), "other=http://127.0.0.1:3001");
    assert!(node.join().await.unwrap_err().contains("found duplicate id"));
}

#[tokio::test]
async fn foreign_events_are_ignored() {
    let (server, url) = Server::start("2").await;
    let node = Node::new(1, &url);
    let (joined, ()) = tokio::join!(node.join(), async {
        server.logged("recursive=true").await;
        let own = node.id();
        for event in [
            r#"{"action":"delete","node":{"key":"/d/zz","modifiedIndex":INDEX,"createdIndex":5}}"#,
            r#"{"action":"set","node":{"key":"/d/_config","value":"x","modifiedIndex":INDEX,"createdIndex":INDEX}}"#,
            &format!(
                r#"{{"action":"set","node":{{"key":"/d/{own}","value":"n1=http://h:9","modifiedIndex":INDEX,"createdIndex":5}}}}"#
            ),
        ] {
            server.event(event);
        }
        server.put("aa", "n2=http://127.0.0.1:3002");
    });
    assert_eq!(joined.unwrap(), PAIR);
}

#[tokio::test]
async fn redirects_keep_method_and_form() {
    let (server, url) = Server::start("1").await;
    let (front, front_url) = Server::start("9").await;
    let target = url.strip_suffix("/v2/keys/discovery/tok1").unwrap().to_owned();
    for _ in 0..8 {
        front.fault("tok1", Fault::Moved(target.clone()));
    }
    assert_eq!(Node::new(1, &front_url).join().await.unwrap(), "n1=http://127.0.0.1:3001");
    assert!(server.log().iter().any(|line| line.starts_with("PUT") && line.contains("value=n1")));
}

#[tokio::test]
async fn a_proxy_is_sent_whole_urls() {
    let (proxy, proxy_url) = Server::start("1").await;
    let mut node = Node::new(1, "http://discovery.invalid:7000/v2/keys/discovery/tok1");
    node.way.proxy = Some(proxy_url.strip_suffix("/v2/keys/discovery/tok1").unwrap().to_owned());
    assert_eq!(node.join().await.unwrap(), "n1=http://127.0.0.1:3001");
    assert!(!proxy.log().is_empty());
}

#[tokio::test]
async fn poisoned_registrations_end_in_the_words_of_etcd() {
    let cases = [
        (
            "n1=http://127.0.0.1:3009",
            "failed to join discovery cluster (discovery: found duplicate name)",
        ),
        ("garbage", "failed to join discovery cluster (discovery: invalid URL)"),
        (
            "n2=http://127.0.0.1:3001",
            "discovery cluster n1=http://127.0.0.1:3001,n2=http://127.0.0.1:3001 has duplicate url",
        ),
    ];
    for (value, text) in cases {
        let (server, url) = Server::start("2").await;
        server.put("aa", value);
        assert_eq!(Node::new(1, &url).join().await.unwrap_err(), text);
    }
}

#[test]
fn tokens_are_cut_in_logs() {
    let cases = [
        ("http://h:1/3e86b59982e49066c5d813af1c2e2579cbf573de", "http://h:1/3e86b599..."),
        ("http://h:1/v2/keys/d/3e86b59982e49066/", "http://h:1/v2/keys/d/3e86b599..."),
        ("http://h:1/T", "http://h:1/T"),
    ];
    for (url, cut) in cases {
        assert_eq!(redact(url), cut);
    }
}

#[test]
fn what_the_service_says_about_a_taken_key_is_kept() {
    let text = |cause: &str| Error::DuplicateId { judged: judgement(cause) }.to_string();
    assert_eq!(text("/tok1/8211f1d0f64f3269"), "discovery: found duplicate id");
    let judged = "Q1032: member 1 is registered as `a=http://h:1` (request 7)";
    assert_eq!(
        text(&format!("/T/1 ({judged})")),
        format!("discovery: found duplicate id ({judged})")
    );
}
