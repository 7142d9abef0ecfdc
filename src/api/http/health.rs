use axum::extract::{RawQuery, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use tracing::warn;

use super::only_get;
use crate::api::grpc;
use crate::api::plain::{TEXT, failure};
use crate::node::Handle;
use crate::proto::etcdserverpb::AlarmType;

/// `/health`: whether this member can serve reads, linearizable ones unless `?serializable=true`,
/// and no alarm is on but those that are left out by `?exclude=NOSPACE`.
pub(super) async fn answer(
    State(handle): State<Handle>,
    method: Method,
    RawQuery(query): RawQuery,
) -> Response {
    if let Some(refused) = only_get(&method) {
        return refused;
    }
    let query = query.unwrap_or_default();
    let asked = |name: &str, value: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.any(|pair| pair == (name, value))
    };
    let serializable = asked("serializable", "true");
    let unhealthy = |reason: &str| {
        handle.counts().unhealthy.inc();
        warn!(reason, "serving /health false");
        let body = format!("{{\"health\":\"false\",\"reason\":\"{reason}\"}}\n");
        failure(StatusCode::SERVICE_UNAVAILABLE, body)
    };
    let alarms = handle.state().alarms().list(AlarmType::None);
    for alarm in alarms {
        let name = alarm.alarm().as_str_name();
        if !asked("exclude", name) {
            return unhealthy(&format!("ALARM {name}"));
        }
    }
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
