//! `--enable-log-rotation` with `--log-rotation-config-json` (etcd `server/embed/config_logging.go`).

use std::time::Duration;

use serde::Deserialize;

use super::values::Values;
use super::{Note, Problem};
use crate::telemetry::{Output, Rotation};

const MEGABYTE: u64 = 1024 * 1024;
const DAY: u64 = 86_400;
/// Megabytes of a log file when 0 was said.
const DEFAULT_MEGABYTES: u64 = 100;

/// As etcd reads it; what is 0 is not limited.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    maxsize: i64,
    maxage: i64,
    maxbackups: i64,
    localtime: bool,
    compress: bool,
}

/// How log files are rotated, if they are.
pub(super) fn settle(
    values: &Values,
    outputs: &[Output],
    notes: &mut Vec<Note>,
    problems: &mut Vec<Problem>,
) -> Option<Rotation> {
    if !values.bool("enable-log-rotation") {
        return None;
    }
    if outputs.iter().filter(|output| matches!(output, Output::File(_))).count() != 1 {
        problems.push(Problem::of(
            &["log-rotation-config-json"],
            "--log-outputs requires a single file path when --log-rotate-config-json is defined",
        ));
    }
    let wanted: Wanted = match serde_json::from_str(&values.text("log-rotation-config-json")) {
        Ok(wanted) => wanted,
        Err(error) => {
            let what = if error.is_data() { "invalid" } else { "improperly formatted" };
            problems.push(Problem::of(
                &["log-rotation-config-json"],
                format!("{what} log rotation config: --log-rotation-config-json: {error}"),
            ));
            return None;
        }
    };
    for (name, meaning, is_set) in [
        ("localtime", "the names of old log files have the time in UTC", wanted.localtime),
        ("compress", "old log files are not compressed", wanted.compress),
    ] {
        if is_set {
            let setting = format!("log-rotation-config-json {name}");
            notes.push(Note::WithoutEffect { setting, meaning: meaning.to_owned() });
        }
    }
    let given = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
    Some(Rotation {
        max_bytes: given(wanted.maxsize).unwrap_or(DEFAULT_MEGABYTES).saturating_mul(MEGABYTE),
        max_age: given(wanted.maxage).map(|days| Duration::from_secs(days.saturating_mul(DAY))),
        max_backups: given(wanted.maxbackups).and_then(|files| usize::try_from(files).ok()),
    })
}
