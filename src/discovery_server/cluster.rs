use axum::body::Body;
use axum::http::{Method, Response, StatusCode};

use super::Service;
use super::answer::text;
use super::router::{Asked, not_allowed};
use crate::token::TokenPath;

/// `/<token>/initial-cluster`: the member list as `--initial-cluster` takes it, once it is complete.
pub(super) fn answer(service: &Service, token: &TokenPath, asked: &Asked) -> Response<Body> {
    if !matches!(asked.method, Method::GET | Method::HEAD) {
        return not_allowed("GET, HEAD", "the list can only be read");
    }
    let founding = match service.living(token) {
        Ok(founding) => founding,
        Err(absent) => return *absent,
    };
    match founding.initial_cluster() {
        Some(whole) => text(StatusCode::OK, format!("{whole}\n")),
        None => {
            let (have, size) = (founding.founders.len(), founding.size);
            let line = format!(
                "{have} of {size} members have registered; the list is here when all have\n"
            );
            text(StatusCode::NOT_FOUND, line)
        }
    }
}
