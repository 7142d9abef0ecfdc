//! A node's own journal names the rule that refused it, and the cure: the stock etcd's too.
//!
//! No etcd gets as far as Q1015, a URL given twice, or Q1020, a key of somebody's own making.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use crate::harness::{Process, Service, free_port, scratch, tools};
use crate::operators::register;

/// How one etcd is started, and what its log says in the end.
struct Start {
    code: &'static str,
    /// Part of the cure, in the log or in the words of `quorate explain` about it.
    cure: &'static str,
    discovery: String,
    name: String,
    advertise: String,
}

fn urls(count: usize, host: &str) -> String {
    let urls: Vec<String> = (0..count).map(|n| format!("http://{host}:{}", 4000 + n)).collect();
    urls.join(",")
}

fn starts(service: &Service) -> Vec<Start> {
    let open = service.new_token(3);
    let (full, late) = (service.new_token(1), service.new_token(1));
    let v3 = service.new_token(3);
    assert_eq!(register(&open, "held", 3001).status, 201);
    assert_eq!(register(&full, "n1", 3001).status, 201);
    for (n, port) in [(1, 3001), (2, 3002)] {
        assert_eq!(register(&late, &format!("n{n}"), port).status, 201);
    }
    // A member of a node that was started with --discovery-token.
    let bare = v3.rsplit('/').next().unwrap();
    assert!(register_v3(service, bare));
    let loopback = |port: u16| format!("http://127.0.0.1:{port}");
    let start = |code, cure, discovery: &str, name: &str, advertise: String| Start {
        code,
        cure,
        discovery: discovery.to_owned(),
        name: name.to_owned(),
        advertise,
    };
    let odd = open.replace("127.0.0.1", "localhost");
    let long_name = "n".repeat(129);
    vec![
        start("Q1010", "advertise fewer peer URLs", &open, "new", urls(80, "127.0.0.1")),
        // Commas and equals signs of a name are those of the member list.
        start("Q1011", "check --name", &open, "a,b", loopback(3009)),
        start("Q1012", "--name has no `,`", &open, "a=http://127.0.0.1:3008,b", loopback(3009)),
        start("Q1013", "change --name", &open, &long_name, loopback(3009)),
        start("Q1014", "17 peer URLs are more than", &open, "new", urls(17, "127.0.0.1")),
        start(
            "Q1016",
            "set --initial-advertise-peer-urls",
            &open,
            "new",
            "http://0.0.0.0:9".into(),
        ),
        start("Q1021", "start every member with --discovery", &odd, "new", loopback(3009)),
        start("Q1022", "another spelling", &format!("{open}?x=%79"), "new", loopback(3009)),
        start("Q1023", "or take a new token", &v3, "new", loopback(3009)),
        start("Q1030", "a --name of its own", &open, "held", loopback(3009)),
        start("Q1032", "its own --initial-advertise-peer-urls", &open, "other", loopback(3001)),
        start("Q1031", "its own --initial-advertise-peer-urls", &open, "new", {
            format!("{},{}", loopback(3001), loopback(3009))
        }),
        // With these statuses etcd prints words of its own, which `quorate explain` knows.
        start(
            "found duplicate id",
            "replaced by member remove and member add",
            &full,
            "n1",
            loopback(3001),
        ),
        start("cluster is full", "`etcdctl member add`", &late, "n3", loopback(3003)),
    ]
}

fn register_v3(service: &Service, token: &str) -> bool {
    let url = "http://127.0.0.1:3001";
    let id = quorate::membership::MemberId::derive([url], token);
    let client = crate::harness::Client::connect(&service.url(""));
    let key = format!("/_etcd/registry/{token}/members/{id}");
    client.put(&key, &format!("n1={url}")).is_ok()
}

fn run(program: &Path, dir: &Path, number: usize, start: &Start) -> Process {
    let (peer, client) = (free_port(), free_port());
    let flags = [
        format!("--name={}", start.name),
        format!("--data-dir=refused{number}.etcd"),
        format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
        format!("--initial-advertise-peer-urls={}", start.advertise),
        format!("--listen-client-urls=http://127.0.0.1:{client}"),
        format!("--advertise-client-urls=http://127.0.0.1:{client}"),
        format!("--discovery={}", start.discovery),
        "--discovery-fallback=exit".to_owned(),
        "--logger=zap".to_owned(),
    ];
    Process::start(&format!("refused{number}"), program, &flags, &[], dir)
}

/// What `quorate explain` makes of a log.
fn explain(dir: &Path, log: &str) -> String {
    let file = dir.join("log");
    std::fs::write(&file, log).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    let output = command.arg("explain").stdin(File::open(&file).unwrap()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn every_refusal_is_in_the_log_of(program: &Path) {
    let dir = scratch();
    let service = Service::start_with(dir.path(), &["--max-surplus=1"]);
    let starts = starts(&service);
    let mut running = Vec::new();
    for (number, start) in starts.iter().enumerate() {
        running.push(run(program, dir.path(), number, start));
    }
    let mut silent = Vec::new();
    for (start, process) in starts.iter().zip(&mut running) {
        assert_eq!(process.exit_code(), 1, "{}: {}", start.code, process.log());
        let log = process.log();
        let explained = format!("{log}\n{}", explain(dir.path(), &log));
        if !log.contains(start.code) || !explained.contains(start.cure) {
            silent.push(format!("{} with `{}`:\n{log}", start.code, start.cure));
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

#[test]
fn every_refusal_is_in_the_log_of_etcd_3_4() {
    let Some(program) = tools::etcd34() else { return };
    every_refusal_is_in_the_log_of(&program);
}

#[test]
fn every_refusal_is_in_the_log_of_etcd_3_5() {
    let Some(program) = tools::etcd35() else { return };
    every_refusal_is_in_the_log_of(&program);
}
