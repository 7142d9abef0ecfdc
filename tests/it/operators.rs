//! What operators do with the real program: keys, tokens, backups, limits, trouble.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use quorate::membership::MemberId;

use crate::harness::{Answer, Flavor, Service, http, scratch, token_cluster, tools, wait};
use crate::token::expect_one_cluster;

/// Runs `quorate` against this service, with its admin key.
pub(super) fn quorate(service: &Service, dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(arguments)
        .env("QUORATE_URL", service.url(""))
        .env("QUORATE_DATA_DIR", dir.join("quorate.data"))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
pub(super) fn expect(output: &Output, code: i32) -> String {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    format!("{out}{err}")
}

pub(super) fn register(url: &str, name: &str, port: u16) -> Answer {
    try_register(url, name, port).unwrap()
}

/// The same at a service that may be gone.
pub(super) fn try_register(url: &str, name: &str, port: u16) -> io::Result<Answer> {
    let id = MemberId::derive([format!("http://127.0.0.1:{port}").as_str()], url);
    let value = format!("value={name}%3Dhttp%3A%2F%2F127.0.0.1%3A{port}");
    http("PUT", &format!("{url}/{id}?prevExist=false"), Some(&value))
}

#[test]
fn tokens_are_seen_awaited_extended_and_revoked() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let run = |arguments: &[&str]| quorate(&service, dir.path(), arguments);
    let (full, open) = (service.new_token(2), service.new_token(3));
    register(&full, "n1", 3001);
    register(&full, "n2", 3002);
    register(&open, "n1", 3001);
    let listed = expect(&run(&["token", "ls"]), 0);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    let listed = expect(&run(&["token", "ls", "--state=full", "-o=json"]), 0);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["tokens"].as_array().unwrap().len(), 1);
    let shown = expect(&run(&["token", "show", &full]), 0);
    assert!(shown.contains("full, 2 of 2"), "{shown}");
    assert!(shown.contains("n1=http://127.0.0.1:3001,n2=http://127.0.0.1:3002"), "{shown}");
    assert!(!shown.contains(full.rsplit('/').next().unwrap()), "{shown}");

    expect(&run(&["token", "wait", &full, "--for=full", "--timeout=10m"]), 0);
    expect(&run(&["token", "wait", &open, "--for=first"]), 0);
    let late = expect(&run(&["token", "wait", &open, "--for=full", "--timeout=1s"]), 3);
    assert!(late.contains("1 of 3 members"), "{late}");
    let extended = expect(&run(&["token", "extend", &open, "--by=2d"]), 0);
    assert!(extended.contains("lives until"), "{extended}");
    expect(&run(&["token", "revoke", &open]), 0);
    assert_eq!(http("GET", &open, None).unwrap().status, 404);
    expect(&run(&["token", "wait", &open]), 4);
    expect(&run(&["token", "extend", &open, "--by=1h"]), 4);
    expect(&run(&["token", "show", "000000000000"]), 4);
    let short = http("GET", &service.url("/new?size=3&ttl=1s"), None).unwrap().body;
    expect(&run(&["token", "wait", &short]), 5);
    expect(&run(&["token", "show", "rubbish"]), 4);
    expect(&run(&["token", "show", "no label!"]), 2);
    let elsewhere = ["token", "ls", "--url=http://127.0.0.1:9"];
    expect(&run(&elsewhere), 6);
    let timeline = expect(&run(&["token", "timeline", &open]), 0);
    for what in ["created", "founded", "extended", "revoked"] {
        assert!(timeline.contains(&format!(" {what} ")), "{timeline}");
    }
    let verified = expect(&run(&["token", "timeline", "verify"]), 0);
    assert!(verified.contains("entries, whole"), "{verified}");
    std::fs::write(dir.path().join("wrong"), "some:not-the-right-key\n").unwrap();
    let wrong = format!("--admin-key-file={}", dir.path().join("wrong").display());
    let refused = expect(&run(&["token", "ls", &wrong]), 1);
    assert!(refused.contains("Q1080"), "{refused}");
}

#[test]
fn a_backup_is_restored_and_goes_on() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let url = service.new_token(3);
    register(&url, "n1", 3001);
    let file = dir.path().join("backup");
    let file = file.to_str().unwrap();
    let made = expect(&quorate(&service, dir.path(), &["backup", file]), 0);
    assert!(made.contains("timeline of 2 entries"), "{made}");
    expect(&quorate(&service, dir.path(), &["backup", file]), 2);
    let restored = dir.path().join("restored/quorate.data");
    let into = format!("--data-dir={}", restored.display());
    expect(&quorate(&service, dir.path(), &["restore", file, &into]), 0);
    expect(&quorate(&service, dir.path(), &["restore", file, &into]), 1);
    let again = Service::start(&dir.path().join("restored"));
    let token = url.rsplit('/').next().unwrap();
    let list = again.get(&format!("/{token}"));
    assert!(list.body.contains("n1=http://127.0.0.1:3001"), "{}", list.body);
}

