//! Values that are not what their flag asks for: etcd starts with some, with a default or as if they
//! said something else, and refuses numbers that are of the right kind.

use std::time::Duration;

use super::go::parse_duration;
use super::value::Value;
use super::{Given, Kind, Note, Problem, Treatment};

/// What durations below zero mean, by the newest name of the setting. Others are refused, unless
/// nothing here reads them.
const BELOW_ZERO: [(&str, &str); 13] = [
    // gRPC's own floor counts when etcd names none (`defaultKeepalivePolicyMinTime`).
    ("grpc-keepalive-min-time", "clients may ping every 5 minutes, gRPC's default"),
    ("grpc-keepalive-interval", "clients are not pinged"),
    ("grpc-keepalive-timeout", "clients are not pinged"),
    ("watch-progress-notify-interval", "progress is told every 10 minutes, the default"),
    ("warning-apply-duration", "every entry is logged"),
    ("warning-unary-request-duration", "no call is logged for the time it took"),
    // etcd 3.5 compares without a pause, 3.6 panics.
    ("corrupt-check-time", "members are not compared"),
    ("compaction-sleep-interval", "compaction does not pause"),
    ("wait-cluster-ready-timeout", "clients are served at once"),
    ("discovery-dial-timeout", "a connection may take as long as a request"),
    // etcd starts, and each of its requests is over before it was sent.
    ("discovery-request-timeout", "requests may take 5s, the default"),
    ("discovery-keepalive-time", "connections are not probed"),
    ("discovery-keepalive-timeout", "probes are answered within 20s, gRPC's default"),
];

/// Reads a value as etcd takes it.
pub(super) fn read(given: &Given, notes: &mut Vec<Note>) -> Result<Value, Problem> {
    let Given { flag, text, .. } = given;
    let name = match flag.treatment {
        Treatment::Alias(target) => target,
        _ => flag.name,
    };
    let parse =
        |text: &str| Value::parse(flag.kind, text).map_err(|reason| Problem::value(given, &reason));
    let mut instead = |meaning: &str| {
        let setting = format!("{}={text}", flag.name);
        notes.push(Note::Instead { setting, meaning: meaning.to_owned() });
    };
    let below_zero = BELOW_ZERO.iter().find(|(known, _)| *known == name);
    match (name, flag.kind) {
        ("compact-hash-check-time", _) => match length(text) {
            Some((_, true)) => Err(not_above_zero(given, text)),
            Some((Duration::ZERO, false)) => Err(not_above_zero(given, "0s")),
            _ => parse(text),
        },
        ("grpc-keepalive-min-time" | "discovery-request-timeout", _)
            if length(text) == Some((Duration::ZERO, false)) =>
        {
            below_zero.iter().for_each(|(_, meaning)| instead(meaning));
            parse("0s")
        }
        (_, Kind::Duration) if is_below_zero(text) => {
            match below_zero {
                Some((_, meaning)) => instead(meaning),
                None if flag.treatment == Treatment::Silent => {}
                None => return parse(text),
            }
            parse("0s")
        }
        ("log-level", _) if text.is_empty() => parse(flag.default),
        ("log-level", _) => parse(&text.to_ascii_lowercase()),
        ("metrics" | "backend-bbolt-freelist-type", _) => parse(text).or_else(|_unknown| {
            instead(&format!("no such word is known; it is the default, `{}`", flag.default));
            parse(flag.default)
        }),
        ("max-concurrent-streams", _) => match parse(text)? {
            Value::Uint(streams) if streams > u64::from(u32::MAX) => Err(Problem::value(
                given,
                &format!("strconv.ParseUint: parsing \"{text}\": value out of range"),
            )),
            value => Ok(value),
        },
        ("log-outputs", _) => {
            check_outputs(text).map_err(|reason| Problem::of(&[flag.name], reason))?;
            parse(text)
        }
        _ => parse(text),
    }
}

fn not_above_zero(given: &Given, shown: &str) -> Problem {
    let name = given.flag.name;
    Problem::of(
        &[given.flag.name],
        format!(
            "--{name} must be >0 (set to {shown}); without \
         --feature-gates=CompactHashCheck=true nothing is compared"
        ),
    )
}

/// Whether this is a duration, and one below zero.
pub(super) fn is_below_zero(text: &str) -> bool {
    matches!(length(text), Some((_, true)))
}

/// The length of a duration, and whether it is one below zero.
fn length(text: &str) -> Option<(Duration, bool)> {
    let (text, negative) = text.strip_prefix('-').map_or((text, false), |rest| (rest, true));
    let length = parse_duration(text)?;
    Some((length, negative && !length.is_zero()))
}

fn check_outputs(text: &str) -> Result<(), String> {
    let outputs: Vec<&str> = text.split(',').map(str::trim).collect();
    if outputs.contains(&"") {
        return Err("open sink \"\": open : no such file or directory; --log-outputs takes \
             stderr, stdout, default and names of files"
            .to_owned());
    }
    if outputs.contains(&"default") && outputs.iter().any(|output| *output != "default") {
        return Err(
            "multi logoutput for \"default\" is not supported yet; `default` is stderr".to_owned()
        );
    }
    Ok(())
}
