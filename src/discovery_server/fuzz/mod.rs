//! Requests that were damaged: whatever comes, the answer is a whole one, and never one of trouble.

mod forms;
mod grpc;
mod http;

use std::time::Duration;

use ::http::{Request, Response};
use axum::Router;
use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
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

/// What parsers of HTTP dislike.
const DISLIKED: &[u8] = b"/%&=+?:,.;\0\r\n\"'<>[]{}\\ \x7f\x80\xff09azAZ-_";

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
