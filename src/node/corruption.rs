//! Comparing hashes between members: equal revisions must hold equal records
//! (`--experimental-initial-corrupt-check`, `--corrupt-check-time`, `--compact-hash-check-time`; etcd `server/etcdserver/corrupt.go`).

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, error, info, warn};

use super::{Error, Handle, HashKv};
use crate::auth::Caller;
use crate::membership::MemberId;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::{AlarmRequest, AlarmType};
use crate::proto::quorate::peer::HashRequest;
use crate::proto::quorate::peer::peer_client::PeerClient;

/// How long a member may take to hash what it holds.
const PATIENCE: Duration = Duration::from_secs(30);

/// As the leader, compares with the others again and again, and raises the alarm for who differs.
pub(super) async fn watch(handle: Handle) {
    let every = handle.config().upkeep.corrupt_check_time;
    if every.is_zero() {
        return;
    }
    info!(interval = ?every, "enabled corruption checking");
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.reset();
    loop {
        tick.tick().await;
        if !handle.leads() {
            continue;
        }
        match different(&handle, 0).await {
            Ok(members) => {
                for member in members {
                    alarm(&handle, member).await;
                }
            }
            Err(error) => debug!(error = %error, "hashes were not compared"),
        }
    }
}

/// As the leader, compares what the last compaction left, once per compaction (etcd `CompactHashCheck`).
pub(super) async fn watch_compactions(handle: Handle) {
    let every = handle.config().upkeep.compact_check_time;
    if every.is_zero() {
        return;
    }
    info!(interval = ?every, "enabled compact hash checking");
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.reset();
    let mut checked = 0;
    loop {
        tick.tick().await;
        let compacted = handle.state().compact_revision();
        if !handle.leads() || compacted <= checked {
            continue;
        }
        match different(&handle, compacted).await {
            Ok(members) => {
                for member in members {
                    alarm(&handle, member).await;
                }
                info!(number_of_hashes_checked = 1, "finished compaction hash check");
                checked = compacted;
            }
            Err(error) => debug!(error = %error, "hashes were not compared"),
        }
    }
}

/// Compares once before clients are served; false, and the node ends, when others hold something
/// else at the same revision.
pub(super) async fn check_at_start(handle: &Handle) -> bool {
    if !handle.config().upkeep.initial_corrupt_check {
        return true;
    }
    let member = handle.member_id();
    info!(local_member_id = %member, timeout = ?PATIENCE, "starting initial corruption check");
    match different(handle, 0).await {
        Ok(members) if members.is_empty() => {
            info!(
                local_member_id = %member,
                "initial corruption checking passed; no corruption"
            );
            true
        }
        Ok(_) => {
            handle.0.fail(format!("{member} found data inconsistency with peers"));
            false
        }
        Err(error) => {
            warn!(error = %error, "hashes were not compared before serving");
            true
        }
    }
}

/// The members whose records up to a revision, 0 for this member's own, are others. Who does not answer, is not
/// that far, or has compacted differently cannot be compared.
async fn different(handle: &Handle, revision: i64) -> Result<Vec<MemberId>, Error> {
    let own = handle.hash_kv(revision).await?;
    let others: Vec<MemberId> = {
        let roster = handle.0.roster.load();
        roster.members.keys().copied().filter(|id| *id != handle.member_id()).collect()
    };
    let upto = if revision == 0 { own.revision } else { revision };
    let mut different = Vec::new();
    for peer in others {
        let Some(theirs) = ask(handle, peer, upto).await else { continue };
        if theirs.compact_revision == own.compact_revision && theirs.hash != own.hash {
            warn!(
                local_member_id = %handle.member_id(),
                local_member_revision = own.revision,
                local_member_compact_revision = own.compact_revision,
                local_member_hash = own.hash,
                remote_peer_id = %peer,
                remote_peer_compact_revision = theirs.compact_revision,
                remote_peer_hash = theirs.hash,
                "found different hash values from remote peer"
            );
            different.push(peer);
        }
    }
    Ok(different)
}

/// What a peer holds at a revision; `None` when it does not say.
async fn ask(handle: &Handle, peer: MemberId, revision: i64) -> Option<HashKv> {
    let channel = handle.0.peers.channel(peer)?;
    let envelope = Some(handle.0.identity.envelope(peer));
    let mut client = PeerClient::new(channel);
    let asked = client.hash(HashRequest { envelope, revision });
    let answer = match timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => answer.into_inner(),
        Ok(Err(status)) => {
            debug!(remote_peer_id = %peer, error = %status, "a peer gave no hash");
            return None;
        }
        Err(_) => return None,
    };
    let (hash, compact_revision) = (answer.hash, answer.compact_revision);
    answer.known.then_some(HashKv { hash, revision, compact_revision })
}

async fn alarm(handle: &Handle, member: MemberId) {
    error!(member.id = %member, "data corruption detected: the member holds other records than the leader");
    let raise = AlarmRequest {
        action: AlarmAction::Activate.into(),
        member_id: member.0,
        alarm: AlarmType::Corrupt.into(),
    };
    if let Err(error) = handle.propose(Caller::Cluster, raise).await {
        warn!(error = %error, "the alarm CORRUPT could not be raised");
    }
}
