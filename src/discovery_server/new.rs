use axum::body::Body;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, Method, Response, StatusCode};
use tracing::debug;

use super::answer::{self, text};
use super::router::{Asked, not_allowed};
use super::{Service, WRITE_LIMIT};
use crate::admission::{ClusterSize, Label, Ttl};
use crate::registry::{self, NewToken};
use crate::token::{Token, TokenPath};

/// `/new?size=N&name=LABEL&ttl=SPAN`: a fresh token, answered as its URL without a newline.
pub(super) async fn answer(service: &Service, asked: &Asked) -> Response<Body> {
    if !matches!(asked.method, Method::GET | Method::PUT | Method::POST) {
        return not_allowed("GET, PUT, POST", "ask for a new token with GET, PUT or POST");
    }
    let refused = |reason: String| text(StatusCode::BAD_REQUEST, format!("{reason}\n"));
    let path = TokenPath::short(&Token::draw());
    let token = match wanted(service, asked, path.clone()) {
        Ok(token) => token,
        Err(reason) => return refused(reason),
    };
    let created = service.registry().create(token, registry::now());
    match tokio::time::timeout(WRITE_LIMIT, created).await {
        Ok(Ok(created)) => {
            debug!(
                token.id = %path.public_id(),
                token.size = created.founding.size.get(),
                token.label = created.founding.label.as_ref().map(Label::as_str),
                "token created"
            );
            let url = path.discovery_url(&service.config().public_url);
            let mut response = text(StatusCode::OK, url);
            // A token that a cache hands out twice is two clusters in one.
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Ok(Err(taken @ registry::Error::LabelTaken { .. })) => {
            text(StatusCode::CONFLICT, format!("{taken}\n"))
        }
        Ok(Err(registry::Error::Refused(refusal))) => refused(refusal.to_string()),
        Ok(Err(error)) => trouble(service, &error),
        Err(_elapsed) => trouble(service, &registry::Error::Unavailable),
    }
}

/// Trouble of ours.
fn trouble(service: &Service, error: &registry::Error) -> Response<Body> {
    let (code, status) = answer::trouble(error);
    service.metrics().refused(code);
    text(status, format!("{code}: {error}, try again\n"))
}

fn wanted(service: &Service, asked: &Asked, path: TokenPath) -> Result<NewToken, String> {
    let given = |name| asked.parameters.text(name).filter(|text| !text.is_empty());
    let size = match asked.parameters.text("size") {
        Some(text) => ClusterSize::parse(text, service.config().max_size)
            .map_err(|error| error.to_string())?,
        None => ClusterSize::default_within(service.config().max_size),
    };
    let label = given("name").map(str::parse::<Label>).transpose();
    let label = label.map_err(|error| error.to_string())?;
    let ttl = given("ttl").map(str::parse::<Ttl>).transpose();
    let ttl = ttl.map_err(|error| format!("ttl {error}"))?;
    Ok(NewToken { path, size, label, ttl, from: asked.from })
}
