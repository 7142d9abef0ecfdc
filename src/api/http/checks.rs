use std::fmt::Write as _;
use std::slice::from_ref;

use axum::extract::{Path, RawQuery, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use tracing::warn;

use super::only_get;
use crate::api::grpc;
use crate::api::plain::{NOSNIFF, TEXT, failure, not_found};
use crate::node::Handle;
use crate::proto::etcdserverpb::AlarmType;

/// One thing that can be right or wrong with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

/// Checks that are asked for together.
#[derive(Debug)]
struct Page {
    name: &'static str,
    checks: &'static [Check],
}

/// Restarting helps when one of these fails.
const LIVE: Page = Page { name: "livez", checks: &[Check::SerializableRead] };
/// Traffic should go elsewhere while one of these fails.
const READY: Page = Page {
    name: "readyz",
    checks: &[
        Check::DataCorruption,
        Check::SerializableRead,
        Check::LinearizableRead,
        Check::NonLearner,
    ],
};

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
        }
    }

    /// Why the check fails, if it does.
    async fn run(self, handle: &Handle) -> Result<(), String> {
        match self {
            Self::DataCorruption if handle.state().alarms().is_raised(AlarmType::Corrupt) => {
                Err("alarm activated: CORRUPT".into())
            }
            // A member that cannot read its own state stops, so one that answers can.
            Self::DataCorruption | Self::SerializableRead => Ok(()),
            Self::LinearizableRead => {
                handle.linearize().await.map_err(|error| grpc::text(&error).to_owned())
            }
            Self::NonLearner if handle.is_learner() => Err("not supported for learner".into()),
            Self::NonLearner => Ok(()),
        }
    }
}

pub(super) async fn live(handle: State<Handle>, method: Method, query: RawQuery) -> Response {
    answer(handle, &method, query, &LIVE).await
}

pub(super) async fn ready(handle: State<Handle>, method: Method, query: RawQuery) -> Response {
    answer(handle, &method, query, &READY).await
}

pub(super) async fn live_one(
    handle: State<Handle>,
    method: Method,
    query: RawQuery,
    Path(name): Path<String>,
) -> Response {
    one(handle, &method, query, &LIVE, &name).await
}

pub(super) async fn ready_one(
    handle: State<Handle>,
    method: Method,
    query: RawQuery,
    Path(name): Path<String>,
) -> Response {
    one(handle, &method, query, &READY, &name).await
}

async fn one(
    handle: State<Handle>,
    method: &Method,
    query: RawQuery,
    page: &Page,
    name: &str,
) -> Response {
    match page.checks.iter().find(|check| check.name() == name) {
        Some(check) => {
            answer(handle, method, query, &Page { checks: from_ref(check), ..*page }).await
        }
        None => not_found().await,
    }
}

async fn answer(
    State(handle): State<Handle>,
    method: &Method,
    RawQuery(query): RawQuery,
    page: &Page,
) -> Response {
    if let Some(refused) = only_get(method) {
        return refused;
    }
    let query = query.unwrap_or_default();
    let options: Vec<(&str, &str)> =
        query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    let excluded = |check: &Check| options.contains(&("exclude", check.name()));
    let mut lines = String::new();
    let mut failed = false;
    for check in page.checks.iter().filter(|check| !excluded(check)) {
        let outcome = check.run(&handle).await;
        handle.labelled().checked(page.name, check.name(), outcome.is_ok());
        let written = match outcome {
            Ok(()) => writeln!(lines, "[+]{} ok", check.name()),
            Err(reason) => {
                failed = true;
                writeln!(lines, "[-]{} failed: {reason}", check.name())
            }
        };
        written.expect("writing to a string cannot fail");
    }
    if failed {
        warn!(output = lines, "health check error");
        return failure(StatusCode::SERVICE_UNAVAILABLE, lines + "\n");
    }
    let verbose = options.iter().any(|(name, _)| *name == "verbose");
    let body = if verbose { lines + "ok\n" } else { "ok\n".to_owned() };
    let headers = [(header::CONTENT_TYPE, TEXT), (header::X_CONTENT_TYPE_OPTIONS, NOSNIFF)];
    (headers, body).into_response()
}
