//! Compaction that nobody asked for (`--auto-compaction-mode`, `--auto-compaction-retention`), on the
//! leader only (etcd `server/etcdserver/api/v3compactor`).

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::{AutoCompaction, Error, Handle};
use crate::apply;
use crate::auth::Caller;
use crate::proto::etcdserverpb::CompactionRequest;

/// Compactions are never further apart than this in periodic mode.
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
/// Looks at the revision within one interval of periodic mode.
const SAMPLES: u32 = 10;
/// How often mode `revision` looks.
const REVISION_INTERVAL: Duration = Duration::from_secs(300);

/// Compacts now and then as long as the node runs.
pub(super) async fn run(handle: Handle) {
    match handle.config().upkeep.auto_compaction {
        AutoCompaction::Off => {}
        AutoCompaction::Periodic(period) => periodic(&handle, period).await,
        AutoCompaction::Revision(retention) => by_revision(&handle, retention).await,
    }
}

async fn periodic(handle: &Handle, period: Duration) {
    let mut history = Periodic::new(period);
    let started = Instant::now();
    let mut tick = ticks(history.sample_every);
    loop {
        history.sample(handle.state().revision());
        tick.tick().await;
        if !handle.leads() {
            continue;
        }
        let Some(revision) = history.due(started.elapsed()) else { continue };
        info!(revision, compact_period = ?period, "starting auto periodic compaction");
        let began = Instant::now();
        match compact(handle, revision).await {
            Ok(()) => {
                history.done(revision, started.elapsed());
                let took = began.elapsed();
                info!(
                    revision,
                    compact_period = ?period,
                    took = ?took,
                    "completed auto periodic compaction"
                );
            }
            Err(error) => warn!(
                revision,
                compact_period = ?period,
                retry_interval = ?history.sample_every,
                error = %error,
                "failed auto periodic compaction"
            ),
        }
    }
}

async fn by_revision(handle: &Handle, retention: i64) {
    let mut last = 0;
    let mut tick = ticks(REVISION_INTERVAL);
    loop {
        tick.tick().await;
        let revision = handle.state().revision() - retention;
        if !handle.leads() || revision <= 0 || revision == last {
            continue;
        }
        info!(
            revision,
            revision_compaction_retention = retention,
            "starting auto revision compaction"
        );
        let began = Instant::now();
        match compact(handle, revision).await {
            Ok(()) => {
                last = revision;
                info!(
                    revision,
                    revision_compaction_retention = retention,
                    took = ?began.elapsed(),
                    "completed auto revision compaction"
                );
            }
            Err(error) => warn!(
                revision,
                revision_compaction_retention = retention,
                retry_interval = ?REVISION_INTERVAL,
                error = %error,
                "failed auto revision compaction"
            ),
        }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one comes at once, and nothing is to be done then.
    tick.reset();
    tick
}

async fn compact(handle: &Handle, revision: i64) -> Result<(), Error> {
    let request = CompactionRequest { revision, physical: false };
    match handle.propose(Caller::Cluster, request).await {
        // Somebody else was faster.
        Ok(_) | Err(Error::Apply(apply::Error::Compacted)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Which revision was the newest one period ago.
#[derive(Debug)]
struct Periodic {
    period: Duration,
    sample_every: Duration,
    /// The revision at each sample, oldest first, no further back than the period.
    samples: VecDeque<i64>,
    max_samples: usize,
    compacted: i64,
    next_at: Duration,
}

impl Periodic {
    fn new(period: Duration) -> Self {
        let sample_every = (period.min(LONGEST_INTERVAL) / SAMPLES).max(Duration::from_millis(1));
        let most = period.as_nanos() / sample_every.as_nanos() + 1;
        Self {
            period,
            sample_every,
            samples: VecDeque::new(),
            max_samples: usize::try_from(most).unwrap_or(usize::MAX),
            compacted: 0,
            // The first one comes after one full period.
            next_at: period,
        }
    }

    fn sample(&mut self, revision: i64) {
        self.samples.push_back(revision);
        if self.samples.len() > self.max_samples {
            self.samples.pop_front();
        }
    }

    /// What is to be compacted now, if anything.
    fn due(&self, now: Duration) -> Option<i64> {
        let oldest = *self.samples.front()?;
        (now >= self.next_at && oldest != self.compacted).then_some(oldest)
    }

    fn done(&mut self, revision: i64, now: Duration) {
        self.compacted = revision;
        self.next_at = now + self.period.min(LONGEST_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The revision grows by one a minute.
    fn compactions(period_minutes: u64, minutes: u64) -> Vec<(u64, i64)> {
        let mut history = Periodic::new(Duration::from_secs(60 * period_minutes));
        let mut seen = Vec::new();
        let mut now = Duration::ZERO;
        while now < Duration::from_secs(60 * minutes) {
            history.sample(i64::try_from(now.as_secs() / 60).unwrap() + 1);
            now += history.sample_every;
            if let Some(revision) = history.due(now) {
                history.done(revision, now);
                seen.push((now.as_secs() / 60, revision));
            }
        }
        seen
    }

    #[test]
    fn the_first_compaction_comes_after_one_period_and_keeps_one_period() {
        // Up to an hour: once a period. The oldest sample is one period and one interval old, as in etcd.
        assert_eq!(compactions(10, 35), [(10, 1), (20, 10), (30, 20)]);
        assert_eq!(compactions(60, 200), [(60, 1), (120, 55), (180, 115)]);
        // Longer: once an hour.
        assert_eq!(compactions(180, 310), [(180, 1), (240, 55), (300, 115)]);
    }

    #[test]
    fn nothing_new_is_nothing_to_do() {
        let mut history = Periodic::new(Duration::from_secs(10));
        for second in 1..=40 {
            history.sample(7);
            if let Some(revision) = history.due(Duration::from_secs(second)) {
                assert_eq!((second, revision), (10, 7));
                history.done(revision, Duration::from_secs(second));
            }
        }
        assert_eq!(history.compacted, 7);
    }
}