#[test]
fn the_doctor_says_which_step_fails() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let url = service.new_token(2);
    let doctor = |url: &str, more: &[&str]| {
        quorate(&service, dir.path(), &[&["doctor", "token", url][..], more].concat())
    };
    let node = |name: &str, port: u16| {
        let urls = format!("--initial-advertise-peer-urls=http://127.0.0.1:{port}");
        [format!("--name={name}"), urls]
    };
    let ask = |url: &str, name: &str, port: u16| {
        let [name, urls] = node(name, port);
        doctor(url, &[&name, &urls])
    };
    let healthy = expect(&ask(&url, "n1", 3001), 0);
    assert!(healthy.contains("ok    registration"), "{healthy}");
    let list = http("GET", &url, None).unwrap().body;
    assert!(!list.contains("nodes"), "nothing was registered: {list}");
    register(&url, "n1", 3001);
    let cases = [
        (ask(&url, "n1", 3002), "Q1030"),
        (ask(&url.replace("127.0.0.1", "localhost"), "n2", 3002), "spelling"),
        (doctor(&format!("{url}/"), &[]), "slashes at the end"),
        (doctor(&service.url("/6c007a14875d53d9bf0ef5a6fc0257c8"), &[]), "mistyped, expired"),
        (
            doctor("http://127.0.0.1:9/6c007a14875d53d9bf0ef5a6fc0257c8", &[]),
            "127.0.0.1:9 cannot be reached",
        ),
    ];
    for (output, part) in cases {
        let text = expect(&output, 1);
        assert!(text.contains(part), "{text}");
    }
    register(&url, "n2", 3002);
    let full = expect(&ask(&url, "n3", 3003), 1);
    assert!(full.contains("all 2 members have registered"), "{full}");
}

#[test]
fn codes_and_configurations_are_explained() {
    let dir = scratch();
    let program = env!("CARGO_BIN_EXE_quorate");
    let run = |arguments: &[&str]| {
        Command::new(program).args(arguments).current_dir(dir.path()).output().unwrap()
    };
    let text = expect(&run(&["explain", "Q1021", "q1033"]), 0);
    assert!(text.contains("Q1021: ") && text.contains("etcdctl member remove"), "{text}");
    expect(&run(&["explain", "Q9999"]), 2);
    assert!(expect(&run(&["explain", "--all"]), 0).lines().count() > 25);
    std::fs::write(dir.path().join("log"), "fatal: discovery: found duplicate id\n").unwrap();
    let log = std::fs::File::open(dir.path().join("log")).unwrap();
    let read = Command::new(program).arg("explain").stdin(log).output().unwrap();
    assert!(expect(&read, 0).contains("line 1: found duplicate id"));
    let good = expect(&run(&["config", "check", "--max-size=5"]), 0);
    assert!(good.contains("is good"), "{good}");
    assert!(!dir.path().join("quorate.data").exists(), "a check makes nothing");
    let bad = expect(&run(&["config", "check", "--max-size=0", "--new-rate=x"]), 2);
    assert!(bad.contains("2 problems"), "{bad}");
}

#[test]
fn limits_are_those_of_the_flags() {
    let dir = scratch();
    let flags = [
        "--new-rate=4/h",
        "--max-value-bytes=60",
        "--max-name-bytes=4",
        "--max-urls=1",
        "--max-surplus=1",
        "--max-waiters-per-token=1",
    ];
    let service = Service::start_with(dir.path(), &flags);
    let (url, one) = (service.new_token(3), service.new_token(1));
    let refused = |answer: Answer, code: &str| {
        assert!(answer.status >= 400 && answer.body.contains(code), "{code}: {}", answer.body);
    };
    refused(register(&url, "a-long-name", 3001), "Q1013");
    refused(register(&url, &"n".repeat(80), 3001), "Q1010");
    let two = "value=n1%3Dhttp%3A%2F%2Fa%3A1%2Cn1%3Dhttp%3A%2F%2Fb%3A2";
    refused(http("PUT", &format!("{url}/1"), Some(two)).unwrap(), "Q1014");
    for (n, port) in [("n1", 3001), ("n2", 3002)] {
        assert_eq!(register(&one, n, port).status, 201);
    }
    refused(register(&one, "n3", 3003), "Q1034");
    let poll = format!("{url}?recursive=true&wait=true");
    let waiting = std::thread::spawn({
        let poll = poll.clone();
        move || http("GET", &poll, None).unwrap()
    });
    service.wait_for_waiters(1);
    let second = http("GET", &poll, None).unwrap();
    assert_eq!(second.status, 503, "{}", second.body);
    assert!(second.body.contains("Q1084"), "{}", second.body);
    assert_eq!(register(&url, "n1", 3001).status, 201);
    assert_eq!(waiting.join().unwrap().status, 200);
    service.new_token(1);
    service.new_token(1);
    let fifth = service.get("/new");
    assert_eq!(fifth.status, 429, "{}", fifth.body);
    let after: u64 = fifth.header("Retry-After").unwrap().parse().unwrap();
    assert!((1..=901).contains(&after), "{after}");
}

