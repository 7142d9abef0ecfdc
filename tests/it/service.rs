//! The token service over HTTP, as curl and etcd's discovery client see it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use quorate::membership::MemberId;

use crate::harness::{Answer, Service, http, scratch, wait};

fn json(answer: &Answer) -> serde_json::Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// Path and value of a member that registers by `url`.
fn member(url: &str, name: &str, port: u16) -> (String, String) {
    let id = MemberId::derive([format!("http://127.0.0.1:{port}").as_str()], url);
    (format!("{url}/{id}"), format!("value={name}%3Dhttp%3A%2F%2F127.0.0.1%3A{port}"))
}

fn register(url: &str, name: &str, port: u16) -> Answer {
    let (key, value) = member(url, name, port);
    http("PUT", &format!("{key}?prevExist=false"), Some(&value)).unwrap()
}

#[test]
fn new_gives_a_url_that_has_the_size() {
    let dir = scratch();
    let service = Service::start(dir.path());
    for (method, path, size) in
        [("GET", "/new", "3"), ("PUT", "/new?size=5", "5"), ("POST", "/new?size=1", "1")]
    {
        let answer = http(method, &service.url(path), None).unwrap();
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
        assert!(answer.body.starts_with(&service.url("/")), "{}", answer.body);
        let token = answer.body.rsplit('/').next().unwrap();
        assert_eq!(token.len(), 40, "{token}");
        let asked = http("GET", &format!("{}/_config/size", answer.body), None).unwrap();
        assert_eq!(json(&asked)["node"]["value"], size);
    }
}

#[test]
fn wrong_sizes_are_refused_with_a_sentence() {
    let dir = scratch();
    let service = Service::start(dir.path());
    for size in ["0", "-1", "abc", "3.5", "10", "99999999999999999999"] {
        let answer = service.get(&format!("/new?size={size}"));
        assert_eq!(answer.status, 400, "{size}");
        assert!(answer.body.contains(size), "{size}: {}", answer.body);
        assert!(answer.body.contains("1 to 9"), "{size}: {}", answer.body);
    }
}

/// The six requests of etcd's discovery client, in its order.
#[test]
fn the_conversation_of_a_node() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let url = service.new_token(2);
    let get = |query: &str| http("GET", &format!("{url}{query}"), None).unwrap();
    let all = "?quorum=false&recursive=false&sorted=false";
    assert_eq!(json(&get(&format!("/_config/size{all}")))["node"]["value"], "2");
    let empty = get(all);
    assert_eq!(json(&empty)["node"]["dir"], true);
    let before: u64 = empty.header("X-Etcd-Index").unwrap().parse().unwrap();

    let created = register(&url, "n1", 3001);
    assert_eq!(created.status, 201, "{}", created.body);
    let node = json(&created)["node"].clone();
    let index = node["createdIndex"].as_u64().unwrap();
    assert!(index > before, "an event must come after the snapshot that lacks it");
    assert_eq!(node["value"], "n1=http://127.0.0.1:3001");

    let (key, _) = member(&url, "n1", 3001);
    let own = format!("{key}?recursive=false&wait=true&waitIndex={index}");
    let seen = http("GET", &own, None).unwrap();
    assert_eq!(json(&seen)["node"], node);

    let watch = format!("{url}?recursive=true&wait=true&waitIndex={}", index + 1);
    let waiting = std::thread::spawn(move || http("GET", &watch, None).unwrap());
    assert_eq!(register(&url, "n2", 3002).status, 201);
    let event = json(&waiting.join().unwrap());
    assert_eq!(event["action"], "create");
    assert_eq!(event["node"]["value"], "n2=http://127.0.0.1:3002");
    assert_eq!(json(&get(all))["node"]["nodes"].as_array().unwrap().len(), 2);
}

#[test]
fn refusals_reach_the_node_as_etcd_errors() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let url = service.new_token(3);
    assert_eq!(register(&url, "n1", 3001).status, 201);
    let same_name = register(&url, "n1", 3002);
    assert_eq!(json(&same_name)["errorCode"].as_u64().map(|code| code > 0), Some(true));
    assert!((400..500).contains(&same_name.status), "{same_name:?}");
    let (_, value) = member(&url, "n2", 3002);
    let foreign = http("PUT", &format!("{url}/abc123?prevExist=false"), Some(&value)).unwrap();
    assert!((400..500).contains(&foreign.status), "{foreign:?}");
    assert!(foreign.body.contains("--discovery"), "no way out is named: {}", foreign.body);
    let resized = http("PUT", &format!("{url}/_config/size"), Some("value=5")).unwrap();
    assert!((400..500).contains(&resized.status), "{resized:?}");
    let unknown = service.get("/0123456789abcdef0123456789abcdef");
    assert_eq!((unknown.status, json(&unknown)["errorCode"].as_u64()), (404, Some(100)));
}

