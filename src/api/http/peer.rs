use axum::Router;
use axum::extract::State;
use axum::http::{Method, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use serde::Serialize;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use super::{JSON, only_get};
use crate::membership::Member;
use crate::node::Handle;

/// A member as `/members` on the peer port shows it: the id is a decimal number.
#[derive(Debug, Serialize)]
struct Shown {
    id: u64,
    #[serde(rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(rename = "isLearner", skip_serializing_if = "std::ops::Not::not")]
    learner: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "clientURLs", skip_serializing_if = "Vec::is_empty")]
    client_urls: Vec<String>,
}

impl From<Member> for Shown {
    fn from(member: Member) -> Self {
        let Member { id, name, peer_urls, client_urls, learner } = member;
        Self { id: id.0, peer_urls, learner, name, client_urls }
    }
}

/// `/members` and `/raft/probing`.
pub(in crate::api) fn router(handle: Handle) -> Router {
    Router::new()
        .route("/members", any(members))
        .with_state(handle)
        .route("/raft/probing", any(probing))
}

async fn members(State(handle): State<Handle>, method: Method) -> Response {
    if let Some(refused) = only_get(&method) {
        return refused;
    }
    let shown: Vec<Shown> = handle.members().into_iter().map(Shown::from).collect();
    let body = serde_json::to_string(&shown).expect("plain structs with text keys serialize");
    let cluster = [("x-etcd-cluster-id", handle.cluster_id().to_string())];
    ([(header::CONTENT_TYPE, JSON)], cluster, body + "\n").into_response()
}

/// The answer that lets a member measure the way to this one and compare clocks.
async fn probing() -> Response {
    let mut now = String::new();
    SystemTime.format_time(&mut Writer::new(&mut now)).expect("writing to a string cannot fail");
    let body = format!("{{\"OK\":true,\"Now\":\"{now}\"}}\n");
    ([(header::CONTENT_TYPE, JSON)], body).into_response()
}
