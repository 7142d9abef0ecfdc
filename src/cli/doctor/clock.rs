use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::{Response, header};

use crate::cli::steps::Steps;

/// A clock that is off by more makes certificates and leases go wrong later.
pub(super) const APART: u64 = 60;
/// Dates of HTTP are whole seconds, and the answer takes its time.
const EQUAL: u64 = 2;

/// Seconds between this machine's clock and that of whoever answered, if it told its time.
pub(super) fn apart(answer: &Response) -> Option<u64> {
    let date = answer.headers().get(header::DATE)?.to_str().ok()?;
    let theirs = httpdate::parse_http_date(date).ok()?;
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Some(seconds(SystemTime::now()).abs_diff(seconds(theirs)))
}

/// Says how far the clocks are apart.
pub(super) fn compare(steps: &mut Steps, name: &str, answer: &Response) {
    const CURE: &str = "set the clocks, with NTP: leases, tokens and certificates depend on them";
    match apart(answer) {
        None => steps.open(name, "it does not tell its time"),
        Some(apart @ 0..=EQUAL) => steps.ok(name, format!("{apart} s from this machine's")),
        Some(apart @ ..=APART) => steps.warn(name, format!("{apart} s from this machine's"), CURE),
        Some(apart) => steps.fail(name, format!("{apart} s from this machine's"), CURE),
    }
}
