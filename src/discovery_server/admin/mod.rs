//! The API of operators, `/api/v1/...`: what they may see of tokens, and do to them.
//!
//! Every answer is JSON and every error `application/problem+json` (RFC 9457) with one of our
//! codes. All of it asks for a key of `--admin-key-file`. Tokens are named by their public id; the
//! token itself is a secret of whoever made it and is nowhere in an answer. The document at
//! `/openapi.json` is made from this code.

#![allow(unused_qualifications, reason = "the macros of utoipa write them")]

mod backup;
mod guard;
mod model;
mod problem;
mod timeline;
mod tokens;

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use axum::{Json, Router};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
pub(super) use problem::Problem;

/// The routes, and the document that describes them.
pub(super) fn router(service: &Service) -> Router {
    let (router, document) = parts();
    let guard = axum::middleware::from_fn_with_state(service.clone(), guard::admit);
    // What is not there is told in the same words, and to operators only.
    let router = router
        .method_not_allowed_fallback(|| async { Problem::no_such_method() })
        .route("/api/v1", axum::routing::any(nothing))
        .route("/api/v1/", axum::routing::any(nothing))
        .route("/api/v1/{*rest}", axum::routing::any(nothing));
    let router = router.layer(guard).with_state(service.clone());
    let text = document.to_pretty_json().expect("the document has string keys only");
    let document = move || {
        let text = text.clone();
        async move {
            let mut response = Response::new(Body::from(text));
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            response
        }
    };
    let described = axum::routing::get(document).fallback(|| async { Problem::no_such_method() });
    router.route("/openapi.json", described)
}

fn parts() -> (Router<Service>, OpenApi) {
    let info = InfoBuilder::new()
        .title("Quorate")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Discovery tokens, for operators."))
        .build();
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = ComponentsBuilder::new().security_scheme("admin_key", scheme).build();
    let document = OpenApiBuilder::new().info(info).components(Some(components)).build();
    OpenApiRouter::with_openapi(document)
        .routes(routes!(tokens::list))
        .routes(routes!(tokens::show))
        .routes(routes!(tokens::wait))
        .routes(routes!(tokens::revoke))
        .routes(routes!(tokens::extend))
        .routes(routes!(timeline::of_token))
        .routes(routes!(timeline::all))
        .routes(routes!(timeline::verify))
        .routes(routes!(backup::download))
        .routes(routes!(health))
        .routes(routes!(limits))
        .split_for_parts()
}

async fn nothing() -> Problem {
    Problem::no_such_path()
}

/// How the service is
#[utoipa::path(
    get,
    path = "/api/v1/health",
    responses((status = 200, body = model::Health), (status = 401, body = Problem, content_type = "application/problem+json")),
    security(("admin_key" = []))
)]
async fn health(service: axum::extract::State<Service>) -> Json<model::Health> {
    Json(model::Health::of(&service))
}

/// What may be asked of the service at most
#[utoipa::path(
    get,
    path = "/api/v1/limits",
    responses((status = 200, body = model::Limits), (status = 401, body = Problem, content_type = "application/problem+json")),
    security(("admin_key" = []))
)]
async fn limits(service: axum::extract::State<Service>) -> Json<model::Limits> {
    Json(model::Limits::of(&service))
}

#[cfg(test)]
mod tests;
