//! What tokens are made with, known by and looked at through.

use std::process::Command;

use rustix::process::Signal;

use crate::harness::{Service, etcdctl, http, http_with, scratch, wait};
use crate::operators::{expect, quorate, register};

#[test]
fn a_client_port_goes_wherever_the_token_is_shown() {
    let dir = scratch();
    let service = Service::start_with(dir.path(), &["--cluster-domain=clusters.test"]);
    let made = service.get("/new?size=1&name=prod&client-port=4001");
    assert_eq!(made.status, 200, "{}", made.body);
    let page = http_with("GET", &made.body, &[("Accept", "text/html")], None).unwrap().body;
    assert!(page.contains(":4001"), "{page}");
    assert_eq!(register(&made.body, "n1", 3001).status, 201);
    for (path, part) in [
        (
            "/initial-cluster?member=n1&format=flags",
            "--advertise-client-urls=http://127.0.0.1:4001",
        ),
        ("/initial-cluster?member=n1&format=flags&client-port=5", "http://127.0.0.1:5"),
    ] {
        let shown = http("GET", &format!("{}{path}", made.body), None).unwrap().body;
        assert!(shown.replace(' ', "=").contains(part), "{shown}");
    }
    let shown = expect(&quorate(&service, dir.path(), &["token", "show", "prod", "-ojson"]), 0);
    assert!(shown.contains("\"client_port\": 4001"), "{shown}");
    let server = format!("--resolver=127.0.0.1:{}", service.dns_port);
    wait("the records", || {
        let look = quorate(&service, dir.path(), &["dns", "lookup", "prod.clusters.test", &server]);
        let said = String::from_utf8_lossy(&look.stdout).into_owned();
        said.contains("4001").then_some(())
    });
    let wrong = service.get("/new?client-port=70000");
    assert_eq!((wrong.status, wrong.body.contains("70000")), (400, true), "{}", wrong.body);
    // Tokens keep it over a restart.
    let mut service = service;
    service.process.kill();
    service.restart();
    let shown = expect(&quorate(&service, dir.path(), &["token", "show", "prod"]), 0);
    assert!(shown.contains("port 4001"), "{shown}");
}

#[test]
fn a_token_is_known_by_its_label() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let run = |arguments: &[&str]| quorate(&service, dir.path(), arguments);
    let first = service.get("/new?size=3&name=prod").body;
    assert!(expect(&run(&["token", "show", "prod"]), 0).contains("open, 0 of 3"));
    expect(&run(&["token", "revoke", "prod"]), 0);
    assert!(expect(&run(&["token", "show", "prod"]), 0).contains("revoked"));
    let second = service.get("/new?size=5&name=prod").body;
    assert_ne!(first, second);
    assert!(expect(&run(&["token", "show", "prod"]), 0).contains("open, 0 of 5"), "the living one");
    assert!(expect(&run(&["token", "timeline", "prod"]), 0).contains("label=prod"));
    let unknown = expect(&run(&["token", "extend", "test", "--by=1h"]), 4);
    assert!(unknown.contains("no token has the label `test`"), "{unknown}");
}

#[test]
fn what_the_api_does_not_have_is_told_in_its_own_words() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let keys = std::fs::read_to_string(dir.path().join("quorate.data/admin.key")).unwrap();
    let key = keys.trim().rsplit(':').next().unwrap().to_owned();
    let bearer = format!("Bearer {key}");
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| {
        let answer = http_with(method, &service.url(path), headers, None).unwrap();
        assert_eq!(answer.header("Content-Type"), Some("application/problem+json"), "{path}");
        let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem["status"], answer.status, "{problem}");
        answer.status
    };
    let authorized: &[(&str, &str)] = &[("Authorization", &bearer)];
    for path in
        ["/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v1/tokens/x/y/z", "/api/v1/health/"]
    {
        assert_eq!(ask("GET", path, authorized), 404, "{path}");
        assert_eq!(ask("GET", path, &[]), 401, "strangers learn nothing: {path}");
    }
    assert_eq!(ask("DELETE", "/api/v1/tokens", authorized), 405);
    assert_eq!(ask("GET", "/api/v1/tokens/nothing", authorized), 404);
}

#[test]
fn the_doctor_knows_tokens_of_v3() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let endpoint = format!("127.0.0.1:{}", service.http_port);
    let url = service.new_token(2);
    let token = url.rsplit('/').next().unwrap().to_owned();
    let doctor = |token: &str, endpoints: &str, port: u16| {
        let urls = format!("--initial-advertise-peer-urls=http://127.0.0.1:{port}");
        let (token, endpoints) =
            (format!("--discovery-token={token}"), format!("--discovery-endpoints={endpoints}"));
        Command::new(env!("CARGO_BIN_EXE_quorate"))
            .args(["doctor", "token", &token, &endpoints, "--name=n1", &urls])
            .output()
            .unwrap()
    };
    let healthy = expect(&doctor(&token, &format!("127.0.0.1:9,{endpoint}"), 3001), 0);
    assert!(healthy.contains("0 of 2 members have registered"), "{healthy}");
    assert!(healthy.contains("n1=http://127.0.0.1:3001 registers as"), "{healthy}");
    for (token, endpoint, part) in [
        ("6c007a14875d53d9bf0ef5a6fc0257c8", endpoint.as_str(), "the token has no size"),
        (&url, &endpoint, "is no bare token"),
        (&token, "127.0.0.1:9", "127.0.0.1:9: Connection refused"),
    ] {
        let sick = expect(&doctor(token, endpoint, 3001), 1);
        assert!(sick.contains(part), "{sick}");
    }
    // Members of the v2 way have ids of another salt.
    assert_eq!(register(&url, "n2", 3002).status, 201);
    let sick = expect(&doctor(&token, &endpoint, 3001), 1);
    assert!(sick.contains("registered by another spelling"), "{sick}");
}

#[test]
fn users_of_v3_discovery_are_read_again() {
    let dir = scratch();
    let file = dir.path().join("users");
    std::fs::write(&file, "alice:old\n").unwrap();
    let flag = format!("--discovery-users={}", file.display());
    let service = Service::start_with(dir.path(), &[&flag]);
    let endpoint = format!("http://127.0.0.1:{}", service.http_port);
    let token = service.new_token(3).rsplit('/').next().unwrap().to_owned();
    let key = format!("/_etcd/registry/{token}/_config/size");
    let read = |user: &str| {
        let user = format!("--user={user}");
        let output = etcdctl(&endpoint, &[&user, "get", "--print-value-only", &key])?;
        Some(output.status.success())
    };
    let Some(known) = read("alice:old") else { return };
    assert!(known && read("alice:new") == Some(false));
    std::fs::write(&file, "alice:new\n").unwrap();
    service.process.signal(Signal::HUP);
    wait("the new password", || read("alice:new").filter(|known| *known));
    assert_eq!(read("alice:old"), Some(false));
    std::fs::write(&file, "nonsense\n").unwrap();
    service.process.signal(Signal::HUP);
    wait("the warning", || service.process.log().contains("users are not reloaded").then_some(()));
    assert_eq!(read("alice:new"), Some(true));
}
