use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::command::Command;

/// How long a group is held open for those who are about to ask.
///
/// Whoever was answered a moment ago often asks again. Without waiting for them half of a steady
/// crowd would always miss the group that the first of them begins, and wait for two commits. A
/// single asker never waits.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Those who were in the last group or waited for it to end.
    expected: usize,
    /// How long the last commit took.
    commit: Duration,
}

impl Pace {
    /// So many were in the last group or waited for it to end.
    pub(super) fn met(&mut self, askers: usize) {
        self.expected = askers;
    }

    /// The last commit took so long.
    pub(super) fn took(&mut self, commit: Duration) {
        self.commit = commit;
    }

    /// One more for a group of `gathered` that began then, if some are missing and do not let the
    /// others wait for longer than the group is worth to them.
    pub(super) async fn another(
        &self,
        queue: &mut mpsc::Receiver<Command>,
        gathered: usize,
        began: Instant,
    ) -> Option<Command> {
        if gathered >= self.expected {
            return None;
        }
        loop {
            if let Ok(command) = queue.try_recv() {
                return Some(command);
            }
            if began.elapsed() >= self.patience() {
                return None;
            }
            // Timers are too coarse for this.
            tokio::task::yield_now().await;
        }
    }

    fn patience(&self) -> Duration {
        const MOST: Duration = Duration::from_millis(1);
        (self.commit / 2).min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn look() -> Command {
        Command::CatchUp { reply: oneshot::channel().0 }
    }

    fn pace(expected: usize) -> Pace {
        let mut pace = Pace::default();
        pace.met(expected);
        pace.took(Duration::from_secs(3600));
        pace
    }

    #[tokio::test]
    async fn a_group_does_not_grow_beyond_who_was_there() {
        let (commands, mut queue) = mpsc::channel(4);
        assert!(pace(1).another(&mut queue, 1, Instant::now()).await.is_none());
        commands.send(look()).await.unwrap();
        assert!(pace(1).another(&mut queue, 1, Instant::now()).await.is_none());
    }

    #[tokio::test]
    async fn who_is_missing_is_waited_for() {
        let (commands, mut queue) = mpsc::channel(4);
        let asking = tokio::spawn(async move { commands.send(look()).await });
        let began = Instant::now();
        assert!(pace(2).another(&mut queue, 1, began).await.is_some());
        asking.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn patience_ends() {
        let (_commands, mut queue) = mpsc::channel(4);
        let mut pace = pace(2);
        pace.took(Duration::from_micros(20));
        assert!(pace.another(&mut queue, 1, Instant::now()).await.is_none());
    }
}
