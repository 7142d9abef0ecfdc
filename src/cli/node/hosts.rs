//! Refuses unknown `Host` headers of requests without TLS, against DNS rebinding (CVE-2018-5702).

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use http::{StatusCode, Uri, Version};
use tracing::warn;

use crate::transport::OverTls;

/// Lets in requests for these hosts only. Over TLS nobody is asked, nor is gRPC over HTTP/2, as in etcd: browsers do
/// not speak it.
pub(super) fn guard(router: Router, hosts: &[String]) -> Router {
    if hosts.is_empty() {
        return router;
    }
    let hosts: Arc<[String]> = hosts.into();
    router.layer(from_fn(move |request: Request, next: Next| {
        let hosts = Arc::clone(&hosts);
        async move {
            match refused(&request, &hosts) {
                None => next.run(request).await,
                Some(host) => {
                    warn!(host, "rejecting HTTP request to prevent DNS rebinding attacks");
                    refusal(&host)
                }
            }
        }
    }))
}

/// The host of a request that is not to be answered.
fn refused(request: &Request, hosts: &[String]) -> Option<String> {
    if request.extensions().get::<OverTls>().is_some() {
        return None;
    }
    let content = request.headers().get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if request.version() == Version::HTTP_2 && content.starts_with(b"application/grpc") {
        return None;
    }
    let header = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = header.or_else(|| request.uri().authority().map(|whole| whole.as_str()));
    let host = name(host.unwrap_or_default());
    (!hosts.contains(&host)).then_some(host)
}

/// The host without its port.
fn name(authority: &str) -> String {
    let parsed = authority.parse::<Uri>().ok();
    let host = parsed.as_ref().and_then(Uri::host).unwrap_or(authority);
    host.trim_matches(['[', ']']).to_owned()
}

/// etcd's answer, word for word (`etcdhttp/utils.go`).
fn refusal(host: &str) -> Response {
    let text = format!(
        "\netcd received your request, but the Host header was unrecognized.\n\n\
         To fix this, choose one of the following options:\n\
         - Enable TLS, then any HTTPS request will be allowed.\n\
         - Add the hostname you want to use to the whitelist in settings.\n  \
         - e.g. etcd --host-whitelist \"{host}\"\n\n\
         This requirement has been added to help prevent \"DNS Rebinding\" attacks \
         (CVE-2018-5702).\n\n"
    );
    let no_guessing = [(X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (StatusCode::MISDIRECTED_REQUEST, no_guessing, text).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn only_listed_hosts_are_answered() {
        let hosts = ["a.example".to_owned(), "::1".to_owned()];
        let router = guard(Router::new().route("/", get(|| async { "in" })), &hosts);
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        for (version, host, content, status) in [
            (one, "a.example:2379", "", StatusCode::OK),
            (one, "a.example", "", StatusCode::OK),
            (two, "[::1]:2379", "", StatusCode::OK),
            (one, "127.0.0.1:2379", "", StatusCode::MISDIRECTED_REQUEST),
            (two, "evil.example", "", StatusCode::MISDIRECTED_REQUEST),
            (two, "evil.example", "application/grpc", StatusCode::OK),
            // A page can set that header, and speak HTTP/1.1 only.
            (one, "evil.example", "application/grpc", StatusCode::MISDIRECTED_REQUEST),
        ] {
            let request = Request::get("/").version(version);
            let request = request.header(HOST, host).header(CONTENT_TYPE, content);
            let request = request.body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), status, "{version:?} {host} {content}");
        }
    }
}
