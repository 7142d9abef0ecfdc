//! Why a request was not applied in time, as etcd tells it (`server/etcdserver/v3_server.go`, `parseProposeCtxErr`).

use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use super::shared::Shared;
use super::{Error, Handle};

/// Looks at those who wait, in the time of a request. A timer for each request would cost each of them more.
const LOOKS: u32 = 32;

/// Tells those whose time is over that it is, and all of them when the node stops.
pub(super) async fn run(handle: Handle) {
    let (shared, timeout) = (&handle.0, handle.timeout());
    let mut look = interval(timeout / LOOKS);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = shared.stop.cancelled() => return shared.waiters.close(),
        }
        let Some(then) = Instant::now().checked_sub(timeout) else { continue };
        for waiter in shared.waiters.take_since(then) {
            shared.metrics.proposal_failed();
            let begun = Begun { at: waiter.since, led: waiter.led };
            // A client that gave up needs no answer.
            drop(waiter.reply.send(Err(begun.too_late(shared))));
        }
    }
}

/// What is known of a request from its beginning.
#[derive(Debug, Clone, Copy)]
struct Begun {
    at: Instant,
    led: bool,
}

impl Begun {
    /// What the client is told; its time is over.
    fn too_late(self, shared: &Shared) -> Error {
        let elected = *shared.elected.lock();
        let leader = shared.status.borrow().leader;
        self.judge(elected, shared.config.election, leader.is_some(), || {
            let connected = shared.peers.connected_since();
            let reached = |since: &Option<Instant>| since.is_some_and(|since| since <= self.at);
            match leader {
                Some(id) if id != shared.identity.member => connected.get(&id).is_some_and(reached),
                _ => {
                    let there = 1 + connected.values().filter(|since| reached(since)).count();
                    there > shared.roster.load().members.len() / 2
                }
            }
        })
    }

    fn judge(
        self,
        elected: Option<Instant>,
        election: Duration,
        led: bool,
        connected: impl FnOnce() -> bool,
    ) -> Error {
        if elected.is_some_and(|elected| self.at < elected && elected < self.at + 2 * election) {
            return Error::TimeoutLeaderLost;
        }
        match (self.led, led) {
            // There etcd's consensus did not even take it.
            (false, false) => Error::TimeoutNoLeader,
            (_, true) if !connected() => Error::TimeoutConnectionLost,
            _ => Error::Timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELECTION: Duration = Duration::from_secs(1);

    fn told(begun_led: bool, elected_after: Option<u64>, led: bool, connected: bool) -> String {
        let begun = Begun { at: Instant::now(), led: begun_led };
        let elected = elected_after.map(|after| begun.at + Duration::from_millis(after));
        format!("{:?}", begun.judge(elected, ELECTION, led, || connected))
    }

    #[test]
    fn the_reason_is_what_happened_to_the_leader() {
        assert_eq!(told(true, None, true, true), "Timeout");
        assert_eq!(told(true, None, true, false), "TimeoutConnectionLost");
        assert_eq!(told(true, None, false, false), "Timeout", "it was lost meanwhile");
        assert_eq!(told(false, None, false, false), "TimeoutNoLeader");
        assert_eq!(told(false, None, true, true), "Timeout");
        assert_eq!(told(true, Some(1500), true, true), "TimeoutLeaderLost");
        assert_eq!(told(true, Some(2500), true, true), "Timeout", "not shortly before");
    }
}
