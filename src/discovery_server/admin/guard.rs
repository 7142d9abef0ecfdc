use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tracing::info;

use super::problem::Problem;
use crate::discovery_server::{Service, request_id};

/// The name of the key that a request brought.
#[derive(Debug, Clone)]
pub(super) struct By(pub(super) Arc<str>);

/// Lets a request pass that brings an admin key.
pub(super) async fn admit(
    State(service): State<Service>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(name) =
        service.config().admin_keys.as_ref().and_then(|keys| keys.bearer(request.headers()))
    else {
        service.metrics().refused(crate::admission::codes::UNAUTHORIZED);
        info!(request.id = request_id::current(), "admin request without a valid key");
        return Problem::unauthorized().into_response();
    };
    request.extensions_mut().insert(By(name));
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
