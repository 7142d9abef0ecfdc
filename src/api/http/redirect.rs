use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Sends whoever asks for a path that is spelled with more than it needs to the path itself, as Go's `ServeMux` does;
/// `tree`, if there is one, is a path that only exists with a slash behind it.
pub(in crate::api) fn apply(router: Router, tree: Option<&'static str>) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| async move {
        match elsewhere(request.uri().path(), tree) {
            Some(path) if request.method() != Method::CONNECT => moved(&request, &path),
            _ => next.run(request).await,
        }
    }))
}

/// Where a path really is, if not there.
fn elsewhere(path: &str, tree: Option<&str>) -> Option<String> {
    let mut clean = cleaned(path);
    if Some(&clean[..]) == tree {
        clean.push('/');
    }
    (clean != path).then_some(clean)
}

/// The shortest path that says the same (Go `path.Clean`), with the slash at its end if it had one.
fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut clean = String::with_capacity(path.len());
    for part in parts {
        clean.push('/');
        clean.push_str(part);
    }
    if path.ends_with('/') || clean.is_empty() {
        clean.push('/');
    }
    clean
}

/// Go's `http.Redirect`.
fn moved(request: &Request, path: &str) -> Response {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let place = format!("{path}{query}");
    // What is left of a request's path and query is a header's value.
    let Ok(location) = HeaderValue::from_str(&place) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let mut response = StatusCode::MOVED_PERMANENTLY.into_response();
    if request.method() == Method::GET {
        let escaped = place
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&#34;")
            .replace('\'', "&#39;");
        let body = format!("<a href=\"{escaped}\">Moved Permanently</a>.\n\n");
        response = (StatusCode::MOVED_PERMANENTLY, body).into_response();
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        response.headers_mut().insert(header::CONTENT_TYPE, HTML);
    }
    response.headers_mut().insert(header::LOCATION, location);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measured on etcd 3.4.23 and 3.5.1.
    #[test]
    fn paths_are_cleaned_as_by_go() {
        for (path, place) in [
            ("/v3", Some("/v3/")),
            ("/v3/", None),
            ("/v3x", None),
            ("/v3beta", None),
            ("//health", Some("/health")),
            ("/v3//kv/range", Some("/v3/kv/range")),
            ("/v3/../v3/kv/range", Some("/v3/kv/range")),
            ("/v3/kv/../x", Some("/v3/x")),
            ("/v3/./kv", Some("/v3/kv")),
            ("/v3/kv/range/", None),
            ("/..", Some("/")),
            ("//", Some("/")),
            ("/", None),
            ("/v3/.", Some("/v3/")),
        ] {
            assert_eq!(elsewhere(path, Some("/v3")).as_deref(), place, "{path}");
        }
        assert_eq!(elsewhere("/v3", None), None, "without a gateway there is nothing");
    }
}
