//! The token service is killed at random moments under load.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::{Answer, Service, http, scratch, tools, wait};
use crate::operators::try_register;

/// How often it is killed; `QUORATE_KILLS` for longer runs by hand.
const KILLS: usize = 200;
const CLIENTS: usize = 4;
/// After an error, so that a service that is gone is not asked as fast as it can refuse.
const BACKOFF: Duration = Duration::from_millis(1);
/// Members of each cluster.
const SIZE: u16 = 3;

/// What was acknowledged: the index of each registration, by its key.
type Acknowledged = Arc<Mutex<BTreeMap<String, (u64, u64)>>>;

/// Each answer follows a sync of what was written, and of nothing more: `fsync` would wait for the
/// file's times as well.
#[test]
fn answers_follow_a_sync_of_the_data() {
    const TOKENS: usize = 5;
    let Some(strace) = tools::strace() else { return };
    let dir = scratch();
    let service = Service::start(dir.path());
    let trace = dir.path().join("trace");
    let mut tracer = Command::new(strace)
        .args(["-f", "-qq", "-e", "trace=fsync,fdatasync", "-o"])
        .arg(&trace)
        .args(["-p", &service.process.id().to_string()])
        .spawn()
        .unwrap();
    wait("all threads are traced", || {
        let mut threads =
            std::fs::read_dir(format!("/proc/{}/task", service.process.id())).unwrap();
        let traced = threads.all(|thread| {
            // A thread may have ended since.
            let status = std::fs::read_to_string(thread.unwrap().path().join("status"));
            let status = status.unwrap_or_default();
            !status.lines().any(|line| line.split_whitespace().eq(["TracerPid:", "0"]))
        });
        traced.then_some(())
    });
    let syncs = |call: &str| {
        let trace = std::fs::read_to_string(&trace).unwrap();
        let ended = |line: &&str| line.contains(&format!(" {call}")) && line.ends_with("= 0");
        trace.lines().filter(ended).count()
    };
    for made in 1..=TOKENS {
        service.new_token(3);
        // The tracer writes a call down before it lets it go on.
        assert!(syncs("fdatasync") >= made, "{made} tokens");
    }
    assert_eq!(syncs("fsync"), 0);
    drop(service);
    tracer.wait().unwrap();
}

/// Makes tokens and fills them until it is told to stop; a service that is gone, or too busy, is no news here.
fn load(base: &str, acknowledged: &Acknowledged, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let made = http("GET", &format!("{base}/new?size={SIZE}"), None);
        // What was cut off in the middle of an answer is no whole URL.
        let whole = |it: &Answer| it.status == 200 && it.body.starts_with(base);
        let Some(url) = made.ok().filter(whole).map(|it| it.body) else {
            std::thread::sleep(BACKOFF);
            continue;
        };
        for n in 0..SIZE {
            let Some(answer) = registered(&url, n) else { break };
            acknowledged.lock().unwrap().insert(format!("{url}#{n}"), answer);
        }
    }
}

/// The created index, and the index of the state, if it was acknowledged.
fn registered(url: &str, n: u16) -> Option<(u64, u64)> {
    let answer = try_register(url, &format!("n{n}"), 3000 + n).ok()?;
    if answer.status != 201 {
        return None;
    }
    let node: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
    let index = answer.header("X-Etcd-Index")?.parse().ok()?;
    Some((node["node"]["createdIndex"].as_u64()?, index))
}

#[test]
fn nothing_acknowledged_is_lost_and_no_index_comes_twice() {
    let kills = std::env::var("QUORATE_KILLS").ok().and_then(|text| text.parse().ok());
    let dir = scratch();
    let mut service = Service::start_with(dir.path(), &["--log-level=error"]);
    let acknowledged = Acknowledged::default();
    let kills = kills.unwrap_or(KILLS);
    let mut seen = 0;
    for _ in 0..kills {
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (base, acknowledged) = (service.url(""), Arc::clone(&acknowledged));
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || load(&base, &acknowledged, &stop))
            })
            .collect();
        let before = acknowledged.lock().unwrap().len();
        wait("a registration", || (acknowledged.lock().unwrap().len() > before).then_some(()));
        // The moment of the kill is what is drawn; nothing is waited for.
        std::thread::sleep(Duration::from_micros(rand::random_range(0..20_000)));
        service.process.kill();
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
        service.restart();
        seen += 1;
    }
    assert_eq!(seen, kills);
    let acknowledged = acknowledged.lock().unwrap();
    let mut indexes: Vec<u64> = acknowledged.values().map(|(index, _)| *index).collect();
    let count = indexes.len();
    indexes.sort_unstable();
    indexes.dedup();
    assert_eq!(indexes.len(), count, "an index was given twice");
    assert!(count >= kills, "{count} registrations were acknowledged");
    let mut lists: BTreeMap<&str, serde_json::Value> = BTreeMap::new();
    for (key, (index, _)) in acknowledged.iter() {
        let (url, n) = key.split_once('#').unwrap();
        let list = lists.entry(url).or_insert_with(|| {
            let answer = http("GET", url, None).unwrap();
            serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{url}: {answer:?}"))
        });
        let value = format!("n{n}=http://127.0.0.1:{}", 3000 + n.parse::<u16>().unwrap());
        let nodes = list["node"]["nodes"].as_array().unwrap_or_else(|| panic!("{url} is empty"));
        let held = nodes.iter().find(|node| node["value"] == *value);
        let held = held.unwrap_or_else(|| panic!("{key} was acknowledged and is lost: {list}"));
        assert_eq!(held["createdIndex"], *index, "{key}");
    }
    let verified = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["token", "timeline", "verify", "--url", &service.url("")])
        .env("QUORATE_DATA_DIR", dir.path().join("quorate.data"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success() && text.contains("entries, whole"), "{verified:?}");
}
