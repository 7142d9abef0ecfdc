//! The HTTP paths beside gRPC: who this is, how it is, and its numbers.

mod checks;
mod debug;
mod health;
mod metrics;
mod peer;
pub(super) mod redirect;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use super::plain::failure;
use super::version::{self, SERVER};
use crate::node::Handle;

pub(super) use debug::router as debug;
pub(super) use peer::router as peer;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// `/health`, `/livez`, `/readyz` and `/metrics`.
pub(super) fn probes(handle: Handle) -> Router {
    Router::new()
        .route("/health", any(health::answer))
        .route("/livez", any(checks::live))
        .route("/livez/{check}", any(checks::live_one))
        .route("/readyz", any(checks::ready))
        .route("/readyz/{check}", any(checks::ready_one))
        .route("/metrics", any(metrics::answer))
        .with_state(handle)
}

/// `/version`.
pub(super) fn version(handle: Handle) -> Router {
    Router::new().route("/version", any(version_answer)).with_state(handle)
}

async fn version_answer(State(handle): State<Handle>, method: Method) -> Response {
    if let Some(refused) = only_get(&method) {
        return refused;
    }
    let cluster = version::cluster(&handle);
    let body =
        format!(r#"{{"etcdserver":"{SERVER}","etcdcluster":"{cluster}","storage":"{cluster}"}}"#);
    ([(header::CONTENT_TYPE, JSON)], body).into_response()
}

/// The refusal of every other method, HEAD included.
fn only_get(method: &Method) -> Option<Response> {
    (method != Method::GET).then(|| {
        let mut response = failure(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        response
    })
}
