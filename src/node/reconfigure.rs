//! What a membership change must meet before it is proposed (`--strict-reconfig-check`).

use std::time::Duration;

use super::Error;
use super::shared::Shared;
use crate::membership::MemberId;
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
    let (since, this) = (shared.peers.connected_since(), shared.identity.member);
    let link = |id: MemberId| match since.get(&id).copied().flatten() {
        _ if id == this => Link::Steady,
        Some(since) if since.elapsed() >= CONNECTED_FOR => Link::Steady,
        Some(_) => Link::Fresh,
        None => Link::Down,
    };
    let members = shared.read().members();
    let voters = members.iter().filter(|member| !member.learner);
    let voters: Vec<Voter> = voters
        .map(|member| Voter {
            id: member.id,
            started: !member.name.is_empty(),
            link: link(member.id),
        })
        .collect();
    judge(change.kind(), MemberId(change.member_id), &voters)
}

/// A member with a vote, as the checks see it.
#[derive(Debug, Clone, Copy)]
struct Voter {
    id: MemberId,
    /// It has told its name.
    started: bool,
    link: Link,
}

/// How this member reaches another; itself always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    /// Connected, and not for long enough to count on it.
    Fresh,
    Steady,
}

/// etcd's `mayAddMember`, `mayRemoveMember` and `mayPromoteMember` (`server/etcdserver/server.go` of 3.5.30, 3.6.14
/// and 3.7.1).
fn judge(kind: Kind, target: MemberId, voters: &[Voter]) -> Result<(), Error> {
    let started = voters.iter().filter(|voter| voter.started).count();
    let steady = voters.iter().filter(|voter| voter.link == Link::Steady).count();
    match kind {
        Kind::Add | Kind::AddLearner => {
            let lone = voters.len() == 1 && started == 1;
            if kind == Kind::Add && !lone && started < quorum(voters.len() + 1) {
                return Err(Error::NotEnoughStarted);
            }
            // The new one counts as down: what is connected now has to be a quorum with it as well.
            let enough = voters.len() == 1 || steady >= quorum(voters.len() + 1);
            if enough { Ok(()) } else { Err(Error::Unhealthy) }
        }
        Kind::Remove => {
            let Some(voter) = voters.iter().find(|voter| voter.id == target) else {
                return Ok(());
            };
            if started - usize::from(voter.started) < quorum(voters.len() - 1) {
                return Err(Error::NotEnoughStarted);
            }
            // Who is down is no part of the quorum that is at work. Of the others one less has to do.
            let down = voter.link == Link::Down;
            if !down && steady.saturating_sub(1) < quorum(voters.len() - 1) {
                return Err(Error::Unhealthy);
            }
            Ok(())
        }
        Kind::Promote if started + 1 < quorum(voters.len() + 1) => Err(Error::NotEnoughStarted),
        Kind::Promote | Kind::Update => Ok(()),
    }
}

/// Whether this member, which leads, finds that a learner may have a vote.
pub(super) fn in_sync(shared: &Shared, id: MemberId) -> bool {
    let in_sync = has_matched(&shared.progress.load(), id);
    if !in_sync && shared.roster.load().members.get(&id).is_some_and(|entry| entry.learner) {
        shared.metrics.labelled().learner_not_ready();
    }
    in_sync
}

/// Whether a learner has matched at least nine tenths of what the leader itself holds: with less,
/// its vote would hold up the quorum until it has caught up.
fn has_matched(progress: &[PeerProgress], id: MemberId) -> bool {
    let most = progress.iter().map(|peer| peer.matched.0).max().unwrap_or(0);
    progress.iter().any(|peer| peer.id == id && peer.matched.0.saturating_mul(10) >= most * 9)
}

/// A majority; one more than half.
fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` is a voter that is connected, `~` one that is since a moment ago, `-` one that is down, `o` one
    /// that has never started.
    fn answer(kind: Kind, target: u64, voters: &str) -> &'static str {
        let voters = voters.chars().zip(1..).map(|(state, id)| Voter {
            id: MemberId(id),
            started: state != 'o',
            link: match state {
                '+' => Link::Steady,
                '~' => Link::Fresh,
                _ => Link::Down,
            },
        });
        match judge(kind, MemberId(target), &voters.collect::<Vec<_>>()) {
            Ok(()) => "yes",
            Err(Error::Unhealthy) => "unhealthy",
            Err(Error::NotEnoughStarted) => "not started",
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn nobody_is_removed_whom_the_quorum_needs() {
        let remove = |target, voters| answer(Kind::Remove, target, voters);
        // Two of five are down: a third must stay, the two may go.
        assert_eq!(remove(2, "+++--"), "unhealthy");
        assert_eq!(remove(1, "+++--"), "unhealthy", "nor this member itself");
        assert_eq!(remove(5, "+++--"), "yes");
        assert_eq!(remove(2, "++++-"), "yes");
        assert_eq!(remove(2, "++-"), "unhealthy");
        assert_eq!(remove(3, "++-"), "yes");
        assert_eq!(remove(3, "+++"), "yes");
        assert_eq!(remove(3, "+~~"), "unhealthy", "right after a start");
        assert_eq!(remove(2, "++"), "yes");
        assert_eq!(remove(2, "+o"), "yes");
        assert_eq!(remove(1, "+o"), "not started");
        assert_eq!(remove(2, "++o"), "not started");
        assert_eq!(remove(9, "+--"), "yes", "a learner has no vote");
    }

    #[test]
    fn somebody_is_added_if_those_who_are_there_stay_a_quorum() {
        for kind in [Kind::Add, Kind::AddLearner] {
            let add = |voters| answer(kind, 9, voters);
            assert_eq!(add("+"), "yes");
            assert_eq!(add("+++"), "yes");
            assert_eq!(add("++-"), "unhealthy", "two of four are none");
            assert_eq!(add("++~"), "unhealthy");
            assert_eq!(add("+++-"), "yes");
            assert_eq!(add("+++o"), "yes", "one has not been started yet");
            assert_eq!(add("++++-"), "yes");
            assert_eq!(add("+++--"), "unhealthy");
            assert_eq!(add("++++~"), "yes");
        }
        assert_eq!(answer(Kind::AddLearner, 9, "+o"), "unhealthy");
        assert_eq!(answer(Kind::Add, 9, "+o"), "not started");
        assert_eq!(answer(Kind::Add, 9, "++oo"), "not started", "before it is asked who is there");
        assert_eq!(answer(Kind::Promote, 9, "+oo"), "not started");
        assert_eq!(answer(Kind::Promote, 9, "++-"), "yes");
    }
}