/// The whole life of tokens at the loudest level, and no token in what was written about it.
#[test]
fn tokens_are_not_in_logs_metrics_and_titles() {
    for format in ["--log-format=text", "--log-format=json"] {
        let dir = scratch();
        let mut service = Service::start_with(dir.path(), &["--log-level=trace", format]);
        let (url, raw) = (service.new_token(1), service.url("/v2/keys/team/secret-path-of-ours"));
        http("PUT", &format!("{raw}/_config/size"), Some("value=1")).unwrap();
        for url in [&url, &raw] {
            assert_eq!(register(url, "n1", 3001).status, 201);
            register(url, "n1", 3001);
            register(&url.replace("127.0.0.1", "localhost"), "n2", 3002);
            http("PUT", &format!("{url}/nonsense"), Some("value=x")).unwrap();
            http("GET", &format!("{url}?recursive=true&wait=true&waitIndex=1"), None).unwrap();
            http("GET", &format!("{url}/initial-cluster"), None).unwrap();
        }
        expect(&quorate(&service, dir.path(), &["token", "revoke", &url]), 0);
        let metrics = service.get("/metrics").body;
        service.process.stop();
        let log = service.process.log();
        assert!(log.contains("member registered") && log.contains("token revoked"), "{log}");
        assert!(log.contains("request"), "{log}");
        for secret in [url.rsplit('/').next().unwrap(), "secret-path-of-ours"] {
            let lines: Vec<&str> = log.lines().filter(|line| line.contains(secret)).collect();
            assert!(lines.is_empty(), "{lines:#?}");
            assert!(!metrics.contains(secret));
        }
    }
}

#[test]
fn a_rolling_restart_is_noticed_by_no_node() {
    let dir = scratch();
    let mut service = Service::start(dir.path());
    let url = service.new_token(3);
    let Some(mut nodes) = token_cluster(&[Flavor::Etcd34; 3], &url, dir.path()) else { return };
    nodes[0].start();
    wait_for_members(&url, 1);
    for next in [1, 2] {
        let waiting = std::thread::spawn({
            let poll = format!("{url}?recursive=true&wait=true");
            move || http("GET", &poll, None).unwrap()
        });
        wait("somebody to wait", || {
            service
                .get("/metrics")
                .body
                .contains(&format!("quorate_waiters {}\n", next + 1))
                .then_some(())
        });
        assert!(service.process.stop().success());
        let empty = waiting.join().unwrap();
        assert_eq!((empty.status, empty.body.as_str()), (200, ""), "waiters are let go");
        service.restart();
        nodes[next].start();
        wait_for_members(&url, next + 1);
    }
    expect_one_cluster(&mut nodes, &url);
}

fn wait_for_members(url: &str, count: usize) {
    wait("registrations", || {
        let list = http("GET", url, None).ok()?.body;
        (list.matches("createdIndex").count() > count).then_some(())
    });
}

#[test]
fn keys_are_read_again_at_sighup() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let key = dir.path().join("quorate.data/admin.key");
    expect(&quorate(&service, dir.path(), &["token", "ls"]), 0);
    let old = dir.path().join("old.key");
    std::fs::copy(&key, &old).unwrap();
    std::fs::write(&key, "ann:a-key-of-another-day\n").unwrap();
    service.process.signal(rustix::process::Signal::HUP);
    wait("the signal to be heard", || service.process.log().contains("reloaded").then_some(()));
    let with = format!("--admin-key-file={}", old.display());
    wait("the old key to be refused", || {
        (quorate(&service, dir.path(), &["token", "ls", &with]).status.code() == Some(1))
            .then_some(())
    });
    expect(&quorate(&service, dir.path(), &["token", "ls"]), 0);
}

