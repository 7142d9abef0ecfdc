use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use quorate::membership::MemberId;
use reqwest::{Client, StatusCode};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::Plan;
use super::load::{self, Sample, http_client};
use super::subject::{Cluster, Process, Subject, free_port, wait_until_healthy};

/// Members per token.
const SIZE: usize = 9;
/// Tokens made before registrations are measured.
const TOKENS: usize = 8192;
/// Nodes of the herd: 111 clusters of nine, and one of one.
const HERD: usize = 1000;

struct Service {
    url: String,
    process: Process,
    _dir: tempfile::TempDir,
}

impl Service {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("http://127.0.0.1:{}", free_port());
        let flags = vec![
            "serve".to_owned(),
            "--new-rate=off".to_owned(),
            format!("--data-dir={}", dir.path().join("data").display()),
            format!("--zones-dir={}", dir.path().display()),
            format!("--http-addr={}", url.trim_start_matches("http://")),
            "--dns-addr=off".to_owned(),
            "--log-level=error".to_owned(),
        ];
        let program = Path::new(env!("CARGO_BIN_EXE_quorate"));
        let process = Process::start(program, &flags, &dir.path().join("log"));
        wait_until_healthy(&url).await;
        Self { url, process, _dir: dir }
    }

    async fn new_token(&self, http: &Client) -> String {
        let answer = http.post(format!("{}/new?size={SIZE}", self.url)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.text().await.unwrap()
    }
}

/// Tokens and registrations per second, each durable before it is answered.
pub(crate) async fn rates(plan: &Plan) {
    println!("\nregistry, every answer durable");
    let service = Service::start().await;
    for connections in [8, 64] {
        let http = http_client();
        let new = format!("{}/new?size={SIZE}", service.url);
        let before = service.process.usage().cpu_seconds;
        let mut sample = load::run(connections, plan.span, move |_, _| {
            let answer = http.post(&new).send();
            async move { answer.await.is_ok_and(|answer| answer.status() == StatusCode::OK) }
        })
        .await;
        sample.cpu_seconds = service.process.usage().cpu_seconds - before;
        print("/new", connections, "quorate", &sample);

        let ours = registrations(&service, connections, plan).await;
        print("registration", connections, "quorate", &ours);
        if let Some(store) = Subject::all().into_iter().find(|subject| subject.name == "etcd 3.4") {
            let store = Cluster::start(store, 1, &["--enable-v2"]).await;
            let theirs = v2_puts(&store, connections, plan).await;
            print("registration", connections, "etcd 3.4 (v2 keys)", &theirs);
            println!("{:>24}ours: rate x {:.2}", "", ours.rate() / theirs.rate());
        }
    }
}

fn print(what: &str, connections: usize, who: &str, sample: &Sample) {
    println!(
        "{what:<14}{connections:>4} connections  {who:<20}{:>8.0}/s  p50 {:.2} ms  p99 {:.2} ms  \
         {:.0} µs of processor{}",
        sample.rate(),
        sample.percentile(0.5),
        sample.percentile(0.99),
        sample.cpu_micros(),
        if sample.failures > 0 { format!("  {} FAILED", sample.failures) } else { String::new() }
    );
}

/// Founders of tokens that exist already.
async fn registrations(service: &Service, connections: usize, plan: &Plan) -> Sample {
    let http = http_client();
    let tokens = make_tokens(service, &http).await;
    let tokens = Arc::new(tokens);
    let next = Arc::new(AtomicUsize::new(0));
    let before = service.process.usage().cpu_seconds;
    let request = move |_: usize, _: usize| {
        let (http, tokens, next) = (http.clone(), Arc::clone(&tokens), Arc::clone(&next));
        async move {
            let place = next.fetch_add(1, Ordering::Relaxed);
            // Running out counts as a failure, and failures are printed.
            let Some(url) = tokens.get(place / SIZE) else { return false };
            register(&http, url, place % SIZE).await.is_some()
        }
    };
    let mut sample = load::run(connections, plan.span, request).await;
    sample.cpu_seconds = service.process.usage().cpu_seconds - before;
    sample
}

