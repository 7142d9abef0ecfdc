//! Requests that were damaged: whatever comes, the answer is a whole one, and never one of trouble.
//!
//! `QUORATE_FUZZ_SECONDS=3600 cargo test --lib fuzz` goes on for an hour, from another seed.

mod forms;
mod grpc;
mod http;

use std::time::{Duration, Instant};

use ::http::{Request, Response};
use axum::Router;
use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::util::ServiceExt as _;

use super::{Config, Service, router};
use crate::admission::ClusterSize;
use crate::registry::{self, NewToken, Registry};
use crate::token::{Token, TokenPath};

const URL: &str = "http://127.0.0.1:8087";
/// No answer takes longer, even on a machine that hardly runs this process.
const DEADLINE: Duration = Duration::from_secs(300);
/// Secret of a token of nine in every bench, so that a seed finds the same token again.
const TOKEN: &str = "6c007a14875d53d9bf0ef5a6fc0257c8";

/// When to stop, and what is drawn next.
pub(super) struct Rounds {
    pub(super) random: SmallRng,
    seed: u64,
    round: u64,
    most: u64,
    until: Option<Instant>,
}

impl Rounds {
    /// So many rounds from the usual seed, or as long as `QUORATE_FUZZ_SECONDS` says from another one.
    pub(super) fn new(most: u64) -> Self {
        let seconds = std::env::var("QUORATE_FUZZ_SECONDS").ok().and_then(|it| it.parse().ok());
        let until = seconds.map(|it| Instant::now() + Duration::from_secs(it));
        let seed = if until.is_some() { rand::random() } else { 1 };
        Self { random: SmallRng::seed_from_u64(seed), seed, round: 0, most, until }
    }

    pub(super) fn go_on(&mut self) -> bool {
        let over = self.until.map_or(self.round == self.most, |until| Instant::now() > until);
        self.round += 1;
        if over {
            println!("{} rounds from seed {}", self.round - 1, self.seed);
        }
        !over
    }

    /// Which round this is, for messages.
    pub(super) fn name(&self) -> String {
        format!("seed {}, round {}", self.seed, self.round)
    }

    /// One of these.
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.random.random_range(0..from.len())]
    }

    /// Damages bytes here and there, with what `others` have and with what parsers dislike.
    pub(super) fn damage(&mut self, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
        const DISLIKED: &[u8] = b"/%&=+?:,.;\0\r\n\"'<>[]{}\\ \x7f\x80\xff09azAZ-_";
        for _ in 0..self.random.random_range(0..4) {
            let at = self.random.random_range(0..=bytes.len());
            match self.random.random_range(0..8) {
                0 if at < bytes.len() => bytes[at] = self.random.random(),
                1 if at < bytes.len() => bytes[at] ^= 1 << self.random.random_range(0..8),
                2 => bytes.truncate(at),
                3 => bytes.insert(at, *self.pick(DISLIKED)),
                4 if at < bytes.len() => drop(bytes.remove(at)),
                5 if at < bytes.len() => bytes[at] = *self.pick(DISLIKED),
                6 => {
                    let end = (at + self.random.random_range(0..24)).min(bytes.len());
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                _ => {
                    let other = self.pick(others);
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[at.min(other.len())..]);
                }
            }
        }
    }
}

/// The whole service without a socket.
pub(super) struct Bench {
    router: Router,
    registry: Registry,
    writing: JoinHandle<Result<(), registry::WriterFailed>>,
    _dir: TempDir,
}

impl Bench {
    pub(super) async fn start() -> Self {
        // Millions of rounds need no disk that keeps them.
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let config = registry::Config {
            data_dir: dir.path().join("data"),
            token_ttl: "1h".parse().unwrap(),
            sealed_ttl: "1h".parse().unwrap(),
            cluster: None,
            max_surplus: 64,
        };
        let (registry, writer) = Registry::open(config).await.unwrap();
        let writing = tokio::spawn(writer.run());
        let config = Config::new(URL.to_owned());
        let service = Service::new(config, registry.clone(), CancellationToken::new());
        let bench = Self { router: router::router(service), registry, writing, _dir: dir };
        bench.make(TokenPath::short(&TOKEN.parse::<Token>().unwrap())).await;
        bench.make(TokenPath::raw(["discovery", "tok1"]).unwrap()).await;
        bench
    }

    async fn make(&self, path: TokenPath) {
        let size = ClusterSize::parse("9", 9).unwrap();
        let token = NewToken { path, size, label: None, ttl: None, client_port: None, from: None };
        self.registry.create(token, registry::now()).await.unwrap();
    }

    pub(super) async fn ask(&self, request: Request<Body>) -> Response<Body> {
        let asked = format!("{} {}", request.method(), request.uri());
        let answer = tokio::time::timeout(DEADLINE, self.router.clone().oneshot(request)).await;
        answer.unwrap_or_else(|_| panic!("silence to {asked}")).expect("the service cannot fail")
    }

    pub(super) fn is_writing(&self) -> bool {
        !self.writing.is_finished()
    }
}

/// The whole body and the trailers.
pub(super) async fn whole(response: Response<Body>, asked: &str) -> (Bytes, ::http::HeaderMap) {
    let collected = tokio::time::timeout(DEADLINE, response.into_body().collect()).await;
    let collected = collected.unwrap_or_else(|_| panic!("the answer does not end: {asked}"));
    let collected = collected.expect("the body is whole");
    let trailers = collected.trailers().cloned().unwrap_or_default();
    (collected.to_bytes(), trailers)
}
