use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;
use super::tokens::{after, find, limit};
use crate::discovery_server::Service;
use crate::registry;

/// Which entries to show.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// Go on behind this entry.
    after: Option<u64>,
    /// How many at most, 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// One decision. Fields that mean nothing for it are absent.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Entry {
    pub(super) seq: u64,
    /// Milliseconds since 1970.
    pub(super) at: u64,
    /// The public id of the token.
    pub(super) token: String,
    /// created, founded, sealed, resumed, surplus, refused, revoked, extended or expired.
    pub(super) what: String,
    pub(super) index: Option<u64>,
    pub(super) size: Option<u32>,
    pub(super) label: Option<String>,
    pub(super) expires_at: Option<u64>,
    pub(super) member: Option<String>,
    pub(super) value: Option<String>,
    pub(super) code: Option<String>,
    pub(super) text: Option<String>,
    pub(super) from: Option<String>,
    /// The name of the operator's key.
    pub(super) by: Option<String>,
}

/// Some entries of the timeline, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Entries {
    pub(super) entries: Vec<Entry>,
    /// Give this as `after` to see more; absent at the end.
    pub(super) next: Option<u64>,
}

/// A timeline that is whole.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Verified {
    pub(super) entries: u64,
    /// The hash of the last entry. Whoever keeps it notices any later change of what came before.
    pub(super) head: String,
}

impl From<registry::Entry> for Entry {
    fn from(entry: registry::Entry) -> Self {
        Self {
            seq: entry.seq,
            at: entry.at,
            token: entry.token,
            what: entry.what.as_str().to_owned(),
            index: entry.index,
            size: entry.size,
            label: entry.label,
            expires_at: entry.expires_at,
            member: entry.member,
            value: entry.value,
            code: entry.code,
            text: entry.text,
            from: entry.from.map(|address| address.to_string()),
            by: entry.by,
        }
    }
}

/// What was decided about a token
#[utoipa::path(
    get,
    path = "/api/v1/tokens/{id}/timeline",
    params(("id" = String, Path, description = "public id, or the token itself"), Listing),
    responses(
        (status = 200, body = Entries),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
    security(("admin_key" = []))
)]
pub(super) async fn of_token(
    State(service): State<Service>,
    Path(id): Path<String>,
    asked: Result<Query<Listing>, QueryRejection>,
) -> Result<Json<Entries>, Problem> {
    // The timeline knows tokens that are forgotten otherwise.
    let id = match id.parse() {
        Ok(id) => id,
        Err(_no_public_id) => find(&service, &id)?.path.public_id(),
    };
    let entries = entries(&service, Some(&id), asked).await?;
    if entries.entries.is_empty() && service.registry().find(id.as_str()).is_none() {
        return Err(Problem::unknown());
    }
    Ok(Json(entries))
}

/// What was decided about all tokens
#[utoipa::path(
    get,
    path = "/api/v1/timeline",
    params(Listing),
    responses(
        (status = 200, body = Entries),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
    security(("admin_key" = []))
)]
pub(super) async fn all(
    State(service): State<Service>,
    asked: Result<Query<Listing>, QueryRejection>,
) -> Result<Json<Entries>, Problem> {
    Ok(Json(entries(&service, None, asked).await?))
}

async fn entries(
    service: &Service,
    of: Option<&crate::token::PublicId>,
    asked: Result<Query<Listing>, QueryRejection>,
) -> Result<Entries, Problem> {
    let Query(asked) = asked.map_err(|wrong| Problem::bad_request(wrong.body_text()))?;
    let limit = limit(asked.limit)?;
    let found = service.registry().timeline(of, after(asked.after)?, limit).await?;
    let next = found.last().filter(|_| found.len() == limit).map(|entry| entry.seq);
    Ok(Entries { entries: found.into_iter().map(Entry::from).collect(), next })
}

/// Follow the chain of the timeline from its beginning
#[utoipa::path(
    get,
    path = "/api/v1/timeline/verify",
    responses(
        (status = 200, body = Verified),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
    security(("admin_key" = []))
)]
pub(super) async fn verify(State(service): State<Service>) -> Result<Json<Verified>, Problem> {
    let registry::Verified { entries, head } = service.registry().verify().await?;
    Ok(Json(Verified { entries, head }))
}
