use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use serde::{Deserialize, Serialize};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use super::{JSON, only_get};
use crate::api::plain::failure;
use crate::apply;
use crate::membership::Member;
use crate::node::{Error, Handle};
use crate::v2::X_ETCD_CLUSTER_ID;

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

/// What a hash is asked of; 0 for the newest revision.
#[derive(Debug, Deserialize)]
struct HashAsked {
    #[serde(default)]
    revision: i64,
}

/// A hash as `/members/hashkv` shows it. A number that is zero is left out.
#[derive(Debug, Serialize)]
struct HashShown {
    header: HashHeader,
    #[serde(skip_serializing_if = "is_zero")]
    hash: i64,
    #[serde(skip_serializing_if = "is_zero")]
    compact_revision: i64,
    #[serde(skip_serializing_if = "is_zero")]
    hash_revision: i64,
}

#[derive(Debug, Serialize)]
struct HashHeader {
    revision: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// `/members`, `/members/hashkv`, `/downgrade/enabled` and `/raft/probing`.
pub(in crate::api) fn router(handle: Handle) -> Router {
    Router::new()
        .route("/members", any(members))
        .route("/members/hashkv", any(hash_kv))
        .route("/downgrade/enabled", any(downgrade_enabled))
        .with_state(handle)
        .route("/raft/probing", any(probing))
}

async fn members(State(handle): State<Handle>, method: Method) -> Response {
    if let Some(refused) = only_get(&method) {
        return refused;
    }
    let shown: Vec<Shown> = handle.members().into_iter().map(Shown::from).collect();
    let body = serde_json::to_string(&shown).expect("plain structs with text keys serialize");
    ([(header::CONTENT_TYPE, JSON)], cluster(&handle), body + "\n").into_response()
}

fn cluster(handle: &Handle) -> [(&'static str, String); 1] {
    [(X_ETCD_CLUSTER_ID, handle.cluster_id().to_string())]
}

/// The hash that members compare, at the revision that the body names (etcd `server/etcdserver/corrupt.go`).
async fn hash_kv(
    State(handle): State<Handle>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(refused) = only_get(&method) {
        return refused;
    }
    let own = handle.cluster_id().to_string();
    let named = headers.get(X_ETCD_CLUSTER_ID).filter(|named| !named.is_empty());
    if named.is_some_and(|named| *named != own) {
        return failure(StatusCode::PRECONDITION_FAILED, "cluster ID mismatch\n");
    }
    let Ok(HashAsked { revision }) = serde_json::from_slice(&body) else {
        return failure(StatusCode::BAD_REQUEST, "error unmarshalling request\n");
    };
    let hashed = match handle.hash_kv(revision).await {
        Ok(hashed) => hashed,
        Err(error) => {
            let text = match error {
                Error::Apply(apply::Error::Compacted) => {
                    "mvcc: required revision has been compacted".to_owned()
                }
                Error::Apply(apply::Error::FutureRevision) => {
                    "mvcc: required revision is a future revision".to_owned()
                }
                error => error.to_string(),
            };
            return failure(StatusCode::BAD_REQUEST, text + "\n");
        }
    };
    let shown = HashShown {
        header: HashHeader { revision: handle.state().revision() },
        hash: hashed.hash.into(),
        compact_revision: hashed.compact_revision,
        hash_revision: hashed.revision,
    };
    let body = serde_json::to_string(&shown).expect("plain structs with text keys serialize");
    ([(header::CONTENT_TYPE, JSON)], cluster(&handle), body).into_response()
}

/// Whether the cluster is on its way to the release before.
async fn downgrade_enabled(State(handle): State<Handle>, method: Method) -> Response {
    if let Some(refused) = only_get(&method) {
        return refused;
    }
    if let Err(error) = handle.linearize().await {
        let text = format!("failed linearized read: {error}\n");
        let refusal = failure(StatusCode::INTERNAL_SERVER_ERROR, text);
        return (cluster(&handle), refusal).into_response();
    }
    let enabled = handle.state().downgrade().enabled.to_string();
    ([(header::CONTENT_TYPE, "text/plain")], cluster(&handle), enabled).into_response()
}

/// The answer that lets a member measure the way to this one and compare clocks.
async fn probing() -> Response {
    let mut now = String::new();
    SystemTime.format_time(&mut Writer::new(&mut now)).expect("writing to a string cannot fail");
    let body = format!("{{\"OK\":true,\"Now\":\"{now}\"}}\n");
    ([(header::CONTENT_TYPE, JSON)], body).into_response()
}
