//! `--feature-gates`, of etcd 3.6 (`server/features/etcd_features.go`): what can be turned on and off, and
//! what this node makes of it.

use super::Note;
use super::go::parse_bool;
use crate::node::Feature;

/// What a gate means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// It does what it says.
    Honoured,
    /// This node behaves like that, whatever is said.
    Always(bool),
    /// Turning it on has no effect.
    Nothing(&'static str),
    /// Tunes a part that this node does not have.
    Elsewhere,
}

const ALPHA: &str = "ALPHA";
const BETA: &str = "BETA";

/// Names, etcd's stages and what they mean here.
const GATES: [(&str, &str, Meaning); 11] = [
    // Of those that stand for several, none makes this node do more than it does anyway.
    ("AllAlpha", ALPHA, Meaning::Elsewhere),
    ("AllBeta", BETA, Meaning::Elsewhere),
    ("CompactHashCheck", ALPHA, Meaning::Honoured),
    ("InitialCorruptCheck", ALPHA, Meaning::Honoured),
    ("LeaseCheckpoint", ALPHA, Meaning::Always(true)),
    ("LeaseCheckpointPersist", ALPHA, Meaning::Always(true)),
    (
        "SetMemberLocalAddr",
        ALPHA,
        Meaning::Nothing("the system chooses the address that peers are dialed from"),
    ),
    ("StopGRPCServiceOnDefrag", ALPHA, Meaning::Elsewhere),
    ("TxnModeWriteWithSharedBuffer", BETA, Meaning::Elsewhere),
    ("FastLeaseKeepAlive", BETA, Meaning::Elsewhere),
    ("PriorityRequest", ALPHA, Meaning::Elsewhere),
];

/// Reads `Name=true,...` as etcd does; the error is the reason alone.
pub(super) fn check(text: &str) -> Result<(), String> {
    for (name, value) in pairs(text) {
        if !GATES.iter().any(|(known, ..)| *known == name) {
            let known: Vec<&str> = GATES.iter().map(|(known, ..)| *known).collect();
            return Err(format!("unrecognized feature gate: {name}; know {}", known.join(", ")));
        }
        let value = value.ok_or_else(|| format!("missing bool value for {name}"))?;
        if parse_bool(value).is_none() {
            return Err(format!(
                "invalid value of {name}={value}, err: strconv.ParseBool: parsing \"{value}\": \
                 invalid syntax"
            ));
        }
    }
    Ok(())
}

/// Whether that gate was turned on; said twice, the last counts.
pub(super) fn is_on(text: &str, name: &str) -> bool {
    said(text, name).unwrap_or_default()
}

/// What was said of that gate, if anything was.
pub(super) fn said(text: &str, name: &str) -> Option<bool> {
    let said = pairs(text).filter(|(gate, _)| *gate == name);
    said.last().and_then(|(_, value)| parse_bool(value?))
}

/// Whether this node does what each gate of etcd says; `is_on` tells it of those that one can choose,
/// gates of parts that this node does not have are off.
pub(super) fn features(is_on: impl Fn(&str) -> bool) -> Vec<Feature> {
    let feature = |(name, stage, meaning)| {
        let enabled = match meaning {
            Meaning::Honoured => is_on(name),
            Meaning::Always(state) => state,
            Meaning::Nothing(_) | Meaning::Elsewhere => false,
        };
        Feature { name, stage, enabled }
    };
    GATES.into_iter().map(feature).collect()
}

/// Gates that do not do here what they say.
pub(super) fn notes(text: &str) -> Vec<Note> {
    let note = |(name, value): (&str, Option<&str>)| {
        let on = parse_bool(value?)?;
        let (.., meaning) = GATES.iter().find(|(known, ..)| *known == name)?;
        let meaning = match meaning {
            Meaning::Always(state) if *state != on => {
                format!("it is always {}", if *state { "on" } else { "off" })
            }
            Meaning::Nothing(meaning) if on => (*meaning).to_owned(),
            _ => return None,
        };
        Some(Note::WithoutEffect { setting: format!("feature-gates {name}={on}"), meaning })
    };
    pairs(text).filter_map(note).collect()
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let gates = text.split(',').map(str::trim).filter(|gate| !gate.is_empty());
    gates.map(|gate| match gate.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim())),
        None => (gate, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_something_else_is_told() {
        let told = |text: &str| {
            assert_eq!(check(text), Ok(()), "{text}");
            notes(text).len()
        };
        // The line of kubeadm with etcd 3.6.
        assert_eq!(told("InitialCorruptCheck=true"), 0);
        assert_eq!(told("LeaseCheckpoint=true, CompactHashCheck=1,"), 0);
        assert_eq!(told(""), 0);
        assert_eq!(told("LeaseCheckpoint=false,SetMemberLocalAddr=true"), 2);
        assert!(is_on("InitialCorruptCheck=T", "InitialCorruptCheck"));
        assert!(!is_on(
            "InitialCorruptCheck=true,InitialCorruptCheck=false",
            "InitialCorruptCheck"
        ));
        assert!(!is_on("CompactHashCheck=true", "InitialCorruptCheck"));
    }

    #[test]
    fn a_gate_shows_what_the_node_does() {
        let shown = features(|name| name == "CompactHashCheck");
        assert_eq!(shown.len(), GATES.len());
        let on: Vec<&str> =
            shown.iter().filter(|feature| feature.enabled).map(|feature| feature.name).collect();
        assert_eq!(on, ["CompactHashCheck", "LeaseCheckpoint", "LeaseCheckpointPersist"]);
    }

    #[test]
    fn what_is_no_gate_is_refused() {
        let reason = |text: &str| check(text).unwrap_err();
        assert!(reason("Foo=true").starts_with("unrecognized feature gate: Foo; know AllAlpha"));
        assert_eq!(reason("LeaseCheckpoint"), "missing bool value for LeaseCheckpoint");
        assert_eq!(
            reason("LeaseCheckpoint=maybe"),
            "invalid value of LeaseCheckpoint=maybe, err: strconv.ParseBool: parsing \"maybe\": \
             invalid syntax"
        );
    }
}