#[test]
fn a_repeat_is_welcome_while_open_and_refused_when_full() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let url = service.new_token(2);
    let first = json(&register(&url, "n1", 3001))["node"].clone();
    let again = register(&url, "n1", 3001);
    assert!([200, 201].contains(&again.status), "{again:?}");
    assert_eq!(json(&again)["node"], first, "a repeat has the indexes of the first");
    assert_eq!(register(&url, "n2", 3002).status, 201);
    let late = register(&url, "n1", 3001);
    assert_eq!((late.status, json(&late)["errorCode"].as_u64()), (403, Some(109)));
    assert!(late.body.contains("member remove"), "{}", late.body);
}

#[test]
fn a_killed_service_remembers_everything_it_answered() {
    let dir = scratch();
    let mut service = Service::start(dir.path());
    let url = service.new_token(3);
    let created = json(&register(&url, "n1", 3001))["node"].clone();
    let index = created["createdIndex"].as_u64().unwrap();
    service.process.kill();
    service.restart();
    let watch = format!("{url}?recursive=true&wait=true&waitIndex={index}");
    assert_eq!(json(&http("GET", &watch, None).unwrap())["node"], created, "history is kept");
    let next = json(&register(&url, "n2", 3002))["node"]["createdIndex"].as_u64().unwrap();
    assert!(next > index, "indexes never go back");
}

#[test]
fn plain_pages() {
    let dir = scratch();
    let service = Service::start(dir.path());
    assert_eq!(service.get("/health").status, 200);
    let robots = service.get("/robots.txt");
    assert_eq!(robots.body.trim_end(), "User-agent: *\nDisallow: /");
    let page = service.get("/");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("/new"), "{}", page.body);
    service.new_token(3);
    let metrics = service.get("/metrics");
    assert!(metrics.body.contains("# TYPE"), "{}", metrics.body);
    assert_eq!(service.get("/nothing/of/the/kind/here").status, 404);
}

/// Requests no client sends; each is answered or closed, and the service lives.
#[test]
fn nonsense_on_the_wire_hurts_nobody() {
    let dir = scratch();
    let mut service = Service::start(dir.path());
    let url = service.new_token(3);
    let path = url.strip_prefix(&service.url("")).unwrap().to_owned();
    let long = "x".repeat(1 << 20);
    let requests = [
        "\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(100_000)),
        format!("PUT {path}/1 HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n"),
        format!("PUT {path}/1 HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\n\r\n\u{0}%zz="),
        format!(
            "PUT {path}/1 HTTP/1.0\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\nvalue={long}",
            long.len() + 6
        ),
        format!("GET {path}?wait=maybe&waitIndex=x HTTP/1.0\r\nHost: h\r\n\r\n"),
        "GET /%ff%fe HTTP/1.0\r\nHost: h\r\n\r\n".to_owned(),
        "GET /../../etc/passwd HTTP/1.0\r\nHost: h\r\n\r\n".to_owned(),
    ];
    for request in requests {
        let mut stream = TcpStream::connect(("127.0.0.1", service.http_port)).unwrap();
        // The service may close before it has read everything.
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let head = String::from_utf8_lossy(&answer).into_owned();
        assert!(!head.starts_with("HTTP/1.1 5"), "{request:.60}: {head:.200}");
        assert!(
            !head.starts_with("HTTP/1.1 2") || !request.contains("PUT"),
            "{request:.60}: {head:.200}"
        );
    }
    assert!(service.process.is_running());
    assert_eq!(service.get("/health").status, 200);
}

#[test]
fn sigterm_ends_it_cleanly_while_long_polls_hang() {
    let dir = scratch();
    let mut service = Service::start(dir.path());
    let url = service.new_token(3);
    let poll =
        std::thread::spawn(move || http("GET", &format!("{url}?wait=true&recursive=true"), None));
    wait("the long poll", || {
        let metrics = service.get("/metrics").body;
        (!metrics.is_empty()).then_some(())
    });
    assert_eq!(service.process.stop().code(), Some(0));
    drop(poll.join().unwrap());
}
