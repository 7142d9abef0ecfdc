//! Questions that only the leader can answer, asked over the peer port.

use std::time::Duration;

use tonic::Status;
use tonic::transport::Channel;

use super::shared::Shared;
use super::{Error, Handle, lease_clock, reconfigure};
use crate::lease::LeaseId;
use crate::membership::MemberId;
use crate::proto::quorate::peer::peer_client::PeerClient;
use crate::proto::quorate::peer::{
    Envelope, LearnerProgressRequest, LeaseRemainingRequest, LeaseRenewRequest,
};

/// Wait before a question is asked again that nobody answered; a leader that is news ends it.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// For each lease its granted seconds, `None` when the leader knows no such lease. Asked once.
pub(super) async fn renew(
    shared: &Shared,
    leader: MemberId,
    ids: &[LeaseId],
) -> Result<Vec<Result<Option<i64>, Error>>, Error> {
    let (envelope, mut client) = way_to(shared, leader)?;
    let ids = ids.iter().map(|id| id.0).collect();
    let request = LeaseRenewRequest { envelope: Some(envelope), ids };
    let ttls = client.lease_renew(request).await.map_err(unanswered)?.into_inner().ttls;
    let renewed = |ttl| match ttl {
        0 => Ok(None),
        1.. => Ok(Some(ttl)),
        _ => Err(Error::Timeout),
    };
    Ok(ttls.into_iter().map(renewed).collect())
}

/// Seconds left and granted, `None` when the leader knows no such lease.
pub(super) async fn remaining(handle: &Handle, id: LeaseId) -> Result<Option<(i64, i64)>, Error> {
    let question = move |leader| async move {
        let Leader::Other(envelope, mut client) = leader else {
            return lease_clock::remaining(handle, id).await;
        };
        let request = LeaseRemainingRequest { envelope: Some(envelope), id: id.0 };
        let answer = client.lease_remaining(request).await.map_err(unanswered)?.into_inner();
        Ok((answer.ttl >= 0).then_some((answer.ttl, answer.granted_ttl)))
    };
    ask(handle, question).await
}

/// Whether the leader finds that a learner holds nearly all of its log.
pub(super) async fn learner_in_sync(handle: &Handle, id: MemberId) -> Result<bool, Error> {
    let question = move |leader| async move {
        let Leader::Other(envelope, mut client) = leader else {
            return Ok(reconfigure::in_sync(&handle.0, id));
        };
        let request = LearnerProgressRequest { envelope: Some(envelope), member_id: id.0 };
        let answer = client.learner_progress(request).await.map_err(unanswered)?;
        Ok(answer.into_inner().in_sync)
    };
    ask(handle, question).await
}

/// Whoever leads.
enum Leader {
    This,
    Other(Envelope, PeerClient<Channel>),
}

/// Puts a question to whoever leads, and again, until it is answered or the time of a request is over.
///
/// A leader that died is believed in for a while, and then there is none until another is elected: who asks need
/// not know of that (etcd `LeaseTimeToLive`, `PromoteMember`). `NoLeader` as an answer is none.
async fn ask<T, F: Future<Output = Result<T, Error>>>(
    handle: &Handle,
    question: impl Fn(Leader) -> F,
) -> Result<T, Error> {
    let shared = &handle.0;
    let mut status = shared.status.subscribe();
    let asking = async {
        loop {
            let led = status.wait_for(|status| status.leader.is_some()).await;
            let Some(id) = led.map_err(|_closed| Error::Stopped)?.leader else { continue };
            let asking = async {
                if handle.leads() {
                    return question(Leader::This).await;
                }
                let (envelope, client) = way_to(shared, id)?;
                question(Leader::Other(envelope, client)).await
            };
            let moved = status.wait_for(|status| status.leader != Some(id));
            tokio::select! {
                answer = asking => match answer {
                    Err(Error::NoLeader) => {}
                    answer => return answer,
                },
                _ = moved => continue,
            }
            let moved = status.wait_for(|status| status.leader != Some(id));
            // Either will do.
            drop(tokio::time::timeout(PAUSE, moved).await);
        }
    };
    tokio::select! {
        answer = tokio::time::timeout(handle.timeout(), asking) => {
            answer.unwrap_or_else(|_elapsed| Err(handle.unanswered()))
        }
        () = shared.stop.cancelled() => Err(Error::Stopped),
    }
}

fn way_to(shared: &Shared, leader: MemberId) -> Result<(Envelope, PeerClient<Channel>), Error> {
    let channel = shared.peers.channel(leader).ok_or(Error::NoLeader)?;
    Ok((shared.identity.envelope(leader), PeerClient::new(channel)))
}

/// Whatever kept it from answering: it does not lead for whoever asked.
fn unanswered(_: Status) -> Error {
    Error::NoLeader
}
