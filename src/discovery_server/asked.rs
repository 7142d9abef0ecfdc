use std::net::IpAddr;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::{Extensions, HeaderMap, Method, Response, StatusCode};

use super::accept::Wanted;
use super::parameters::Parameters;
use super::{Service, answer};
use crate::transport;

/// A request, read to its end.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) host: Option<String>,
    /// The address of the client, or the one that a trusted proxy named.
    pub(super) from: Option<IpAddr>,
    pub(super) parameters: Parameters,
    pub(super) wanted: Wanted,
    pub(super) headers: HeaderMap,
}

impl Asked {
    /// Reads the body and what else the handlers need.
    pub(super) async fn read(service: &Service, request: Request) -> Result<Self, Response<Body>> {
        let (head, body) = request.into_parts();
        let body = match head.method {
            Method::PUT | Method::POST => read_body(service, body)
                .await
                .map_err(|(status, why)| answer::text(status, format!("{why}\n")))?,
            _ => Bytes::new(),
        };
        let query = head.uri.query().map(str::to_owned);
        let host = match head.headers.get(HOST) {
            Some(host) => host.to_str().ok().map(str::to_owned),
            // HTTP/2 carries it in the URI.
            None => head.uri.authority().map(|authority| authority.as_str().to_owned()),
        };
        let parameters = Parameters::read(query.as_deref(), &body);
        let path = head.uri.path().to_owned();
        let (wanted, from) = (Wanted::of(&head.headers), client(&head.extensions));
        let (method, headers) = (head.method, head.headers);
        Ok(Self { method, path, query, host, from, parameters, wanted, headers })
    }
}

/// The address that a request came from, as the listener found it.
pub(super) fn client(extensions: &Extensions) -> Option<IpAddr> {
    transport::client_address(extensions).map(|address| address.to_canonical())
}

/// Reads a body within the limits of the service; otherwise tells the status and why.
pub(super) async fn read_body(
    service: &Service,
    body: Body,
) -> Result<Bytes, (StatusCode, String)> {
    let most = service.config().max_body_bytes;
    let reading = axum::body::to_bytes(body, most);
    match tokio::time::timeout(service.config().body_timeout, reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_long(&error) => {
            Err((StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {most} bytes")))
        }
        Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "the body broke off".to_owned())),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body took too long".to_owned())),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}
