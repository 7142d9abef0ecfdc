use std::net::IpAddr;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue};
use axum::http::uri::PathAndQuery;
use axum::http::{Extensions, HeaderMap, Method, Response, StatusCode, Uri};
use axum::routing::any;

use super::accept::Wanted;
use super::page::Looker;
use super::parameters::Parameters;
use super::target::Target;
use super::{Service, admin, answer, cluster, grpc, keys, new, page, request_id};
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

/// All routes. Tokens are matched by hand, because doubled slashes and slashes at the end, which
/// etcd's nodes send for such URLs, mean the same key.
pub(super) fn router(service: Service) -> Router {
    // A proxy may leave the path of the public URL away or not.
    let prefix = service.config().public_prefix().to_owned();
    let grpc = grpc::router(&service);
    let admin = admin::router(&service);
    let router = Router::new()
        .route("/", any(index))
        .route("/new", any(new_token))
        .route("/health", any(page::health))
        .route("/metrics", any(page::metrics))
        .route("/robots.txt", any(page::robots))
        .route("/assets/{name}", any(page::asset))
        .fallback(key)
        .with_state(service)
        .merge(grpc)
        .merge(admin)
        .layer(axum::middleware::from_fn(request_id::name));
    if prefix.is_empty() {
        return router;
    }
    Router::new().fallback_service(tower::util::MapRequest::new(router, move |mut request| {
        leave_out(&prefix, &mut request);
        request
    }))
}

/// Takes a prefix from the path of a request, if it is there.
fn leave_out(prefix: &str, request: &mut Request) {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let rest = target.strip_prefix(prefix).and_then(|rest| match rest.as_bytes().first() {
        None => PathAndQuery::try_from("/").ok(),
        Some(b'?') => PathAndQuery::try_from(format!("/{rest}")).ok(),
        Some(b'/') => PathAndQuery::try_from(rest).ok(),
        Some(_) => None,
    });
    if let Some(rest) = rest {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.path_and_query = Some(rest);
        *request.uri_mut() = Uri::from_parts(parts).expect("the same URI with another path");
    }
}

async fn index(State(service): State<Service>, request: Request) -> Response<Body> {
    let began = Instant::now();
    let response = match read(&service, request).await {
        Ok(asked) => page::index(&service, &asked),
        Err(refused) => refused,
    };
    service.metrics().answered("index", began.elapsed());
    response
}

async fn new_token(State(service): State<Service>, request: Request) -> Response<Body> {
    let began = Instant::now();
    let response = match read(&service, request).await {
        Ok(asked) => new::answer(&service, &asked).await,
        Err(refused) => refused,
    };
    service.metrics().answered("new", began.elapsed());
    response
}

async fn key(State(service): State<Service>, request: Request) -> Response<Body> {
    if grpc::is_grpc(request.headers()) {
        return grpc::unknown(request.uri().path());
    }
    let began = Instant::now();
    let asked = match read(&service, request).await {
        Ok(asked) => asked,
        Err(refused) => return refused,
    };
    let target = Target::of(&asked.path);
    service.registry().ensure_known(target.candidates()).await;
    if let Target::View { view, .. } = &target
        && service.viewed(view).is_none()
    {
        service.registry().catch_up().await;
    }
    let (route, response) = match target {
        Target::InitialCluster { token } => {
            ("initial_cluster", cluster::answer(&service, &token, &asked))
        }
        Target::Events { token } => {
            ("events", page::events(&service, Some(&token), Looker::Joiner, &asked))
        }
        Target::View { view, events: false } => ("view", page::view(&service, &asked, &view)),
        Target::View { view, events: true } => {
            let token = service.viewed(&view);
            ("events", page::events(&service, token.as_ref(), Looker::Viewer, &asked))
        }
        target => keys::answer(&service, target, &asked).await,
    };
    service.metrics().answered(route, began.elapsed());
    response
}

/// Reads the body and what else the handlers need.
async fn read(service: &Service, request: Request) -> Result<Asked, Response<Body>> {
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
    Ok(Asked { method, path, query, host, from, parameters, wanted, headers })
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

/// The answer to a method that a resource does not have.
pub(super) fn not_allowed(allow: &'static str, why: &str) -> Response<Body> {
    let mut response = answer::text(StatusCode::METHOD_NOT_ALLOWED, format!("{why}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// The empty answer to OPTIONS.
pub(super) fn options(allow: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response.headers_mut().remove(CONTENT_TYPE);
    response
}
