use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{Response, Uri};
use axum::routing::any;

use super::asked::Asked;
use super::page::Looker;
use super::target::Target;
use super::{Service, admin, cluster, grpc, keys, new, page, request_id};

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
    let response = match Asked::read(&service, request).await {
        Ok(asked) => page::index(&service, &asked),
        Err(refused) => refused,
    };
    service.metrics().answered("index", began.elapsed());
    response
}

async fn new_token(State(service): State<Service>, request: Request) -> Response<Body> {
    let began = Instant::now();
    let response = match Asked::read(&service, request).await {
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
    let asked = match Asked::read(&service, request).await {
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
