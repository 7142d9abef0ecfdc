use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;
use tokio::sync::{Notify, oneshot};

use super::{Error, Handle, at_leader};
use crate::lease::LeaseId;

/// How many leases are renewed with one question.
const TOGETHER: usize = 1024;

/// Renewals of leases on their way to the leader.
///
/// One question is under way at a time, and the renewals that come meanwhile go with the next one, so
/// that many clients cost little more than one. When another member leads, they are asked for again
/// there: to renew twice is to renew.
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
        let renewal = Renewal { id, reply };
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(renewal);
        self.wanted.notify_one();
        answer
    }

    fn take(&self) -> Vec<Renewal> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let together = waiting.len().min(TOGETHER);
        waiting.drain(..together).collect()
    }
}

/// Asks for what waits, as long as the node runs.
pub(super) async fn run(handle: Handle) {
    let renewals = &handle.0.renewals;
    loop {
        renewals.wanted.notified().await;
        loop {
            let waiting = renewals.take();
            if waiting.is_empty() {
                break;
            }
            pass(&handle, waiting).await;
        }
    }
}

/// Renews leases at whoever leads, and answers those who wait for it.
async fn pass(handle: &Handle, mut waiting: Vec<Renewal>) {
    let mut status = handle.0.status.subscribe();
    loop {
        // Who gave up needs no answer.
        waiting.retain(|renewal| !renewal.reply.is_closed());
        if waiting.is_empty() {
            return;
        }
        let ids: Vec<LeaseId> = waiting.iter().map(|renewal| renewal.id).collect();
        let asked = status.borrow_and_update().leader;
        let asking = async {
            if handle.leads() {
                return Ok(renew_here(handle, &ids).await);
            }
            at_leader::renew(&handle.0, &ids).await
        };
        let moved = status.wait_for(|status| asked.is_some() && status.leader != asked);
        let asking = tokio::time::timeout(handle.timeout(), asking);
        let renewed = tokio::select! {
            renewed = asking => renewed.unwrap_or(Err(Error::Timeout)),
            Ok(_) = moved => continue,
        };
        match renewed {
            Ok(renewed) => {
                for (renewal, renewed) in waiting.into_iter().zip(renewed) {
                    drop(renewal.reply.send(renewed));
                }
            }
            Err(error) => {
                for renewal in waiting {
                    drop(renewal.reply.send(Err(error.clone())));
                }
            }
        }
        return;
    }
}

/// Renews leases on this member, which leads.
pub(super) async fn renew_here(handle: &Handle, ids: &[LeaseId]) -> Vec<Renewed> {
    join_all(ids.iter().map(|id| handle.lease_renew_here(*id))).await
}
