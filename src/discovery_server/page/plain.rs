use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Method, Response, StatusCode};

use super::super::Service;
use super::super::answer::not_allowed;
use super::super::answer::text;
use super::super::metrics::CONTENT_TYPE as METRICS_FORMAT;
use super::is_read;
use crate::registry;

/// `/health`: whether registrations can be taken.
pub(in crate::discovery_server) async fn health(
    State(service): State<Service>,
    method: Method,
) -> Response<Body> {
    match () {
        () if !is_read(&method) => not_allowed("GET, HEAD", "health can only be read"),
        () if service.registry().is_writable() => text(StatusCode::OK, "OK"),
        () => text(StatusCode::SERVICE_UNAVAILABLE, "the registry cannot write\n"),
    }
}

/// `/metrics`, for Prometheus.
pub(in crate::discovery_server) async fn metrics(
    State(service): State<Service>,
    method: Method,
) -> Response<Body> {
    if !is_read(&method) {
        return not_allowed("GET, HEAD", "metrics can only be read");
    }
    let counts = service.registry().counts(registry::now());
    let mut response =
        text(StatusCode::OK, service.metrics().print(counts, service.registry().is_writable()));
    let format = HeaderValue::from_static(METRICS_FORMAT);
    response.headers_mut().insert(CONTENT_TYPE, format);
    response
}

/// `/robots.txt`: a crawler that follows /new makes tokens.
pub(in crate::discovery_server) async fn robots(method: Method) -> Response<Body> {
    if !is_read(&method) {
        return not_allowed("GET, HEAD", "this file can only be read");
    }
    text(StatusCode::OK, "User-agent: *\nDisallow: /")
}
