//! What a new user meets: spellings, files that are missing, services that are not there, and the words
//! that all of it is told in.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{Process, Service, free_port, http, scratch, wait};
use crate::operators::{expect, quorate, register};

const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");

fn run(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(QUORATE).args(arguments).envs(environment.iter().copied()).output().unwrap()
}

/// Answers one HTTP request with this, whatever it is, and tells what it was.
fn answer_once(answer: &'static [u8]) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = vec![0; 4096];
        let read = stream.read(&mut asked).unwrap();
        stream.write_all(answer).unwrap();
        String::from_utf8_lossy(&asked[..read]).into_owned()
    });
    (url, answering)
}

#[test]
fn empty_variables_count_as_unset() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let url = service.url("");
    let empty = [
        ("QUORATE_URL", ""),
        ("QUORATE_SERVICE", " "),
        ("QUORATE_DATA_DIR", ""),
        ("QUORATE_ADMIN_KEY_FILE", ""),
        ("QUORATE_CACERT", ""),
        ("ETCD_DISCOVERY", ""),
        ("ETCD_DISCOVERY_TOKEN", ""),
    ];
    let keys = format!("--admin-key-file={}", dir.path().join("quorate.data/admin.key").display());
    expect(&run(&empty, &["token", "ls", "--url", &url, &keys]), 0);
    let token = expect(&run(&empty, &["new", "--service", &url]), 0);
    expect(&run(&empty, &["doctor", "token", token.trim()]), 0);
    // Either variable leads everywhere.
    for name in ["QUORATE_URL", "QUORATE_SERVICE"] {
        let made = expect(&run(&[(name, &url)], &["new"]), 0);
        assert!(made.starts_with(&url), "{name}: {made}");
        expect(&run(&[(name, &url)], &["token", "ls", &keys]), 0);
    }
}

#[test]
fn a_wrong_url_and_a_wrong_key_file_are_wrong_flags() {
    let dir = scratch();
    for wrong in ["ftp://x", "127.0.0.1:8087", "localhost:8087"] {
        for command in [&["new", "--url", wrong][..], &["token", "--url", wrong, "ls"]] {
            let text = expect(&run(&[], command), 2);
            assert!(text.contains("such as http://discovery.example:8087"), "{text}");
        }
    }
    let missing = dir.path().join("badkey").display().to_string();
    let text = expect(&run(&[], &["token", "ls", "--admin-key-file", &missing]), 2);
    assert!(text.contains(&missing) && !text.contains("give --admin-key-file"), "{text}");
    expect(&run(&[], &["new", "--new-key-file", &missing]), 2);
    let nobody = format!("http://127.0.0.1:{}", free_port());
    expect(&run(&[], &["new", "--url", &nobody]), 6);
    let text = expect(&run(&[], &["backup", "-"]), 2);
    assert!(text.contains("`-` is no file"), "{text}");
}

#[test]
fn a_key_and_the_path_of_the_url_are_sent() {
    let dir = scratch();
    let keys = dir.path().join("new.keys");
    std::fs::write(&keys, "ci:0123456789abcdef\n").unwrap();
    let keys = keys.display().to_string();
    let (url, answering) = answer_once(b"HTTP/1.0 200 OK\r\n\r\nhttp://h/T\n");
    let below = format!("{url}/disc/");
    let made = expect(&run(&[], &["new", "--url", &below, "--new-key-file", &keys, "--size=5"]), 0);
    assert_eq!(made, "http://h/T\n");
    let asked = answering.join().unwrap().to_ascii_lowercase();
    assert!(asked.starts_with("post /disc/new?size=5 "), "{asked}");
    assert!(asked.contains("authorization: bearer 0123456789abcdef"), "{asked}");

    let (url, answering) = answer_once(b"HTTP/1.0 429 Too Many\r\n\r\nQ1083: slowly\n");
    assert!(expect(&run(&[], &["new", "--url", &url]), 1).contains("Q1083: slowly"));
    answering.join().unwrap();
    let (url, answering) = answer_once(b"HTTP/1.0 401 No\r\n\r\nQ1080: a key\n");
    assert!(expect(&run(&[], &["new", "--url", &url]), 1).contains("--new-key-file FILE"));
    answering.join().unwrap();
}

