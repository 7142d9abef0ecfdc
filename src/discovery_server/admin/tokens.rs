use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::{IntoParams, ToSchema};

use super::guard::By;
use super::model::{Token, TokenState, Tokens, Waited};
use super::problem::Problem;
use crate::admission::{self, Founding, Ttl};
use crate::discovery_server::{POLL_LIMIT, Service, request_id};
use crate::registry::{self, Order};

/// Tokens in one answer, unless asked otherwise, and at most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

/// Which tokens to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// Only those in this state.
    state: Option<TokenState>,
    /// Only those with this label: the one that lives, and older ones that are still remembered.
    label: Option<String>,
    /// Go on behind the page that had this as `next`.
    after: Option<u64>,
    /// How many at most, 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Goal {
    /// The first member.
    First,
    /// All members.
    Full,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Waiting {
    /// What to wait for, `full` unless given.
    #[serde(rename = "for")]
    #[param(inline)]
    goal: Option<Goal>,
    /// How long in seconds; 45 unless given and at most.
    #[param(minimum = 0, maximum = 45)]
    seconds: Option<u64>,
}

/// By how much to extend a token.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct MoreTime {
    /// A time span such as `90m`, `24h` or `7d`.
    #[schema(pattern = "^[0-9]*[1-9][0-9]*[smhd]$", example = "24h")]
    by: String,
}

/// Reads a page's limit.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Box<Problem>> {
    match asked.unwrap_or(PAGE) {
        limit @ 1..=MAX_PAGE => Ok(limit),
        limit => {
            let what = format!("limit `{limit}` is out of range; 1 to {MAX_PAGE}");
            Err(Box::new(Problem::bad_request(what)))
        }
    }
}

/// Reads where a page goes on. Larger numbers than those of the document are no place.
pub(super) fn after(asked: Option<u64>) -> Result<u64, Box<Problem>> {
    match asked.unwrap_or(0) {
        after if i64::try_from(after).is_ok() => Ok(after),
        after => {
            let what = format!("after `{after}` is out of range; give the `next` of a page");
            Err(Box::new(Problem::bad_request(what)))
        }
    }
}

pub(super) fn find(service: &Service, id: &str) -> Result<Arc<Founding>, Box<Problem>> {
    service.registry().find(id).ok_or_else(|| Box::new(Problem::unknown()))
}

/// List tokens
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    params(Listing),
    responses(
        (status = 200, body = Tokens),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
    ),
    security(("admin_key" = []))
)]
pub(super) async fn list(
    State(service): State<Service>,
    asked: Result<Query<Listing>, QueryRejection>,
) -> Result<Json<Tokens>, Problem> {
    let Query(asked) = asked.map_err(|wrong| Problem::bad_request(wrong.body_text()))?;
    let limit = limit(asked.limit)?;
    let state = asked.state.map(admission::State::from);
    let after = after(asked.after)?;
    let label = asked.label.as_deref();
    let found = service.registry().list(state, label, after, limit, registry::now());
    let next = found.last().filter(|_| found.len() == limit).map(|held| held.created_index);
    Ok(Json(Tokens { tokens: found.iter().map(|held| Token::of(held)).collect(), next }))
}

/// Show a token
#[utoipa::path(
    get,
    path = "/api/v1/tokens/{id}",
    params(("id" = String, Path, description = "public id, or the token itself")),
    responses(
        (status = 200, body = Token),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
    security(("admin_key" = []))
)]
pub(super) async fn show(
    State(service): State<Service>,
    Path(id): Path<String>,
) -> Result<Json<Token>, Problem> {
    Ok(Json(Token::of(&*find(&service, &id)?)))
}

/// Wait until a token has its first member, or all
///
/// The answer comes when it has, when it never will, or when the time is over.
#[utoipa::path(
    get,
    path = "/api/v1/tokens/{id}/wait",
    params(("id" = String, Path, description = "public id, or the token itself"), Waiting),
    responses(
        (status = 200, body = Waited),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
    security(("admin_key" = []))
)]
pub(super) async fn wait(
    State(service): State<Service>,
    Path(id): Path<String>,
    asked: Result<Query<Waiting>, QueryRejection>,
) -> Result<Json<Waited>, Problem> {
    let Query(asked) = asked.map_err(|wrong| Problem::bad_request(wrong.body_text()))?;
    let goal = asked.goal.unwrap_or(Goal::Full);
    let longest = asked.seconds.map_or(POLL_LIMIT, Duration::from_secs);
    if longest > POLL_LIMIT {
        let most = POLL_LIMIT.as_secs();
        return Err(Problem::bad_request(format!("seconds are 0 to {most}; ask again after that")));
    }
    let founding = find(&service, &id)?;
    let path = founding.path.clone();
    let reached = |held: &Founding| match goal {
        Goal::First => !held.founders.is_empty(),
        Goal::Full => held.is_full(),
    };
    // Nothing happens when a token expires; that moment is waited for as well.
    let now = registry::now();
    let left = Duration::from_millis(founding.expires_at.0.saturating_sub(now.0));
    let ended = |held: &Founding| held.state(registry::now()) >= admission::State::Expired;
    let waiting =
        service.registry().wait(&path, |held| (reached(held) || ended(held)).then_some(()));
    tokio::select! {
        _ = waiting => {}
        () = service.0.stop.cancelled() => {}
        () = tokio::time::sleep(longest.min(left)) => {}
    }
    let founding = find(&service, &id)?;
    let lives = founding.state(registry::now()) < admission::State::Expired;
    Ok(Json(Waited { reached: lives && reached(&founding), token: Token::of(&founding) }))
}

/// Revoke a token: it is unknown to everybody at once
#[utoipa::path(
    post,
    path = "/api/v1/tokens/{id}/revoke",
    params(("id" = String, Path, description = "public id, or the token itself")),
    responses(
        (status = 200, body = Token),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 507, body = Problem, content_type = "application/problem+json"),
    ),
    security(("admin_key" = []))
)]
pub(super) async fn revoke(
    State(service): State<Service>,
    Extension(By(by)): Extension<By>,
    Path(id): Path<String>,
) -> Result<Json<Token>, Problem> {
    operate(&service, &id, Order::Revoke, &by, "token revoked").await
}

/// Give a token more time
#[utoipa::path(
    post,
    path = "/api/v1/tokens/{id}/extend",
    params(("id" = String, Path, description = "public id, or the token itself")),
    request_body = MoreTime,
    responses(
        (status = 200, body = Token),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 507, body = Problem, content_type = "application/problem+json"),
    ),
    security(("admin_key" = []))
)]
pub(super) async fn extend(
    State(service): State<Service>,
    Extension(By(by)): Extension<By>,
    Path(id): Path<String>,
    body: Result<Json<MoreTime>, JsonRejection>,
) -> Result<Json<Token>, Problem> {
    let Json(body) = body.map_err(|wrong| Problem::bad_request(wrong.body_text()))?;
    let span: Ttl = body
        .by
        .parse()
        .map_err(|wrong: admission::TtlError| Problem::bad_request(wrong.to_string()))?;
    operate(&service, &id, Order::Extend(span), &by, "token extended").await
}

async fn operate(
    service: &Service,
    id: &str,
    order: Order,
    by: &str,
    done: &'static str,
) -> Result<Json<Token>, Problem> {
    let path = find(service, id)?.path.clone();
    let founding = service.registry().operate(path, order, by, registry::now()).await?;
    info!(
        request.id = request_id::current(),
        token.id = %founding.path.public_id(),
        key.name = by,
        "{done}"
    );
    Ok(Json(Token::of(&founding)))
}
