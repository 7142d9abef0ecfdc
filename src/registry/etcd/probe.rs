use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tonic::Status;

use super::client::Client;
use super::head_key;
use crate::proto::etcdserverpb as pb;

/// How often the store is asked whether it is there, while nobody has to write.
const EVERY: Duration = Duration::from_secs(2);

/// Asks now and then whether the store still answers.
#[derive(Debug)]
pub(super) struct Probe {
    due: Interval,
    /// Whether the store answered last time.
    answered: bool,
}

impl Probe {
    pub(super) fn start() -> Self {
        let mut due = interval_at(Instant::now() + EVERY, EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { due, answered: true }
    }

    /// Reads the head when it is time to; can be given up at any point.
    ///
    /// A store that answered so far has as much time as for a write, which is enough to elect a new
    /// leader. One that is known to be silent is not asked again and again.
    pub(super) async fn head(
        &mut self,
        client: &Client,
        prefix: &str,
    ) -> Result<pb::RangeResponse, Status> {
        self.due.tick().await;
        let question =
            pb::RangeRequest { key: head_key(prefix).into(), ..pb::RangeRequest::default() };
        let answer = match self.answered {
            true => client.range(question).await,
            false => client.range_once(question).await,
        };
        self.answered = answer.is_ok();
        answer
    }

    /// Waits for the next turn to ask a store that did not answer otherwise.
    pub(super) async fn turn(&mut self) {
        if !self.answered {
            self.due.tick().await;
        }
    }

    pub(super) fn met(&mut self, answered: bool) {
        self.answered = answered;
    }
}
