use std::future::pending;

use tokio::time::Interval;
use tonic::metadata::MetadataMap;

use super::{every, needs_leader};
use crate::node::Handle;

/// Election timeouts without a leader after which a stream that needs one ends (etcd `maxNoLeaderCnt`).
const LEADERLESS: u32 = 3;

/// Looks once per election timeout whether there is a leader, for a stream whose client would rather go elsewhere.
#[derive(Debug)]
pub(super) struct Led {
    /// `None` when the client does not mind.
    ticks: Option<Interval>,
    without: u32,
}

impl Led {
    pub(super) fn of(handle: &Handle, metadata: &MetadataMap) -> Self {
        let ticks = needs_leader(metadata).then(|| every(handle.config().election));
        Self { ticks, without: 0 }
    }

    /// Ends when there has been no leader for too long. What it has seen is not forgotten when it is dropped.
    pub(super) async fn lost(&mut self, handle: &Handle) {
        let Some(ticks) = &mut self.ticks else { return pending().await };
        while self.without < LEADERLESS {
            ticks.tick().await;
            self.without = if handle.leader().is_some() { 0 } else { self.without + 1 };
        }
    }
}
