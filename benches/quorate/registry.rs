use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use quorate::membership::MemberId;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::load::{self, Sample};
use super::subject::{Cluster, Process, Subject, free_port, wait_until_healthy};
use super::wire::{self, Wire};
use super::{Plan, cluster, machine};

/// Members per token.
pub(crate) const SIZE: usize = 9;
/// Tokens made before registrations are measured.
const TOKENS: usize = 8192;

/// What the Go discovery service with etcd 3.4 as its store does a second at eight connections, on
/// two cores: `/new`, reads of a directory, registrations. Ten times as much is asked of ours.
const PEER: [f64; 3] = [680.0, 2900.0, 1200.0];

/// A running `quorate serve` with an empty registry, or with that of `data`.
pub(crate) struct Service {
    pub(crate) url: String,
    pub(crate) process: Process,
    _dir: tempfile::TempDir,
}

impl Service {
    pub(crate) async fn start(more: &[&str]) -> Self {
        Self::start_on(None, more).await
    }

    pub(crate) async fn start_on(data: Option<PathBuf>, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("http://127.0.0.1:{}", free_port());
        let data = data.unwrap_or_else(|| dir.path().join("data"));
        let mut flags = vec![
            "serve".to_owned(),
            "--new-rate=off".to_owned(),
            format!("--data-dir={}", data.display()),
            format!("--zones-dir={}", dir.path().display()),
            format!("--http-addr={}", url.trim_start_matches("http://")),
            "--dns-addr=off".to_owned(),
            "--log-level=error".to_owned(),
        ];
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        let program = Path::new(env!("CARGO_BIN_EXE_quorate"));
        let process = Process::start(program, &flags, &dir.path().join("log"));
        wait_until_healthy(&url).await;
        Self { url, process, _dir: dir }
    }

    pub(crate) async fn new_token(&self, size: usize) -> String {
        let mut wire = Wire::connect(&self.url).await;
        let request = wire::get(&format!("{}/new?size={size}", self.url));
        let answer = wire.ask(&request).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }
}

/// Tokens, reads and registrations per second, each write durable before it is answered.
pub(crate) async fn rates(plan: &Plan) {
    println!(
        "\nregistry, every write durable before its answer; ratios to what was measured beside it"
    );
    let service = Service::start(&[]).await;
    let store = match Subject::all().into_iter().find(|subject| subject.name == "etcd 3.4") {
        Some(subject) => Some(Cluster::start(subject, 1, &["--enable-v2"]).await),
        None => None,
    };
    let idle = service.process.usage().rss_mib;
    let mut reached = true;
    for connections in [8, 64] {
        let syncs = machine::sync_rate(plan.span);
        println!(
            "{:<14}{connections:>4} at a time  fdatasync of 4 KiB, alone: {syncs:.0}/s",
            "machine"
        );
        let puts = match &store {
            Some(store) => {
                let theirs = cluster::puts(store, connections, plan).await;
                print("put", connections, "etcd 3.4 (v3)", &theirs);
                Some(theirs.rate())
            }
            None => None,
        };
        let samples = [
            ("/new", news(&service, connections, plan).await),
            ("directory", directories(&service, connections, plan).await),
            ("registration", registrations(&service, connections, plan).await),
        ];
        for ((what, sample), peer) in samples.iter().zip(PEER) {
            print(what, connections, "quorate", sample);
            let etcd = puts.map_or_else(String::new, |puts| {
                format!("{:.1} x etcd's puts, ", sample.rate() / puts)
            });
            let fast = sample.rate() >= 10.0 * peer;
            let prompt = connections > 8 || sample.percentile(0.99) < 10.0;
            reached &= fast && prompt && sample.failures == 0;
            println!(
                "{:>20}{:.1} x the machine's syncs, {etcd}{:.1} x the Go service elsewhere: {}",
                "",
                sample.rate() / syncs,
                sample.rate() / peer,
                verdict(fast && prompt && sample.failures == 0),
            );
        }
        wrk(&service, connections, plan).await;
    }
    let ours = service.process.usage().rss_mib;
    print!("memory: idle {idle:.1} MiB, afterwards {ours:.1} MiB");
    match &store {
        Some(store) => println!("; etcd 3.4 alone afterwards {:.1} MiB", store.usage().rss_mib),
        None => println!(),
    }
    println!("ten times the Go service, p99 under 10 ms at 8: {}", verdict(reached));
}

pub(crate) fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "DOES NOT HOLD" }
}

pub(crate) fn print(what: &str, connections: usize, who: &str, sample: &Sample) {
    println!(
        "{what:<14}{connections:>4} at a time  {who:<16}{:>8.0}/s  p50 {:.2} ms  p99 {:.2} ms  \
         {:.0} µs of processor{}",
        sample.rate(),
        sample.percentile(0.5),
        sample.percentile(0.99),
        sample.cpu_micros(),
        if sample.failures > 0 { format!("  {} FAILED", sample.failures) } else { String::new() }
    );
}

