//! A node's own journal names the rule that refused it, and the cure: the stock etcd's too.
//!
//! No etcd gets as far as Q1015, a URL given twice, or Q1020, a key of somebody's own making; Q1001,
//! Q1003 and Q1004 are for those who make tokens. A node whose token is complete before it registers
//! reads so itself and asks no further.
//!
//! What nodes of v3 discovery are told is in `tests/differential/discovery/refusals.txt`.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use crate::harness::{Process, Service, free_port, http, scratch, tools, wait};
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

fn starts(service: &Service, crowd: &Crowded) -> Vec<Start> {
    let open = service.new_token(3);
    let (full, late) = (service.new_token(1), service.new_token(1));
    let (expired, crowded) = (service.get("/new?size=3&ttl=1s").body, service.new_token(1));
    let v3 = service.new_token(3);
    assert_eq!(register(&open, "held", 3001).status, 201);
    assert_eq!(register(&full, "n1", 3001).status, 201);
    for (n, port) in [(1, 3001), (2, 3002)] {
        assert_eq!(register(&late, &format!("n{n}"), port).status, 201);
    }
    crowd.set(crowded.clone()).unwrap();
    wait("a token to expire", || {
        (http("GET", &expired, None).unwrap().status == 404).then_some(())
    });
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
        start("Q1014", "advertise fewer in", &open, "new", urls(17, "127.0.0.1")),
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
        start("Q1033", "run `etcdctl member remove", &full, "n1", loopback(3001)),
        start("Q1034", "start a new cluster with a new token", &crowded, "n3", loopback(3003)),
        start("Q1002", "make a new one with /new", &expired, "new", loopback(3009)),
        // Here etcd prints words of its own, which `quorate explain` knows.
        start("cluster is full", "`etcdctl member add`", &late, "n3", loopback(3003)),
    ]
}

/// The token that others fill while the registration of an etcd is on its way.
type Crowded = Arc<OnceLock<String>>;

/// Stands before the service and passes everything on.
fn stand_before(listener: TcpListener, port: u16, crowded: Crowded) {
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, crowded) = (client.unwrap(), Arc::clone(&crowded));
            std::thread::spawn(move || pass_on(client, port, &crowded));
        }
    });
}

fn pass_on(mut client: TcpStream, port: u16, crowded: &Crowded) {
    let mut service = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut from, mut back) = (service.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        // Either side may go first.
        let _ = std::io::copy(&mut from, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    let mut chunk = vec![0; 1 << 16];
    while let Ok(read @ 1..) = client.read(&mut chunk) {
        let sent = String::from_utf8_lossy(&chunk[..read]);
        let filled = crowded.get().filter(|url| {
            let path = url.rsplit('/').next().unwrap();
            sent.starts_with(&format!("PUT /{path}/")) && sent.contains("Go-http-client")
        });
        for (name, port) in filled.iter().flat_map(|_| [("n1", 3001), ("n2", 3002)]) {
            assert_eq!(register(filled.unwrap(), name, port).status, 201);
        }
        service.write_all(&chunk[..read]).unwrap();
    }
    let _ = service.shutdown(Shutdown::Both);
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
    let front = TcpListener::bind("127.0.0.1:0").unwrap();
    let public_url = format!("--public-url=http://{}", front.local_addr().unwrap());
    let service = Service::start_with(dir.path(), &["--max-surplus=1", &public_url]);
    let crowded = Crowded::default();
    stand_before(front, service.http_port, Arc::clone(&crowded));
    let starts = starts(&service, &crowded);
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
