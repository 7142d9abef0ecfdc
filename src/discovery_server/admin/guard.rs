use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tracing::info;

use super::problem::Problem;
use crate::admission::codes;
use crate::discovery_server::{Service, asked, request_id};
use crate::transport::PeerIdentity;

/// The name of the key that a request brought.
#[derive(Debug, Clone)]
pub(super) struct By(pub(super) Arc<str>);

/// Lets a request pass that brings an admin key and, where client certificates have an authority, a
/// certificate of it.
///
/// The certificate alone is not enough: the same authority often signs those of all nodes.
pub(super) async fn admit(
    State(service): State<Service>,
    mut request: Request,
    next: Next,
) -> Response {
    let config = service.config();
    let from = asked::client(request.extensions());
    let shown = request.extensions().get::<PeerIdentity>();
    let admitted = if config.admin_certificates && shown.is_none() {
        Err((Problem::no_certificate(), "admin request without a client certificate"))
    } else {
        let name = config.admin_keys.as_ref().and_then(|keys| keys.bearer(request.headers()));
        name.ok_or_else(|| (Problem::unauthorized(), "admin request without a valid key"))
    };
    let name = match admitted {
        Ok(name) => name,
        Err((problem, what)) => {
            service.metrics().refused(codes::UNAUTHORIZED);
            info!(
                request.id = request_id::current(),
                client.address = from.map(tracing::field::display),
                "{what}"
            );
            return problem.into_response();
        }
    };
    request.extensions_mut().insert(By(name));
    let (head, body) = request.into_parts();
    let body = match asked::read_body(&service, body).await {
        Ok(body) => body,
        Err((status, why)) => return Problem::new(status, codes::BAD_REQUEST, why).into_response(),
    };
    let mut response = next.run(Request::from_parts(head, body.into())).await;
    let is_text = |kind: &HeaderValue| kind.as_bytes().starts_with(b"text/plain");
    if response.status() == StatusCode::BAD_REQUEST
        && response.headers().get(header::CONTENT_TYPE).is_some_and(is_text)
    {
        // The router's own words about a path that is no text, which names no token.
        response = Problem::unknown().into_response();
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
