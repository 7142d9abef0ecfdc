//! Questions that only the leader can answer, asked over the peer port.

use tonic::transport::Channel;

use super::Error;
use super::shared::Shared;
use crate::lease::LeaseId;
use crate::membership::MemberId;
use crate::proto::quorate::peer::peer_client::PeerClient;
use crate::proto::quorate::peer::{
    LearnerProgressRequest, LeaseRemainingRequest, LeaseRenewRequest,
};

/// For each lease its granted seconds, `None` when the leader knows no such lease.
pub(super) async fn renew(
    shared: &Shared,
    ids: &[LeaseId],
) -> Result<Vec<Result<Option<i64>, Error>>, Error> {
    let (leader, mut client) = at_leader(shared).await?;
    let envelope = Some(shared.identity.envelope(leader));
    let ids = ids.iter().map(|id| id.0).collect();
    let answer = client.lease_renew(LeaseRenewRequest { envelope, ids }).await;
    let ttls = answer.map_err(|_status| Error::NoLeader)?.into_inner().ttls;
    let renewed = |ttl| match ttl {
        0 => Ok(None),
        1.. => Ok(Some(ttl)),
        _ => Err(Error::Timeout),
    };
    Ok(ttls.into_iter().map(renewed).collect())
}

/// Seconds left and granted, `None` when the leader knows no such lease.
pub(super) async fn remaining(shared: &Shared, id: LeaseId) -> Result<Option<(i64, i64)>, Error> {
    let (leader, mut client) = at_leader(shared).await?;
    let envelope = Some(shared.identity.envelope(leader));
    let answer = client.lease_remaining(LeaseRemainingRequest { envelope, id: id.0 }).await;
    let answer = answer.map_err(|_status| Error::NoLeader)?.into_inner();
    Ok((answer.ttl >= 0).then_some((answer.ttl, answer.granted_ttl)))
}

/// Whether the leader finds that a learner holds nearly all of its log.
pub(super) async fn learner_in_sync(shared: &Shared, id: MemberId) -> Result<bool, Error> {
    let (leader, mut client) = at_leader(shared).await?;
    let envelope = Some(shared.identity.envelope(leader));
    let request = LearnerProgressRequest { envelope, member_id: id.0 };
    let answer = client.learner_progress(request).await;
    Ok(answer.map_err(|_status| Error::NoLeader)?.into_inner().in_sync)
}

/// Waits for a leader as long as a request may take, then opens the way to it.
async fn at_leader(shared: &Shared) -> Result<(MemberId, PeerClient<Channel>), Error> {
    let mut status = shared.status.subscribe();
    let known = status.wait_for(|status| status.leader.is_some());
    let leader = match tokio::time::timeout(shared.config.election, known).await {
        Ok(Ok(status)) => status.leader.ok_or(Error::NoLeader)?,
        Ok(Err(_)) => return Err(Error::Stopped),
        Err(_) => return Err(Error::NoLeader),
    };
    let channel = shared.peers.channel(leader).ok_or(Error::NoLeader)?;
    Ok((leader, PeerClient::new(channel)))
}
