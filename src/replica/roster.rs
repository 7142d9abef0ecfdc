//! What a committed membership change does. Every member decides alike, from the log alone.
//!
//! The one exception are learners that were proposed before a change said how many there may be: they are judged by
//! the limit of each member, as they were then.

use super::MembershipError;
use crate::membership::{MemberId, PeerUrl, Roster, RosterEntry};
use crate::proto::quorate::replica::MembershipChange;
use crate::proto::quorate::replica::membership_change::Kind;
use crate::raft::ConfOp;

/// Carries out a change; says what consensus has to do about it. An invalid one changes nothing.
///
/// `own_max_learners` counts only where the change does not say.
pub(super) fn apply(
    roster: &mut Roster,
    change: &MembershipChange,
    own_max_learners: usize,
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
        Kind::Add | Kind::AddLearner => add(roster, id, change, kind, own_max_learners).map(Some),
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
    own_max_learners: usize,
) -> Result<ConfOp, MembershipError> {
    if roster.members.contains_key(&id) {
        return Err(MembershipError::IdExists(id));
    }
    let peer_urls = free_urls(roster, id, change)?;
    let learner = kind == Kind::AddLearner;
    let own = own_max_learners as u64;
    if learner && roster.learners().count() as u64 >= change.max_learners.unwrap_or(own) {
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

/// The URLs of a change, if no other member has one of them.
fn free_urls(
    roster: &Roster,
    id: MemberId,
    change: &MembershipChange,
) -> Result<Vec<PeerUrl>, MembershipError> {
    let parsed: Result<Vec<PeerUrl>, _> =
        change.peer_urls.iter().map(|url| PeerUrl::parse(url)).collect();
    let urls = parsed.map_err(|_syntax| MembershipError::Malformed)?;
    let others = roster.members.iter().filter(|(other, _)| **other != id);
    let taken = |url: &&PeerUrl| others.clone().any(|(_, entry)| entry.peer_urls.contains(url));
    match urls.iter().find(taken) {
        Some(url) => Err(MembershipError::PeerUrlExists(url.to_string())),
        None => Ok(urls),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learner(id: u64, max_learners: Option<u64>) -> MembershipChange {
        MembershipChange {
            id: 0,
            kind: Kind::AddLearner.into(),
            member_id: id,
            peer_urls: vec![format!("http://h:{id}")],
            max_learners,
        }
    }

    /// As while `--max-learners` is changed on one member after the other.
    #[test]
    fn members_with_different_limits_decide_alike() {
        let changes = [learner(1, Some(2)), learner(2, Some(2)), learner(3, Some(2))];
        let [low, high] = [0, 9].map(|own| {
            let mut roster = Roster::default();
            let outcomes = changes.iter().map(|change| apply(&mut roster, change, own));
            let outcomes: Vec<_> = outcomes.collect();
            (outcomes, roster)
        });
        assert_eq!(low, high);
        assert_eq!(low.0[1], Ok(Some(ConfOp::Learner(MemberId(2)))));
        assert_eq!(low.0[2], Err(MembershipError::TooManyLearners));
    }

    #[test]
    fn urls_stay_in_the_order_in_which_they_are_given() {
        let mut roster = Roster::default();
        apply(&mut roster, &learner(1, None), 1).unwrap();
        let peer_urls = ["http://b:1", "http://a:1"].map(str::to_owned).to_vec();
        let change = MembershipChange { kind: Kind::Update.into(), peer_urls, ..learner(1, None) };
        apply(&mut roster, &change, 1).unwrap();
        let urls = &roster.members[&MemberId(1)].peer_urls;
        assert_eq!(
            urls.iter().map(PeerUrl::as_str).collect::<Vec<_>>(),
            ["http://b:1", "http://a:1"]
        );
    }

    #[test]
    fn a_change_of_before_is_judged_by_the_own_limit() {
        let mut roster = Roster::default();
        assert!(apply(&mut roster, &learner(1, None), 1).is_ok());
        let refused = apply(&mut roster, &learner(2, None), 1);
        assert_eq!(refused, Err(MembershipError::TooManyLearners));
    }
}