#[test]
fn http_and_https_mixed_up_are_told_from_a_service_that_is_away() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let plain = service.url("").replace("http://", "https://");
    let text = expect(&run(&[], &["new", "--url", &plain]), 6);
    assert!(text.contains("write http://") && !text.contains("--cacert"), "{text}");
    let token = format!("{plain}/6c007a14875d53d9bf0ef5a6fc0257c8");
    assert!(expect(&run(&[], &["doctor", "token", &token]), 1).contains("write http://"));
    // A fatal alert is what a TLS port answers to plain HTTP.
    let (url, answering) = answer_once(b"\x15\x03\x03\x00\x02\x02\x46");
    let text = expect(&run(&[], &["new", "--url", &url]), 6);
    assert!(text.contains("write https://"), "{text}");
    answering.join().unwrap();
}

/// All problems with files stand beside all others, whoever looks.
#[test]
fn files_are_checked_as_a_start_reads_them() {
    let dir = scratch();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let admin = format!("--admin-key-file={}", path("none/admin.key"));
    let data = format!("--data-dir={}", path("data"));
    let flags = ["--tls-cert=/nope", "--tls-key=/nope.key", "--max-size=0", &admin, &data];
    for command in [&["serve"][..], &["config", "check"]] {
        let text = expect(&run(&[], &[command, &flags].concat()), 2);
        for part in [
            "4 problems",
            "--tls-cert `/nope`",
            "--tls-key `/nope.key`",
            "--max-size `0`",
            "make it",
        ] {
            assert!(text.contains(part), "{command:?}: {part} is missing in {text}");
        }
    }
    std::fs::write(path("q.toml"), "http-adr = \"127.0.0.1:1\"\n").unwrap();
    let file = format!("--config-file={}", path("q.toml"));
    let text = expect(&run(&[], &["config", "check", &file]), 2);
    assert!(text.contains("did you mean `http-addr`?") && !text.contains("tls-cert"), "{text}");
    let strange =
        [("QUORATE_HTTP_ADR", "x"), ("QUORATE_URL", "http://h"), ("QUORATE_PORT", "tcp://h")];
    let text = expect(&run(&strange, &["config", "check", &data]), 0);
    assert!(text.contains("did you mean QUORATE_HTTP_ADDR?"), "{text}");
    assert_eq!(text.matches("did you mean").count(), 1, "{text}");
    assert!(!dir.path().join("data").exists(), "nothing is made");
}

#[test]
fn a_service_warns_of_a_mistyped_variable() {
    let dir = scratch();
    let zones = format!("--zones-dir={}", dir.path().display());
    let flags = ["serve", "--http-addr=127.0.0.1:0", "--dns-addr=off", &zones];
    let set = [("QUORATE_MAX_SISE", "3".to_owned())];
    let mut service = Process::start("quorate", Path::new(QUORATE), &flags, &set, dir.path());
    service.wait_for_log("serving HTTP");
    let log = service.log();
    assert_eq!(log.matches("did you mean QUORATE_MAX_SIZE?").count(), 1, "{log}");
}

#[test]
fn a_wait_outlives_a_restart_of_the_service() {
    let dir = scratch();
    let mut service = Service::start(dir.path());
    let url = service.new_token(2);
    let environment = [
        ("QUORATE_URL", service.url("")),
        ("QUORATE_DATA_DIR", dir.path().join("quorate.data").display().to_string()),
    ];
    let arguments = ["token", "wait", &url, "--timeout=55s"];
    let mut waiting =
        Process::start("wait", Path::new(QUORATE), &arguments, &environment, dir.path());
    waiting.wait_for_log("0 of 2 members");
    service.process.kill();
    waiting.wait_for_log("the service does not answer");
    service.restart();
    for (name, port) in [("n1", 3001), ("n2", 3002)] {
        assert_eq!(register(&url, name, port).status, 201);
    }
    assert_eq!(waiting.exit_code(), 0, "{}", waiting.log());
    assert!(waiting.log().contains("full, 2 of 2"), "{}", waiting.log());
    // One that is away for good is waited for as long as was said, and no longer.
    let open = service.new_token(2);
    let arguments = ["token", "wait", &open, "--timeout=2s"];
    let mut waiting =
        Process::start("late", Path::new(QUORATE), &arguments, &environment, dir.path());
    waiting.wait_for_log("0 of 2 members");
    service.process.kill();
    assert_eq!(waiting.exit_code(), 3, "{}", waiting.log());
}

