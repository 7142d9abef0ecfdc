//! The registry's time: the wall clock at one moment, and the time since boot from there on.
//!
//! Life spans are measured with a clock that nobody can set. A wall clock that is set forward by a
//! day, by an administrator or by NTP after a start with a wrong hardware clock, expires nothing;
//! one that is set back lets nothing live longer. The moment at which the two clocks were tied
//! together is stored, so a restart of the service does not fall for it either. Only a restart of
//! the machine ties them together again.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::admission::UnixMillis;

/// What both clocks said at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) wall: UnixMillis,
    /// Since the boot of the machine.
    pub(super) up: Duration,
}

/// How the registry's time follows from the time since boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tie {
    /// Names one boot of one machine; absent where the kernel does not tell.
    pub(super) boot: Option<String>,
    /// The registry's time less the time since boot, in milliseconds.
    pub(super) offset: i64,
    /// The time since boot when the tie was last looked at; in a container it may start over.
    pub(super) up_millis: i64,
}

impl Tie {
    fn new(boot: Option<String>, now: Reading) -> Self {
        let up_millis = signed(millis(now.up));
        Self { boot, offset: signed(now.wall.0) - up_millis, up_millis }
    }

    /// The stored tie if it was made in this boot, else a new one.
    pub(super) fn renewed(stored: Option<Self>, boot: Option<String>, now: Reading) -> Self {
        let fresh = Self::new(boot, now);
        match stored {
            Some(stored)
                if stored.boot.is_some()
                    && stored.boot == fresh.boot
                    && stored.up_millis <= fresh.up_millis =>
            {
                Self { up_millis: fresh.up_millis, ..stored }
            }
            _ => fresh,
        }
    }

    pub(super) fn at(&self, up: Duration) -> UnixMillis {
        moment(self.offset, up)
    }
}

fn moment(offset: i64, up: Duration) -> UnixMillis {
    UnixMillis(u64::try_from(offset.saturating_add(signed(millis(up)))).unwrap_or(0))
}

/// What this process goes by: the tie, and the time since boot at an instant.
#[derive(Debug, Clone, Copy)]
struct Running {
    offset: i64,
    up: Duration,
    since: Instant,
}

static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

/// The registry's time.
pub fn now() -> UnixMillis {
    let mut running = RUNNING.lock();
    let running = running.get_or_insert_with(|| {
        let reading = read();
        start(Tie::new(None, reading).offset, reading)
    });
    moment(running.offset, running.up + running.since.elapsed())
}

/// Lets this process go by the registry's tie; says how far the wall clock is from it.
pub(super) fn follow(tie: &Tie, reading: Reading) -> i64 {
    *RUNNING.lock() = Some(start(tie.offset, reading));
    signed(reading.wall.0) - signed(tie.at(reading.up).0)
}

fn start(offset: i64, reading: Reading) -> Running {
    Running { offset, up: reading.up, since: Instant::now() }
}

/// What the machine says.
pub(super) fn read() -> Reading {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall = UnixMillis(millis(since));
    let up = std::fs::read_to_string("/proc/uptime").ok();
    let seconds = up.as_deref().and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let up = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Reading { wall, up: up.unwrap_or_default() }
}

/// The name of this boot of this machine.
pub(super) fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    fn reading(wall: u64, up_seconds: u64) -> Reading {
        Reading { wall: UnixMillis(wall), up: Duration::from_secs(up_seconds) }
    }

    fn boot(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn a_clock_that_is_set_moves_nothing() {
        let noon = 1000 * DAY;
        let tie = Tie::renewed(None, boot("one"), reading(noon, 100));
        assert_eq!(tie.at(Duration::from_secs(160)), UnixMillis(noon + 60_000));
        // The service starts again a minute later, while the clock was set by a day.
        for jump in [noon + DAY + 60_000, noon - DAY] {
            let again = Tie::renewed(Some(tie.clone()), boot("one"), reading(jump, 160));
            assert_eq!(again.at(Duration::from_secs(160)), UnixMillis(noon + 60_000));
        }
    }

    #[test]
    fn after_another_boot_the_wall_clock_counts() {
        let tie = Tie::renewed(None, boot("one"), reading(1000 * DAY, 100));
        for other in [boot("two"), None] {
            let again = Tie::renewed(Some(tie.clone()), other, reading(1001 * DAY, 5));
            assert_eq!(again.at(Duration::from_secs(5)), UnixMillis(1001 * DAY));
        }
    }

    #[test]
    fn a_container_that_starts_over_is_tied_again() {
        let tie = Tie::renewed(None, boot("one"), reading(1000 * DAY, 100));
        let again = Tie::renewed(Some(tie), boot("one"), reading(1001 * DAY, 5));
        assert_eq!(again.at(Duration::from_secs(5)), UnixMillis(1001 * DAY));
    }

    #[test]
    fn time_goes_on() {
        let (before, wall) = (now(), read().wall);
        assert!(now() >= before);
        assert!(wall.0.abs_diff(before.0) < DAY, "{wall:?} {before:?}");
    }
}
