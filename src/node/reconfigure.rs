//! What a membership change must meet before it is proposed (`--strict-reconfig-check`).

use std::time::Duration;

use super::Error;
use super::shared::Shared;
use crate::membership::{Member, MemberId};
use crate::proto::quorate::replica::MembershipChange;
use crate::proto::quorate::replica::membership_change::Kind;
use crate::raft::PeerProgress;

/// How long a peer must have been connected to count.
const CONNECTED_FOR: Duration = Duration::from_secs(5);

/// Refuses a change that could cost the cluster its quorum.
pub(super) fn check(shared: &Shared, change: &MembershipChange) -> Result<(), Error> {
    if !shared.config.strict_reconfig_check {
        return Ok(());
    }
    let members = shared.read().members();
    let voters: Vec<&Member> = members.iter().filter(|member| !member.learner).collect();
    let started = voters.iter().filter(|member| !member.name.is_empty()).count();
    match change.kind() {
        Kind::Add => {
            let lone = voters.len() == 1 && started == 1;
            if !lone && started < quorum(voters.len() + 1) {
                return Err(Error::NotEnoughStarted);
            }
            connected(shared, &voters, quorum(voters.len() + 1))
        }
        Kind::AddLearner => connected(shared, &voters, quorum(voters.len())),
        Kind::Remove => {
            let target = MemberId(change.member_id);
            let Some(member) = voters.iter().find(|member| member.id == target) else {
                return Ok(());
            };
            let left = started - usize::from(!member.name.is_empty());
            if left < quorum(voters.len() - 1) {
                return Err(Error::NotEnoughStarted);
            }
            Ok(())
        }
        Kind::Promote | Kind::Update => Ok(()),
    }
}

/// Whether a learner has matched at least nine tenths of what the leader itself holds: with less,
/// its vote would hold up the quorum until it has caught up.
pub(super) fn in_sync(progress: &[PeerProgress], id: MemberId) -> bool {
    let most = progress.iter().map(|peer| peer.matched.0).max().unwrap_or(0);
    progress.iter().any(|peer| peer.id == id && peer.matched.0.saturating_mul(10) >= most * 9)
}

fn connected(shared: &Shared, voters: &[&Member], needed: usize) -> Result<(), Error> {
    let others = voters.len().saturating_sub(1);
    if others == 0 || shared.peers.active(CONNECTED_FOR) + 1 >= needed.min(voters.len()) {
        return Ok(());
    }
    Err(Error::Unhealthy)
}

/// A majority; one more than half.
fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}
