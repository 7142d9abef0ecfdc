use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use axum::http::{Method, Response, StatusCode};

use super::Service;
use super::answer::text;
use super::metrics::CONTENT_TYPE as METRICS_FORMAT;
use super::router::not_allowed;
use crate::registry;

/// `/`: what this is and how to use it.
pub(super) async fn index(State(service): State<Service>, method: Method) -> Response<Body> {
    if !is_read(&method) {
        return not_allowed("GET, HEAD", "this page can only be read");
    }
    let url = escape(&service.config().public_url);
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Quorate: cluster discovery</title>\n</head>\n<body>\n\
         <h1>Quorate: cluster discovery</h1>\n\
         <p>This service brings the first members of an etcd or quorate cluster together. It is \
         asked once, when a cluster is born, and never again.</p>\n\
         <h2>How to use it</h2>\n<ol>\n\
         <li>Make a token for a cluster of three:\n\
         <pre>curl '{url}/new?size=3'</pre></li>\n\
         <li>Start every member with the URL you got, exactly as it is spelled:\n\
         <pre>etcd --name n1 --initial-advertise-peer-urls http://10.0.0.1:2380 \\\n  \
         --discovery {url}/TOKEN</pre></li>\n\
         <li>When all have registered, read the member list:\n\
         <pre>curl {url}/TOKEN/initial-cluster</pre></li>\n</ol>\n\
         <p>A token is a secret: whoever knows it can join. It is good for one cluster. Sizes from \
         1 to {max} are granted.</p>\n\
         <p><a href=\"/health\">health</a>, <a href=\"/metrics\">metrics</a>; \
         version {version}.</p>\n</body>\n</html>\n",
        max = service.config().max_size,
        version = env!("CARGO_PKG_VERSION"),
    );
    let mut response = text(StatusCode::OK, page);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    response
}

/// `/health`: whether registrations can be taken.
pub(super) async fn health(State(service): State<Service>, method: Method) -> Response<Body> {
    match () {
        () if !is_read(&method) => not_allowed("GET, HEAD", "health can only be read"),
        () if service.registry().is_writable() => text(StatusCode::OK, "OK"),
        () => text(StatusCode::SERVICE_UNAVAILABLE, "the registry cannot write\n"),
    }
}

/// `/metrics`, for Prometheus.
pub(super) async fn metrics(State(service): State<Service>, method: Method) -> Response<Body> {
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
pub(super) async fn robots(method: Method) -> Response<Body> {
    if !is_read(&method) {
        return not_allowed("GET, HEAD", "this file can only be read");
    }
    text(StatusCode::OK, "User-agent: *\nDisallow: /")
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
