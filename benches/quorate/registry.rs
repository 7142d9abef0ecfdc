use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use quorate::membership::MemberId;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::load::{self, Sample};
use super::machine::Usage;
use super::subject::{Cluster, Process, Subject, free_port};
use super::wire::{self, Wire};
use super::{Plan, cluster, machine};

/// Members per token.
pub(crate) const SIZE: usize = 9;
/// Tokens made before registrations are measured: more than one measurement can fill.
const TOKENS: usize = 8192;
/// Connections over which tokens are made that are not measured.
const WIRES: usize = 64;

/// What the Go discovery service with etcd 3.4 as its store does a second at eight connections, on
/// two cores: `/new`, reads of a directory, registrations. Ten times as much is asked of ours.
const PEER: [f64; 3] = [680.0, 2900.0, 1200.0];

/// A running token service.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    process: Process,
    /// Where the Go service keeps its tokens; ours keeps them itself.
    store: Option<Cluster>,
    _dir: tempfile::TempDir,
}

impl Service {
    /// `quorate serve` with an empty registry.
    pub(crate) async fn start(more: &[&str]) -> Self {
        Self::start_on(None, more).await
    }

    /// The same with the registry of `data`.
    pub(crate) async fn start_on(data: Option<PathBuf>, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("http://127.0.0.1:{}", free_port());
        let data = data.unwrap_or_else(|| dir.path().join("data"));
        let mut flags = vec![
            "serve".to_owned(),
            "--new-rate=off".to_owned(),
            "--token-rate=off".to_owned(),
            format!("--data-dir={}", data.display()),
            format!("--zones-dir={}", dir.path().display()),
            format!("--http-addr={}", url.trim_start_matches("http://")),
            "--dns-addr=off".to_owned(),
            "--log-level=error".to_owned(),
        ];
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        let program = Path::new(env!("CARGO_BIN_EXE_quorate"));
        let mut process = Process::start(program, &flags, &dir.path().join("log"));
        process.healthy(&url).await;
        Self { name: "quorate", url, process, store: None, _dir: dir }
    }

    /// The Go service that `DISCOVERYSERVER` names (discovery.etcd.io, built by hand), with an etcd 3.4
    /// of its own.
    async fn start_peer() -> Option<Self> {
        let program = PathBuf::from(std::env::var_os("DISCOVERYSERVER")?);
        let store = Cluster::start(etcd34()?, 1, &["--enable-v2"]).await;
        let dir = tempfile::tempdir().unwrap();
        let url = format!("http://127.0.0.1:{}", free_port());
        let flags = [
            format!("--etcd={}", store.endpoints[0]),
            format!("--host={url}"),
            format!("--addr={}", url.trim_start_matches("http://")),
        ];
        let mut process = Process::start(&program, &flags, &dir.path().join("log"));
        process.healthy(&url).await;
        Some(Self { name: "Go + etcd 3.4", url, process, store: Some(store), _dir: dir })
    }

    /// Of the service and of its store.
    pub(crate) fn usage(&self) -> Usage {
        let store = self.store.as_ref().map_or_else(Usage::default, Cluster::usage);
        self.process.usage().plus(store)
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
    let peer = Service::start_peer().await;
    if peer.is_none() {
        println!(
            "(the Go service did elsewhere {PEER:?} a second; DISCOVERYSERVER=PATH measures it here)"
        );
    }
    let store = match etcd34() {
        Some(etcd) => Some(Cluster::start(etcd, 1, &[]).await),
        None => None,
    };
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
        for (question, elsewhere) in Question::ALL.into_iter().zip(PEER) {
            let [mut ours, mut theirs] = [Sample::default(), Sample::default()];
            for _ in 0..plan.rounds {
                ours.add(question.ask(&service, connections, plan).await);
                if let Some(peer) = &peer {
                    theirs.add(question.ask(peer, connections, plan).await);
                }
            }
            print(question.name(), connections, service.name, &ours);
            let here = peer.as_ref().map(|peer| {
                print(question.name(), connections, peer.name, &theirs);
                format!("{:.1} x the Go service here, ", ours.rate() / theirs.rate())
            });
            let etcd = puts.map(|puts| format!("{:.1} x etcd's puts, ", ours.rate() / puts));
            let rival = if peer.is_some() { theirs.rate() } else { elsewhere };
            let prompt = connections > 8 || ours.percentile(0.99) < 10.0;
            let holds = ours.rate() >= 10.0 * rival && prompt && ours.failures == 0;
            reached &= holds;
            println!(
                "{:>20}{}{:.1} x the machine's syncs, {}{:.1} x the Go service elsewhere: {}",
                "",
                here.unwrap_or_default(),
                ours.rate() / syncs,
                etcd.unwrap_or_default(),
                ours.rate() / elsewhere,
                verdict(holds),
            );
        }
        wrk(&service, connections, plan).await;
    }
    println!("ten times the Go service, p99 under 10 ms at 8: {}", verdict(reached));
}

