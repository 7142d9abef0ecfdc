use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::{Error, Handle, leader_client};
use crate::lease::LeaseId;
use crate::membership::MemberId;

/// How many leases are renewed with one question.
const TOGETHER: usize = 1024;

/// Renewals of leases on their way to the leader.
///
/// One question is under way at a time, and the renewals that come meanwhile go with the next one, so
/// that many clients cost little more than one. Without a leader they wait for the next, and what was not answered
/// goes with the next question, wherever that is put: to renew twice is to renew. How long somebody waits is his
/// own affair.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    waiting: Mutex<Vec<Renewal>>,
    wanted: Notify,
}

/// Granted seconds, `None` when there is no such lease.
type Renewed = Result<Option<i64>, Error>;

#[derive(Debug)]
struct Renewal {
    id: LeaseId,
    reply: oneshot::Sender<Renewed>,
}

impl Renewals {
    /// Queues for the next question.
    pub(super) fn wait(&self, id: LeaseId) -> oneshot::Receiver<Renewed> {
        let (reply, answer) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        // Without a leader nobody takes any. Who gave up goes before the table grows.
        if waiting.len() == waiting.capacity() {
            forget_closed(&mut waiting);
        }
        waiting.push(Renewal { id, reply });
        drop(waiting);
        self.wanted.notify_one();
        answer
    }

    fn take(&self) -> Vec<Renewal> {
        let mut waiting = self.waiting.lock();
        forget_closed(&mut waiting);
        let together = waiting.len().min(TOGETHER);
        waiting.drain(..together).collect()
    }

    fn put_back(&self, renewals: Vec<Renewal>) {
        self.waiting.lock().splice(..0, renewals);
    }
}

/// Who gave up needs no answer.
fn forget_closed(waiting: &mut Vec<Renewal>) {
    waiting.retain(|renewal| !renewal.reply.is_closed());
}

/// Asks for what waits, as long as the node runs.
pub(super) async fn run(handle: Handle) {
    let renewals = &handle.0.renewals;
    let mut status = handle.0.status.subscribe();
    loop {
        renewals.wanted.notified().await;
        loop {
            let led = status.wait_for(|status| status.leader.is_some()).await;
            let Ok(Some(leader)) = led.map(|status| status.leader) else { return };
            let waiting = renewals.take();
            if waiting.is_empty() {
                break;
            }
            let again = pass(&handle, leader, waiting).await;
            if !again.is_empty() {
                renewals.put_back(again);
                let moved = status.wait_for(|status| status.leader != Some(leader));
                // Either will do.
                drop(timeout(leader_client::PAUSE, moved).await);
            }
        }
    }
}

/// Renews leases at the leader and answers those who wait for it; the others are to be asked for again.
async fn pass(handle: &Handle, leader: MemberId, waiting: Vec<Renewal>) -> Vec<Renewal> {
    let ids: Vec<LeaseId> = waiting.iter().map(|renewal| renewal.id).collect();
    let mut status = handle.0.status.subscribe();
    let asking = async {
        if handle.leads() {
            return Ok(renew_here(handle, &ids).await);
        }
        leader_client::renew(&handle.0, leader, &ids).await
    };
    let renewed = tokio::select! {
        renewed = timeout(handle.timeout(), asking) => renewed.unwrap_or(Err(Error::Timeout)),
        _ = status.wait_for(|status| status.leader != Some(leader)) => Err(Error::NoLeader),
    };
    let Ok(renewed) = renewed else { return waiting };
    let mut again = Vec::new();
    for (renewal, renewed) in waiting.into_iter().zip(renewed) {
        match renewed {
            Err(Error::NoLeader) => again.push(renewal),
            renewed => drop(renewal.reply.send(renewed)),
        }
    }
    again
}

/// Renews leases on this member, which leads.
pub(super) async fn renew_here(handle: &Handle, ids: &[LeaseId]) -> Vec<Renewed> {
    join_all(ids.iter().map(|id| handle.lease_renew_here(*id))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_try_again_without_a_leader_take_no_room() {
        let renewals = Renewals::default();
        let patient = renewals.wait(LeaseId(1));
        for _ in 0..10_000 {
            drop(renewals.wait(LeaseId(2)));
        }
        assert!(renewals.waiting.lock().capacity() < 100, "{}", renewals.waiting.lock().capacity());
        let waiting = renewals.take();
        assert_eq!(waiting.iter().map(|renewal| renewal.id).collect::<Vec<_>>(), [LeaseId(1)]);
        drop(patient);
    }
}
