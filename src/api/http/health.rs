use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::{TEXT, failure, only_get};
use crate::api::grpc;
use crate::node::Handle;

/// What `/health` may be asked. `exclude` names alarms and may be given; there are none to leave out.
#[derive(Debug, Deserialize)]
pub(super) struct Options {
    serializable: Option<String>,
}

/// `/health`: whether this member can serve reads, linearizable ones unless `?serializable=true`.
pub(super) async fn answer(
    State(handle): State<Handle>,
    method: Method,
    Query(options): Query<Options>,
) -> Response {
    if let Some(refused) = only_get(&method) {
        return refused;
    }
    let serializable = options.serializable.as_deref() == Some("true");
    let unhealthy = |reason: &str| {
        handle.counts().unhealthy.inc();
        let body = format!("{{\"health\":\"false\",\"reason\":\"{reason}\"}}\n");
        failure(StatusCode::SERVICE_UNAVAILABLE, body)
    };
    if !serializable {
        if handle.leader().is_none() {
            return unhealthy("RAFT NO LEADER");
        }
        if let Err(error) = handle.linearize().await {
            return unhealthy(&format!("RANGE ERROR:{}", grpc::text(&error)));
        }
    }
    handle.counts().healthy.inc();
    ([(header::CONTENT_TYPE, TEXT)], r#"{"health":"true","reason":""}"#).into_response()
}
