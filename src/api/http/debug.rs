use std::ffi::OsString;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use serde_json::{Value, json};

use super::only_get;
use crate::discovery::redact;
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
        ("cmdline", json!(shown(std::env::args_os()))),
        ("file_descriptor_limit", json!(descriptor_limit())),
        ("memstats", memory()),
        ("raft.status", raft(&handle)),
    ];
    let lines = variables.map(|(name, value)| format!("\"{name}\": {value}"));
    let body = format!("{{\n{}\n}}\n", lines.join(",\n"));
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
}

/// The command line without what nobody else may know: whoever reaches the client port reads this.
fn shown(arguments: impl Iterator<Item = OsString>) -> Vec<String> {
    // How to show the argument after this one, where that is the value of a flag.
    let mut value_of: Option<Hide> = None;
    let cut = |argument: OsString| {
        let argument = argument.to_string_lossy().into_owned();
        if let Some(hide) = value_of.take() {
            return hide(&argument);
        }
        let flag = argument.trim_start_matches('-');
        if flag.len() == argument.len() {
            return argument;
        }
        let (name, value) =
            flag.split_once('=').map_or((flag, None), |(name, at)| (name, Some(at)));
        match (hidden(name), value) {
            (Some(hide), Some(value)) => {
                let head = argument.len() - value.len();
                format!("{}{}", &argument[..head], hide(value))
            }
            (hide, _) => {
                value_of = hide;
                argument
            }
        }
    };
    arguments.map(cut).collect()
}

/// Makes of a secret what may be shown.
type Hide = fn(&str) -> String;

/// What to show instead of the value of a flag; `None` where that is no secret.
fn hidden(flag: &str) -> Option<Hide> {
    match flag {
        "discovery" | "discovery-token" => Some(redact),
        // A proxy may be named with a password.
        "discovery-password" | "discovery-proxy" => Some(|_| "...".to_owned()),
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_the_command_line_is_shown() {
        let token = "3e86b59982e49066c5d813af1c2e2579cbf573de";
        let line = [
            "quorate-node",
            "--name=a",
            &format!("--discovery=http://h:1/{token}"),
            "--discovery",
            &format!("http://h:1/{token}"),
            "-discovery-token",
            token,
            "--discovery-password",
            "hunter2",
            "-discovery-password=hunter2=3",
            "--discovery-proxy=http://u:hunter2@h:1",
            "--discovery-user",
            "u",
        ];
        let wanted = [
            "quorate-node",
            "--name=a",
            "--discovery=http://h:1/3e86b599...",
            "--discovery",
            "http://h:1/3e86b599...",
            "-discovery-token",
            "3e86b599...",
            "--discovery-password",
            "...",
            "-discovery-password=...",
            "--discovery-proxy=...",
            "--discovery-user",
            "u",
        ];
        assert_eq!(shown(line.into_iter().map(OsString::from)), wanted);
    }
}
