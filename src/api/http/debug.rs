use axum::Router;
use axum::extract::State;
use axum::http::{Method, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use serde_json::{Value, json};

use super::only_get;
use crate::node::Handle;
use crate::raft::Role;

/// `/debug/vars`: the variables that etcd publishes by `expvar`. Of Go's `memstats` there are the two that
/// any process has: `Alloc`, memory in use, and `Sys`, memory obtained from the system.
pub(in crate::api) fn router(handle: Handle) -> Router {
    Router::new().route("/debug/vars", any(vars)).with_state(handle)
}

async fn vars(State(handle): State<Handle>, method: Method) -> Response {
    if let Some(refused) = only_get(&method) {
        return refused;
    }
    let variables = [
        ("cmdline", json!(std::env::args().collect::<Vec<_>>())),
        ("file_descriptor_limit", json!(descriptor_limit())),
        ("memstats", memory()),
        ("raft.status", raft(&handle)),
    ];
    let lines = variables.map(|(name, value)| format!("\"{name}\": {value}"));
    let body = format!("{{\n{}\n}}\n", lines.join(",\n"));
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
}

fn descriptor_limit() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.unwrap_or(u64::MAX)
}

/// What the kernel says in `/proc/self/status`; zero where it does not tell.
fn memory() -> Value {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    };
    json!({ "Alloc": bytes("VmRSS:"), "Sys": bytes("VmSize:") })
}

fn raft(handle: &Handle) -> Value {
    let status = handle.status();
    let state = match status.role {
        Role::Leader => "StateLeader",
        Role::Candidate => "StateCandidate",
        Role::PreCandidate => "StatePreCandidate",
        Role::Follower => "StateFollower",
    };
    json!({
        "id": handle.member_id().to_string(),
        "term": status.term.0,
        "commit": status.commit.0,
        "lead": status.leader.map_or_else(|| "0".to_owned(), |leader| leader.to_string()),
        "raftState": state,
        "applied": status.applied.0,
    })
}
