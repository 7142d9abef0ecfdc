//! How long a call may take, as its client says in `Grpc-Timeout` (gRPC over HTTP/2; grpc-gateway v1 reads the
//! same header).

use std::time::Duration;

use axum::http::HeaderMap;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

const HEADER: &str = "grpc-timeout";

/// When a call is given up; never, if its client has not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    /// Reads a whole number and its unit, such as `300m`: milliseconds. As in etcd 0 is no limit and less than
    /// that is over at once.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Status> {
        let Some(text) = headers.get(HEADER).filter(|value| !value.is_empty()) else {
            return Ok(Self(None));
        };
        let text = String::from_utf8_lossy(text.as_bytes());
        let limit = limit(&text);
        let refused = || Status::invalid_argument(format!("invalid grpc-timeout: {text}"));
        Ok(Self(limit.ok_or_else(refused)?.and_then(|limit| Instant::now().checked_add(limit))))
    }

    /// The outcome of `work`, or that there was no time for it.
    pub(super) async fn watch<T>(self, work: impl Future<Output = T>) -> Result<T, Status> {
        // Go's words: etcd has none of its own for it.
        let over = || Status::deadline_exceeded("context deadline exceeded");
        match self.0 {
            None => Ok(work.await),
            Some(instant) if instant <= Instant::now() => Err(over()),
            Some(instant) => timeout_at(instant, work).await.map_err(|_elapsed| over()),
        }
    }
}

/// `Some(None)` is no limit.
fn limit(text: &str) -> Option<Option<Duration>> {
    let (at, unit) = text.char_indices().next_back()?;
    let number: i64 = text[..at].parse().ok()?;
    let nanoseconds = match unit {
        'H' => 3_600_000_000_000,
        'M' => 60_000_000_000,
        'S' => 1_000_000_000,
        'm' => 1_000_000,
        'u' => 1_000,
        'n' => 1,
        _ => return None,
    };
    Some(match u64::try_from(number) {
        Ok(0) => None,
        Ok(number) => Some(Duration::from_nanos(number.saturating_mul(nanoseconds))),
        Err(_negative) => Some(Duration::ZERO),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measured on etcd 3.5.1.
    #[test]
    fn a_timeout_is_a_number_and_a_unit() {
        let some = |limit| Some(Some(limit));
        for (text, wanted) in [
            ("1S", some(Duration::from_secs(1))),
            ("+2M", some(Duration::from_secs(120))),
            ("3H", some(Duration::from_secs(10_800))),
            ("300m", some(Duration::from_millis(300))),
            ("7u", some(Duration::from_micros(7))),
            ("9n", some(Duration::from_nanos(9))),
            ("9000000000000H", some(Duration::from_nanos(u64::MAX))),
            ("0S", Some(None)),
            ("-1S", some(Duration::ZERO)),
            ("1", None),
            ("S", None),
            ("1s", None),
            ("x", None),
            ("1ü", None),
            ("99999999999999999999S", None),
        ] {
            assert_eq!(limit(text), wanted, "{text}");
        }
    }
}