/// Sends what `request` says over so many connections, and counts answers with this status.
async fn drive(
    service: &Service,
    connections: usize,
    span: Duration,
    status: u16,
    request: impl Fn() -> Option<Vec<u8>> + Clone + Send + Sync + 'static,
) -> Sample {
    let mut wires = Vec::new();
    for _ in 0..connections {
        wires.push(Mutex::new(Wire::connect(&service.url).await));
    }
    let wires = Arc::new(wires);
    let before = service.process.usage().cpu_seconds;
    let ask = move |worker: usize, _: usize| {
        let (wires, request) = (Arc::clone(&wires), request.clone());
        async move {
            // Running out counts as a failure, and failures are printed.
            let Some(request) = request() else { return false };
            let answer = wires[worker].lock().await.ask(&request).await;
            answer.is_some_and(|answer| answer.status == status)
        }
    };
    let mut sample = load::run(connections, span, ask).await;
    sample.cpu_seconds = service.process.usage().cpu_seconds - before;
    sample
}

pub(crate) async fn news(service: &Service, connections: usize, plan: &Plan) -> Sample {
    let request = wire::get(&format!("{}/new?size={SIZE}", service.url));
    drive(service, connections, plan.span, 200, move || Some(request.clone())).await
}

/// Reads of a directory with three members.
async fn directories(service: &Service, connections: usize, plan: &Plan) -> Sample {
    let url = service.new_token(3).await;
    let mut wire = Wire::connect(&url).await;
    for number in 0..3 {
        assert_eq!(wire.ask(&registration(&url, number)).await.unwrap().status, 201);
    }
    let request = wire::get(&url);
    drive(service, connections, plan.span, 200, move || Some(request.clone())).await
}

/// Founders of tokens that exist already.
async fn registrations(service: &Service, connections: usize, plan: &Plan) -> Sample {
    let tokens = make_tokens(service).await;
    // Made beforehand: ids are hashes, and two cores are the service's as well.
    let founders = |url: &String| (0..SIZE).map(|number| registration(url, number)).collect();
    let requests: Arc<[Vec<u8>]> = tokens.iter().flat_map::<Vec<_>, _>(founders).collect();
    let next = Arc::new(AtomicUsize::new(0));
    let request = move || requests.get(next.fetch_add(1, Ordering::Relaxed)).cloned();
    drive(service, connections, plan.span, 201, request).await
}

/// More tokens than one measurement can fill; all of them exist before the clock starts.
async fn make_tokens(service: &Service) -> Vec<String> {
    let mut makers = JoinSet::new();
    for _ in 0..64 {
        let url = service.url.clone();
        makers.spawn(async move {
            let mut wire = Wire::connect(&url).await;
            let request = wire::get(&format!("{url}/new?size={SIZE}"));
            let mut tokens = Vec::new();
            for _ in 0..TOKENS / 64 {
                tokens.push(wire.ask(&request).await.unwrap().body);
            }
            tokens
        });
    }
    let mut tokens = Vec::new();
    while let Some(made) = makers.join_next().await {
        tokens.extend(made.unwrap());
    }
    tokens
}

/// One registration as etcd sends it.
pub(crate) fn registration(url: &str, number: usize) -> Vec<u8> {
    let peer = format!("http://10.0.{}.{}:2380", number / 250, number % 250 + 1);
    let id = MemberId::derive([peer.as_str()], url);
    let value = format!("value=n{number}%3D{}", peer.replace(':', "%3A").replace('/', "%2F"));
    wire::put(&format!("{url}/{id}?prevExist=false"), &value)
}

/// The same with wrk, where it is installed.
async fn wrk(service: &Service, connections: usize, plan: &Plan) {
    let url = service.new_token(3).await;
    let mut wire = Wire::connect(&url).await;
    for number in 0..3 {
        assert_eq!(wire.ask(&registration(&url, number)).await.unwrap().status, 201);
    }
    for (what, url) in [("/new", format!("{}/new?size={SIZE}", service.url)), ("directory", url)] {
        let mut command = Command::new("wrk");
        command.args(["-t1", "--latency"]).arg(format!("-c{connections}"));
        command.arg(format!("-d{}s", plan.span.as_secs().max(1))).arg(url);
        let began = Instant::now();
        let output = tokio::task::spawn_blocking(move || command.stderr(Stdio::null()).output());
        let Ok(output) = output.await.unwrap() else {
            println!("{what:<14}{connections:>4} at a time  wrk is not installed");
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let after = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
            line.unwrap_or("?").trim().to_owned()
        };
        println!(
            "{what:<14}{connections:>4} at a time  wrk: {}/s  p50 {}  p99 {}  in {:.0} s{}",
            after("Requests/sec:"),
            after("50%"),
            after("99%"),
            began.elapsed().as_secs_f64(),
            if text.contains("Non-2xx") { "  SOME FAILED" } else { "" },
        );
    }
}
