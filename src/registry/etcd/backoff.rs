use std::time::Duration;

use rand::RngExt as _;

/// Pauses between attempts that fail, each twice as long as the one before it, up to a bound.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: Self::FIRST }
    }
}

impl Backoff {
    pub(super) const FIRST: Duration = Duration::from_millis(100);
    /// Until then a store that came back may go unnoticed.
    pub(super) const LONGEST: Duration = Duration::from_secs(4);
    /// The part that chance adds, so that services which lost one store do not return together.
    const JITTER: f64 = 0.25;

    /// How long to wait after one more failure.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(Self::LONGEST);
        pause + pause.mul_f64(rand::rng().random_range(0.0..Self::JITTER))
    }

    /// Something succeeded.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ() {
        let mut backoff = Backoff::default();
        let mut expected = Backoff::FIRST;
        for _ in 0..10 {
            let pause = backoff.pause();
            assert!(pause >= expected && pause <= expected.mul_f64(1.0 + Backoff::JITTER));
            expected = (expected * 2).min(Backoff::LONGEST);
        }
        assert_eq!(expected, Backoff::LONGEST);
        let first = backoff.pause();
        assert!((0..10).any(|_| backoff.pause() != first), "services do not return together");
        backoff.reset();
        assert!(backoff.pause() < Backoff::FIRST * 2);
    }
}
