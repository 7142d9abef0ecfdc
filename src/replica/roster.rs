//! What a committed membership change does. Every member decides alike, from the log alone.

use super::MembershipError;
use crate::membership::{MemberId, PeerUrl, Roster, RosterEntry};
use crate::proto::quorate::replica::MembershipChange;
use crate::proto::quorate::replica::membership_change::Kind;
use crate::raft::ConfOp;

/// Carries out a change; says what consensus has to do about it. An invalid one changes nothing.
pub(super) fn apply(
    roster: &mut Roster,
    change: &MembershipChange,
    max_learners: usize,
) -> Result<Option<ConfOp>, MembershipError> {
    let id = MemberId(change.member_id);
    let kind = Kind::try_from(change.kind).map_err(|_unknown| MembershipError::Malformed)?;
    if id == MemberId(0) && matches!(kind, Kind::Add | Kind::AddLearner) {
        return Err(MembershipError::Malformed);
    }
    if roster.removed.contains(&id) {
        return Err(MembershipError::NotFound(id));
    }
    match kind {
        Kind::Add | Kind::AddLearner => add(roster, id, change, kind, max_learners).map(Some),
        Kind::Promote => promote(roster, id).map(Some),
        Kind::Remove => remove(roster, id).map(Some),
        Kind::Update => update(roster, id, change).map(|()| None),
    }
}

fn add(
    roster: &mut Roster,
    id: MemberId,
    change: &MembershipChange,
    kind: Kind,
    max_learners: usize,
) -> Result<ConfOp, MembershipError> {
    if roster.members.contains_key(&id) {
        return Err(MembershipError::IdExists(id));
    }
    let peer_urls = free_urls(roster, id, change)?;
    let learner = kind == Kind::AddLearner;
    if learner && roster.learners().count() >= max_learners {
        return Err(MembershipError::TooManyLearners);
    }
    roster.members.insert(id, RosterEntry { peer_urls, learner });
    Ok(if learner { ConfOp::Learner(id) } else { ConfOp::Voter(id) })
}

fn promote(roster: &mut Roster, id: MemberId) -> Result<ConfOp, MembershipError> {
    let entry = roster.members.get_mut(&id).ok_or(MembershipError::NotFound(id))?;
    if !entry.learner {
        return Err(MembershipError::NotLearner(id));
    }
    entry.learner = false;
    Ok(ConfOp::Voter(id))
}

fn remove(roster: &mut Roster, id: MemberId) -> Result<ConfOp, MembershipError> {
    if !roster.members.contains_key(&id) {
        return Err(MembershipError::NotFound(id));
    }
    if roster.voters().eq([id]) {
        return Err(MembershipError::LastVoter(id));
    }
    roster.members.remove(&id);
    roster.removed.insert(id);
    Ok(ConfOp::Remove(id))
}

fn update(
    roster: &mut Roster,
    id: MemberId,
    change: &MembershipChange,
) -> Result<(), MembershipError> {
    if !roster.members.contains_key(&id) {
        return Err(MembershipError::NotFound(id));
    }
    let peer_urls = free_urls(roster, id, change)?;
    let entry = roster.members.get_mut(&id).ok_or(MembershipError::NotFound(id))?;
    entry.peer_urls = peer_urls;
    Ok(())
}

/// The URLs of a change, sorted, if no other member has one of them.
fn free_urls(
    roster: &Roster,
    id: MemberId,
    change: &MembershipChange,
) -> Result<Vec<PeerUrl>, MembershipError> {
    let parsed: Result<Vec<PeerUrl>, _> =
        change.peer_urls.iter().map(|url| PeerUrl::parse(url)).collect();
    let mut urls = parsed.map_err(|_syntax| MembershipError::Malformed)?;
    urls.sort_unstable();
    let others = roster.members.iter().filter(|(other, _)| **other != id);
    let taken = |url: &&PeerUrl| others.clone().any(|(_, entry)| entry.peer_urls.contains(url));
    match urls.iter().find(taken) {
        Some(url) => Err(MembershipError::PeerUrlExists(url.to_string())),
        None => Ok(urls),
    }
}
