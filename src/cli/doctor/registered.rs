//! What the replays of both discovery protocols ask of those who registered before.

use std::sync::Arc;

use crate::admission::{Application, ClusterSize, Door, Founding, Registered, UnixMillis, decide};
use crate::cli::output;
use crate::cli::steps::{Steps, Stop, sick};
use crate::membership::{InitialCluster, MemberId};
use crate::token::TokenPath;

/// What the node itself would register.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) id: MemberId,
    pub(super) value: String,
}

impl Own {
    /// The one member of this list, with the salt of its id.
    pub(super) fn of(member: &InitialCluster, salt: &str) -> Option<Self> {
        let (name, _) = member.members().next()?;
        let id = member.member_id(name, salt)?;
        Some(Self { id, value: member.to_string() })
    }

    pub(super) fn is_among(&self, members: &[Held]) -> bool {
        members.iter().any(|(key, _)| *key == self.id.to_string())
    }
}

/// A registered member: its key and its value.
pub(super) type Held = (String, String);

/// Whoever registered was given some URL or bare token, which is the `salt` of its id; if it was not
/// this one, this node founds another cluster. The `noun` says which it is.
pub(super) fn foreign_ids(
    steps: &mut Steps,
    noun: &str,
    salt: &str,
    members: &[Held],
) -> Result<(), Stop> {
    for (key, value) in members {
        let parsed: Option<InitialCluster> = value.parse().ok();
        let held = parsed.and_then(|member| Own::of(&member, salt));
        if held.is_none_or(|held| held.id.to_string() != *key) {
            let what = format!("{key} (`{value}`) registered by another spelling of `{salt}`");
            let cure = "start all members with what /new printed, to the letter, and all with the same \
                        kind of flags";
            return Err(sick("spelling", what, cure));
        }
    }
    let step = "spelling";
    match members.len() {
        0 => steps.open(step, "nobody has registered whose id could be compared"),
        1 => steps.ok(step, format!("the id of the one who registered follows from this {noun}")),
        count => steps.ok(step, format!("{count} registered ids follow from this {noun}")),
    }
    Ok(())
}

/// Judges the node by the rules of the service, as far as they are about itself and about those who
/// registered before.
pub(super) fn judge(
    own: &Own,
    size: u64,
    members: &[Held],
    path: &TokenPath,
    door: &Door,
) -> Result<(), Stop> {
    let stored = u32::try_from(size).ok().and_then(ClusterSize::stored);
    let no_size = || sick("size", format!("no cluster has {size} members"), "make a new token");
    let size = stored.ok_or_else(no_size)?;
    let refused = |refusal: crate::admission::Refusal| {
        sick("registration", format!("{}: {refusal}", refusal.code()), "")
    };
    let key = own.id.to_string();
    let application = Application::check(&key, &own.value, path, door).map_err(refused)?;
    let held = |(key, value): &Held| {
        value.parse::<InitialCluster>().ok()?;
        let (key, index, at, from) = (key.parse().ok()?, 0, UnixMillis(0), None);
        Some(Arc::new(Registered { key, value: value.clone(), index, at, from }))
    };
    let founding = Founding {
        path: path.clone(),
        size,
        label: None,
        created_index: 0,
        index: 0,
        created_at: UnixMillis(0),
        expires_at: UnixMillis(u64::MAX),
        revoked_at: None,
        noted: 0,
        expiry_recorded: false,
        client_port: None,
        first_entry: 0,
        founders: members.iter().filter_map(held).collect(),
        surplus: Vec::new(),
    };
    decide(&founding, &application, usize::MAX, UnixMillis(0)).map(drop).map_err(refused)
}

pub(super) fn will_have(size: u64) -> String {
    let count = usize::try_from(size).unwrap_or(usize::MAX);
    format!("the cluster will have {}", output::counted(count, "member"))
}

pub(super) fn slot(
    steps: &mut Steps,
    size: u64,
    members: &[Held],
    own: Option<&Own>,
) -> Result<(), Stop> {
    const STEP: &str = "slot";
    let have = members.len() as u64;
    let known = own.is_some_and(|own| own.is_among(members));
    match (have >= size, known) {
        (true, true) => {
            let cure = "with its data directory it simply restarts; without, replace it by member \
                        remove and member add";
            return Err(sick(STEP, "this node founded the cluster already", cure));
        }
        (true, false) => {
            let what = match size {
                1 => "the one member has registered".to_owned(),
                _ => format!("all {size} members have registered"),
            };
            let cure = "take a new token for a new cluster, or `etcdctl member add` for this one";
            return Err(sick(STEP, what, cure));
        }
        (false, true) => steps.ok(STEP, "this node is registered and goes on waiting"),
        (false, false) if size == 1 => steps.ok(STEP, "the one member is missing"),
        (false, false) => steps.ok(STEP, format!("{have} of {size} members have registered")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Protocol;

    const TOKEN: &str = "6c007a14875d53d9bf0ef5a6fc0257c8";

    fn own(value: &str) -> Own {
        Own::of(&value.parse().unwrap(), TOKEN).unwrap()
    }

    /// What is said about a member of v3 discovery, after this one registered.
    fn judged(value: &str) -> String {
        let first = own("n1=http://127.0.0.1:3001");
        let held = [(first.id.to_string(), first.value)];
        let path = TokenPath::stored(format!("/{TOKEN}"));
        let door = Door { protocol: Protocol::V3, ..Door::default() };
        match judge(&own(value), 3, &held, &path, &door) {
            Ok(()) => "taken".to_owned(),
            Err(Stop::Sick { step, what, .. }) => format!("{step}: {what}"),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_member_is_judged_without_the_service() {
        for (value, part) in [
            ("n2=http://127.0.0.1:3002", "taken"),
            ("n1=http://127.0.0.1:3001", "taken"),
            ("n2=http://0.0.0.0:44", "registration: Q1016: "),
            ("n1=http://127.0.0.1:3002", "registration: Q1030: "),
            ("n2=http://127.0.0.1:3001,n2=http://127.0.0.1:3002", "registration: Q1031: "),
            ("other=http://127.0.0.1:3001", "registration: Q1032: "),
        ] {
            let text = judged(value);
            assert!(text.starts_with(part), "{value}: {text}");
        }
    }
}
