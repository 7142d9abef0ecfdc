//! Watchers of one member: who wants which events, and who lags behind.

use crate::mvcc::Event;

/// All watchers of this member.
#[derive(Debug, Default)]
pub struct Hub {}

impl Hub {
    /// Offers the events of one revision to everybody who is in step. Called by the apply thread, in order;
    /// never waits: a watcher whose queue is full becomes unsynced and catches up from the store.
    pub fn publish(&self, revision: i64, events: &[Event]) {
        let _ = (revision, events);
    }
}