/// The memory that tokens of three founders take.
pub(crate) async fn memory(plan: &Plan) {
    let tokens = usize::try_from(plan.keys / 10).unwrap();
    println!("\nmemory of a registry with {tokens} tokens of three founders");
    let mut afterwards = Vec::new();
    for service in [Some(Service::start(&[]).await), Service::start_peer().await] {
        let Some(service) = service else { continue };
        let idle = service.usage();
        let urls = make_tokens(&service, 3, tokens).await;
        fill(&service, urls).await;
        let full = service.usage();
        println!(
            "{:<16}idle {:.1} MiB ({:.1} of its own), full {:.1} MiB ({:.1} of its own)",
            service.name, idle.rss_mib, idle.own_mib, full.rss_mib, full.own_mib,
        );
        afterwards.push(full.rss_mib);
    }
    if let [ours, theirs] = afterwards[..] {
        println!("{:.3} of the memory: {}", ours / theirs, verdict(ours <= theirs / 10.0));
    }
}

/// What a token service is asked.
#[derive(Debug, Clone, Copy)]
enum Question {
    New,
    Directory,
    Registration,
}

impl Question {
    /// In the order of [`PEER`].
    const ALL: [Self; 3] = [Self::New, Self::Directory, Self::Registration];

    fn name(self) -> &'static str {
        match self {
            Self::New => "/new",
            Self::Directory => "directory",
            Self::Registration => "registration",
        }
    }

    async fn ask(self, service: &Service, connections: usize, plan: &Plan) -> Sample {
        match self {
            Self::New => news(service, connections, plan).await,
            Self::Directory => directories(service, connections, plan).await,
            Self::Registration => registrations(service, connections, plan).await,
        }
    }
}

fn etcd34() -> Option<Subject> {
    Subject::all().into_iter().find(|subject| subject.name == "etcd 3.4")
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
    let before = service.usage().cpu_seconds;
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
    sample.cpu_seconds = service.usage().cpu_seconds - before;
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
    let tokens = make_tokens(service, SIZE, TOKENS).await;
    // Made beforehand: ids are hashes, and two cores are the service's as well.
    let founders = |url: &String| (0..SIZE).map(|number| registration(url, number)).collect();
    let requests: Arc<[Vec<u8>]> = tokens.iter().flat_map::<Vec<_>, _>(founders).collect();
    let next = Arc::new(AtomicUsize::new(0));
    let request = move || requests.get(next.fetch_add(1, Ordering::Relaxed)).cloned();
    drive(service, connections, plan.span, 201, request).await
}

/// Makes tokens over 64 connections.
async fn make_tokens(service: &Service, size: usize, tokens: usize) -> Vec<String> {
    let mut makers = JoinSet::new();
    for maker in 0..WIRES {
        let url = service.url.clone();
        makers.spawn(async move {
            let mut wire = Wire::connect(&url).await;
            let request = wire::get(&format!("{url}/new?size={size}"));
            let mut made = Vec::new();
            for _ in (maker..tokens).step_by(WIRES) {
                made.push(wire.ask(&request).await.unwrap().body);
            }
            made
        });
    }
    makers.join_all().await.concat()
}

/// Registers three founders with each token.
async fn fill(service: &Service, tokens: Vec<String>) {
    let mut fillers = JoinSet::new();
    for share in tokens.chunks(tokens.len().div_ceil(WIRES)) {
        let (url, share) = (service.url.clone(), share.to_vec());
        fillers.spawn(async move {
            let mut wire = Wire::connect(&url).await;
            for url in share {
                for number in 0..3 {
                    assert_eq!(wire.ask(&registration(&url, number)).await.unwrap().status, 201);
                }
            }
        });
    }
    fillers.join_all().await;
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