#[test]
fn the_doctor_compares_what_nobody_has_registered() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let run = |arguments: &[&str]| quorate(&service, dir.path(), arguments);
    let url = service.new_token(3);
    let before = expect(&run(&["token", "timeline", &url]), 0);
    let healthy = expect(&run(&["doctor", "token", &url]), 0);
    assert!(healthy.contains("nobody has registered"), "{healthy}");
    assert!(healthy.contains("made-up member"), "{healthy}");
    let alias = url.replace("127.0.0.1", "localhost");
    let sick = expect(&run(&["doctor", "token", &alias]), 1);
    assert!(sick.contains("Q1021"), "{sick}");
    let bare = url.rsplit('/').next().unwrap();
    assert!(expect(&run(&["doctor", "token", bare]), 1).contains("is a bare token"));
    // A member that is there is not written once more.
    assert_eq!(register(&url, "n1", 3001).status, 201);
    let node = ["--name=n1", "--initial-advertise-peer-urls=http://127.0.0.1:3001"];
    let known = expect(&run(&[&["doctor", "token", &url][..], &node].concat()), 0);
    assert!(known.contains("goes on waiting"), "{known}");
    let after = expect(&run(&["token", "timeline", &url]), 0);
    assert_eq!(after.lines().count(), before.lines().count() + 1, "{after}");
    assert!(!http("GET", &url, None).unwrap().body.contains("invalid"));

    let v3 = service.new_token(3);
    let token = format!("--discovery-token={}", v3.rsplit('/').next().unwrap());
    let endpoint = format!("--discovery-endpoints=127.0.0.1:{}", service.http_port);
    let doctor = |more: &[&str]| run(&[&["doctor", "token", &token, &endpoint][..], more].concat());
    assert!(expect(&doctor(&[]), 0).contains("--    member id: give --name"));
    let wild = ["--name=n1", "--initial-advertise-peer-urls=http://0.0.0.0:44"];
    assert!(expect(&doctor(&wild), 1).contains("Q1016"));
    assert!(expect(&doctor(&node), 0).contains("ok    registration"));
}

#[test]
fn nobody_at_the_dns_port_is_told_at_once() {
    let resolver = format!("--resolver=127.0.0.1:{}", free_port());
    let began = std::time::Instant::now();
    let text = expect(&run(&[], &["dns", "lookup", "example.test", &resolver]), 1);
    assert!(text.contains("no DNS server answers at 127.0.0.1"), "{text}");
    // One lookup alone would take the resolver fifteen.
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}

/// The words of the code, none that contradict them, and never the token.
#[test]
fn our_node_explains_a_refusal_without_the_token() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let (open, expired) = (service.new_token(3), service.get("/new?size=3&ttl=1s").body);
    assert_eq!(register(&open, "held", 3001).status, 201);
    wait("the token to expire", || {
        (http("GET", &expired, None).unwrap().status == 404).then_some(())
    });
    let (alias, url) =
        (open.replace("127.0.0.1", "localhost"), |port: u16| format!("http://127.0.0.1:{port}"));
    for (code, cure, discovery, name, advertise) in [
        ("Q1021", "to the letter", &alias, "n2", url(3002)),
        ("Q1030", "a --name of its own", &open, "held", url(3002)),
        ("Q1032", "its first name", &open, "other", url(3001)),
        ("Q1002", "with /new", &expired, "n2", url(3002)),
    ] {
        let (peer, client) = (url(free_port()), url(free_port()));
        let flags = [
            format!("--name={name}"),
            format!("--data-dir={code}.etcd"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={advertise}"),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--discovery={discovery}"),
        ];
        let program = Path::new(env!("CARGO_BIN_EXE_quorate-node"));
        let mut node = Process::start(code, program, &flags, &[], dir.path());
        assert_eq!(node.exit_code(), 1);
        let log = node.log();
        let last = log.lines().last().unwrap();
        assert!(last.contains(code) && last.contains(cure), "{code}: {log}");
        assert!(log.contains("the discovery service refused this member"), "{code}: {log}");
        for wrong in ["already used", "do not reuse", discovery.rsplit('/').next().unwrap()] {
            assert!(!log.contains(wrong), "{code}: {wrong}: {log}");
        }
    }
}
