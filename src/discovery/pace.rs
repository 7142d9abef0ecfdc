use std::time::Duration;

use rand::RngExt as _;

/// How long to wait for answers and between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Pause after the first failure; it doubles with each.
    pub first: Duration,
    /// The pause grows no further.
    pub last: Duration,
    /// Limit of a plain request.
    pub request: Duration,
    /// Limit of one long poll; the state is read anew after it, so that a connection which died
    /// without a trace is noticed.
    pub poll: Duration,
}

impl Default for Pace {
    /// etcd's: 2, 4, ... 256 seconds between attempts, 5 seconds for an answer.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(2),
            last: Duration::from_secs(256),
            request: Duration::from_secs(5),
            poll: Duration::from_secs(600),
        }
    }
}

impl Pace {
    /// The pause after that many failures in a row (from 1 on), without jitter.
    pub fn pause(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.last)
    }

    /// The pause with up to a quarter more, so that nodes that failed together do not return together.
    pub(super) fn jittered(&self, failures: u32) -> Duration {
        let pause = self.pause(failures);
        pause + pause.mul_f64(rand::rng().random_range(0.0..0.25))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_last() {
        let pauses: Vec<u64> = (1..=10).map(|n| Pace::default().pause(n).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 256, 256]);
        assert_eq!(Pace::default().pause(u32::MAX).as_secs(), 256);
    }
}