#[test]
fn the_log_level_is_read_again_at_sighup() {
    let dir = scratch();
    let file = dir.path().join("quorate.toml");
    std::fs::write(&file, "log-level = \"warn\"\n").unwrap();
    let mut service =
        Service::start_with(dir.path(), &[&format!("--config-file={}", file.display())]);
    service.new_token(1);
    for (text, said) in [
        ("log-level = \"info\"\n", "reloaded log.level=info"),
        ("log-level = \"loud\"\n", "settings are not reloaded"),
        ("log-level = \"info\"\nmax-size = 5\n", "other settings than the log level"),
    ] {
        assert!(!service.process.log().contains(said), "{}", service.process.log());
        std::fs::write(&file, text).unwrap();
        service.process.signal(rustix::process::Signal::HUP);
        service.process.wait_for_log(said);
    }
    assert!(!service.process.log().contains("token created"), "warn is quiet");
    let id = service.new_token(1);
    service.process.wait_for_log("token created");
    assert!(!service.process.log().contains(id.rsplit('/').next().unwrap()));
}

#[test]
fn strangers_behind_a_proxy_have_rates_of_their_own() {
    let dir = scratch();
    let keys = dir.path().join("new.keys");
    std::fs::write(&keys, "ci:0123456789abcdef\n").unwrap();
    let keys = format!("--new-key-file={}", keys.display());
    let flags = ["--trusted-proxy=127.0.0.0/8", "--new-rate=2/h", &keys];
    let service = Service::start_with(dir.path(), &flags);
    let ask = |from: &str, key: Option<&str>| {
        let key = key.map(|key| format!("Bearer {key}"));
        let mut headers = vec![("X-Forwarded-For", from)];
        headers.extend(key.as_deref().map(|key| ("Authorization", key)));
        crate::harness::http_with("GET", &service.url("/new?size=1"), &headers, None).unwrap()
    };
    let key = Some("0123456789abcdef");
    let strange = ask("192.0.2.1", None);
    assert_eq!(strange.status, 401);
    assert!(strange.body.contains("Q1080"), "{}", strange.body);
    assert_eq!(ask("192.0.2.1", Some("0123456789abcdeX")).status, 401);
    assert_eq!(["192.0.2.1", "192.0.2.2"].map(|from| ask(from, key).status), [200, 200]);
    let third = ask("192.0.2.3", key);
    assert_eq!(third.status, 429, "a key has one rate, wherever it is used: {}", third.body);
    assert!(third.body.contains("Q1083"), "{}", third.body);
    assert!(third.header("Retry-After").unwrap().parse::<u32>().unwrap() > 0);
    // This machine itself needs no key, and has an allowance by address.
    assert_eq!(service.get("/new?size=1").status, 200);
}

/// A file system of a few megabytes, until the test ends.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(dir: &Path) -> Option<Self> {
        tools::network_namespaces()?;
        std::fs::create_dir_all(dir).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "quorate-test"])
            .arg(dir)
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(dir.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the service may still be ending.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    let dir = scratch();
    let Some(disk) = SmallDisk::mount(&dir.path().join("quorate.data")) else { return };
    let service = Service::start(dir.path());
    let url = service.new_token(3);
    assert_eq!(register(&url, "n1", 3001).status, 201);
    let waiting = std::thread::spawn({
        let poll = format!("{url}?recursive=true&wait=true");
        move || http("GET", &poll, None).unwrap()
    });
    service.wait_for_waiters(1);
    let filler = disk.0.join("filler");
    let fill = || {
        use std::io::Write as _;
        let mut file = std::fs::File::options().append(true).create(true).open(&filler).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    };
    let mut made = Vec::new();
    let refused = wait("a full disk", || {
        fill();
        let answer = service.get("/new?size=1");
        if answer.status == 200 {
            made.push(answer.body.clone());
        }
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(refused.status, 507, "{}", refused.body);
    assert!(
        refused.body.contains("Q1091: the disk of the discovery service is full"),
        "{}",
        refused.body
    );
    let late = register(&url, "n2", 3002);
    assert_eq!(late.status, 507, "{}", late.body);
    assert!(late.body.contains("Q1091"), "{}", late.body);
    assert_eq!(http("GET", &url, None).unwrap().status, 200, "reads go on");
    assert_eq!(service.get("/health").status, 503);
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(register(&url, "n2", 3002).status, 201, "and writing works again");
    let event = waiting.join().unwrap();
    assert!(event.body.contains("n2=http"), "who waited, waited on: {}", event.body);
    assert_eq!(service.get("/health").status, 200);
    for url in made {
        assert_eq!(http("GET", &url, None).unwrap().status, 200, "what was acknowledged is there");
    }
    expect(&quorate(&service, dir.path(), &["token", "timeline", "verify"]), 0);
}
