use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ORIGIN,
};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};

const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static("accept, content-type, authorization");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// Which browser origins may read answers (`--cors`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cors {
    #[default]
    Any,
    /// These, spelled as browsers send them: scheme, host and port.
    Origins(Vec<String>),
}

impl Cors {
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        match self {
            Self::Any => Some(ANY),
            Self::Origins(origins) => {
                let origin = headers.get(ORIGIN)?;
                let listed = origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes());
                listed.then(|| origin.clone())
            }
        }
    }
}

/// Adds the headers to every answer of the router, and answers OPTIONS for every path.
pub(super) fn apply(router: Router, cors: Cors) -> Router {
    router.layer(middleware::from_fn_with_state(Arc::new(cors), answer))
}

async fn answer(State(cors): State<Arc<Cors>>, request: Request, next: Next) -> Response {
    let origin = cors.allowed(request.headers());
    let options = request.method() == Method::OPTIONS;
    let mut response = if options { ().into_response() } else { next.run(request).await };
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    }
    response
}
