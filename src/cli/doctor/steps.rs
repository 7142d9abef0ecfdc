//! What the replays of both discovery protocols say, step by step, and what they ask of those who
//! registered before.

use crate::cli::{Failure, output, running};
use crate::membership::{InitialCluster, MemberId};

/// A step that failed; the steps before it were printed.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {what}; {cure}")]
struct Sick {
    step: &'static str,
    what: String,
    cure: String,
}

pub(super) fn sick(
    step: &'static str,
    what: impl Into<String>,
    cure: impl Into<String>,
) -> Failure {
    running(Sick { step, what: what.into(), cure: cure.into() })
}

pub(super) fn well(step: &'static str, what: &str) -> Result<(), Failure> {
    output::print(&format!("ok    {step}: {what}\n"))
}

/// What the node itself would register.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) id: MemberId,
    pub(super) value: String,
}

/// A registered member: its key and its value.
pub(super) type Held = (String, String);

/// Whoever registered was given some URL or bare token, which is the `salt` of its id; if it was not
/// this one, this node founds another cluster.
pub(super) fn foreign_ids(salt: &str, members: &[Held]) -> Result<(), Failure> {
    for (key, value) in members {
        let parsed: Option<InitialCluster> = value.parse().ok();
        let id = parsed.and_then(|member| {
            let (name, _) = member.members().next()?;
            member.member_id(name, salt)
        });
        if id.is_none_or(|id| id.to_string() != *key) {
            let what = format!("{key} (`{value}`) registered by another spelling of `{salt}`");
            let cure = "start all members with what /new printed, to the letter, and all with the same \
                        kind of flags";
            return Err(sick("spelling", what, cure));
        }
    }
    Ok(())
}

pub(super) fn slot(size: u64, members: &[Held], own: Option<&Own>) -> Result<(), Failure> {
    let have = members.len() as u64;
    let known = own.is_some_and(|own| members.iter().any(|(key, _)| *key == own.id.to_string()));
    match (have >= size, known) {
        (true, true) => Err(sick(
            "slot",
            "this node founded the cluster already",
            "with its data directory it simply restarts; without, replace it by member remove and \
             member add",
        )),
        (true, false) => Err(sick(
            "slot",
            format!("all {size} members have registered"),
            "take a new token for a new cluster, or `etcdctl member add` for this one",
        )),
        (false, true) => well("slot", "this node is registered and goes on waiting"),
        (false, false) => well("slot", &format!("{have} of {size} members have registered")),
    }
}