/// More tokens than one measurement can fill; all of them exist before the clock starts.
async fn make_tokens(service: &Service, http: &Client) -> Vec<String> {
    let mut makers = JoinSet::new();
    for _ in 0..64 {
        let (http, url) = (http.clone(), format!("{}/new?size={SIZE}", service.url));
        makers.spawn(async move {
            let mut tokens = Vec::new();
            for _ in 0..TOKENS / 64 {
                let answer = http.post(&url).send().await.unwrap();
                tokens.push(answer.text().await.unwrap());
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

/// One registration as etcd sends it; how long it took, if it was admitted.
async fn register(http: &Client, url: &str, number: usize) -> Option<Duration> {
    let peer = format!("http://10.0.{}.{}:2380", number / 250, number % 250 + 1);
    let id = MemberId::derive([peer.as_str()], url);
    let body = format!("value=n{number}%3D{}", peer.replace(':', "%3A").replace('/', "%2F"));
    let put = http
        .put(format!("{url}/{id}?prevExist=false"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let sent = Instant::now();
    let answer = put.send().await.ok()?;
    (answer.status() == StatusCode::CREATED).then(|| sent.elapsed())
}

async fn v2_puts(store: &Cluster, connections: usize, plan: &Plan) -> Sample {
    let http = http_client();
    let url = format!("{}/v2/keys/discovery", store.endpoints[0]);
    let before = store.usage().cpu_seconds;
    let request = move |worker: usize, number: usize| {
        let (http, url) = (http.clone(), format!("{url}/{connections}-{worker}-{}", number / SIZE));
        async move { register(&http, &url, number % SIZE).await.is_some() }
    };
    let mut sample = load::run(connections, plan.span, request).await;
    sample.cpu_seconds = store.usage().cpu_seconds - before;
    sample
}

/// A thousand nodes arrive at once; etcd gives up on any plain request after five seconds.
pub(crate) async fn herd() {
    let service = Service::start().await;
    let http = http_client();
    let mut tokens = Vec::new();
    for _ in 0..HERD.div_ceil(SIZE) {
        tokens.push(service.new_token(&http).await);
    }
    let mut nodes = JoinSet::new();
    let gate = Arc::new(Barrier::new(HERD + 1));
    for number in 0..HERD {
        let (url, gate) = (tokens[number / SIZE].clone(), Arc::clone(&gate));
        // Nodes share nothing, not even a connection; what a client costs to make is not the service's.
        let http = http_client();
        nodes.spawn(async move {
            gate.wait().await;
            converse(&http, &url, number % SIZE).await
        });
    }
    gate.wait().await;
    let started = Instant::now();
    let mut slowest = Vec::new();
    while let Some(node) = nodes.join_next().await {
        slowest.push(node.unwrap());
    }
    slowest.sort_unstable();
    let at = |share: usize| slowest[HERD * share / 100 - 1].as_secs_f64() * 1e3;
    println!(
        "\nherd: {HERD} nodes at once, slowest plain request of each: p50 {:.0} ms, p99 {:.0} ms, \
         max {:.0} ms; all joined in {:.2} s; service {:.0} MiB",
        at(50),
        at(99),
        at(100),
        started.elapsed().as_secs_f64(),
        service.process.usage().rss_mib
    );
}

/// Size, directory, registration, own watch, size and directory again: the slowest of them.
async fn converse(http: &Client, url: &str, number: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    let get = async |path: &str| {
        let sent = Instant::now();
        let answer = http.get(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.bytes().await.unwrap();
        sent.elapsed()
    };
    let plain = "?quorum=false&recursive=false&sorted=false";
    for path in [format!("/_config/size{plain}"), plain.to_owned()] {
        slowest = slowest.max(get(&path).await);
    }
    slowest = slowest.max(register(http, url, number).await.expect("a founder is admitted"));
    for path in [format!("/_config/size{plain}"), plain.to_owned()] {
        slowest = slowest.max(get(&path).await);
    }
    slowest
}
