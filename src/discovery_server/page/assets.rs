use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, Response, StatusCode};
use sha2::{Digest, Sha256};

use super::super::Service;
use super::super::answer::not_allowed;
use super::super::answer::text;
use super::is_read;

/// A file that pages refer to. Its name changes with its content, so it may be kept for ever.
#[derive(Debug)]
pub(super) struct Asset {
    name: String,
    kind: &'static str,
    content: &'static str,
}

pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("css", "text/css; charset=utf-8", include_str!("../assets/page.css"))
});
pub(super) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("js", "text/javascript; charset=utf-8", include_str!("../assets/page.js"))
});
pub(super) static MARK: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("svg", "image/svg+xml", include_str!("../assets/mark.svg")));

impl Asset {
    fn new(extension: &str, kind: &'static str, content: &'static str) -> Self {
        let hash = Sha256::digest(content.as_bytes());
        let hash = u64::from_be_bytes(hash[..8].try_into().expect("a SHA-256 has 32 bytes"));
        Self { name: format!("page-{hash:016x}.{extension}"), kind, content }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// `/assets/<name>`.
pub(in crate::discovery_server) async fn asset(
    State(service): State<Service>,
    method: Method,
    Path(name): Path<String>,
) -> Response<Body> {
    let began = std::time::Instant::now();
    if !is_read(&method) {
        return not_allowed("GET, HEAD", "this file can only be read");
    }
    let assets: [&Asset; 3] = [&STYLE, &SCRIPT, &MARK];
    let response = match assets.into_iter().find(|asset| asset.name == name) {
        None => text(StatusCode::NOT_FOUND, "there is no such file\n"),
        Some(asset) => {
            let mut response = text(StatusCode::OK, asset.content);
            let headers = response.headers_mut();
            for (name, value) in [
                (CONTENT_TYPE, asset.kind),
                (CACHE_CONTROL, "public, max-age=31536000, immutable"),
                (CONTENT_SECURITY_POLICY, "default-src 'none'"),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
            response
        }
    };
    service.metrics().answered("asset", began.elapsed());
    response
}
