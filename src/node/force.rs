//! Making a cluster of one out of a member of several, for when the others are lost for good
//! (`--force-new-cluster`; etcd `server/etcdserver/bootstrap.go`, `createConfChangeEnts`).

use prost::Message as _;
use tracing::warn;

use crate::membership::{MemberId, PeerUrl, Roster};
use crate::proto::quorate::replica::MembershipChange;
use crate::proto::quorate::replica::membership_change::Kind;
use crate::raft::{Entry, FOUNDING_TERM, HardState, Index, Mark, Payload};
use crate::replica::Persist;
use crate::wal::{self, Recovered, Wal};

/// Ends the log with entries that take everybody else out, committed by this member alone.
///
/// All that stands in the log counts as committed. Some of it may not have been; but what was acknowledged may be in the
/// part that this member does not know to be committed, and that must not be lost. (etcd drops it.)
pub(super) fn stand_alone(
    wal: &mut Wal,
    recovered: &mut Recovered,
    roster: &Roster,
    applied: Mark,
) -> Result<(), wal::Error> {
    let member = recovered.metadata.member;
    let logged = recovered.entries.last().map_or(recovered.base.index, |entry| entry.index);
    let commit = logged.max(applied.index);
    let term = recovered.hard_state.term.max(applied.term).max(FOUNDING_TERM);
    let changes = changes(member, roster, recovered);
    let mut last = commit;
    let entries: Vec<Entry> = changes
        .iter()
        .map(|change| {
            last = Index(last.0 + 1);
            let payload = Payload::Membership(change.encode_to_vec().into());
            Entry { term, index: last, payload }
        })
        .collect();
    warn!(
        cluster.id = %recovered.metadata.cluster,
        local_member_id = %member,
        commit_index = commit.0,
        "forcing a new cluster of this member alone"
    );
    let hard_state = HardState { term, commit: last, ..recovered.hard_state };
    wal.append(&Persist {
        entries: entries.clone(),
        hard_state: Some(hard_state),
        sync: true,
        ..Persist::default()
    });
    wal.sync()?;
    recovered.entries.extend(entries);
    recovered.hard_state = hard_state;
    Ok(())
}

/// Changes that leave this member alone, whatever holds now: those that have nothing to change change nothing.
fn changes(member: MemberId, roster: &Roster, recovered: &Recovered) -> Vec<MembershipChange> {
    let mut others: Vec<u64> = roster.members.keys().map(|id| id.0).collect();
    others.extend(recovered.metadata.roster.members.keys().map(|id| id.0));
    for entry in &recovered.entries {
        if let Payload::Membership(data) = &entry.payload
            && let Ok(change) = MembershipChange::decode(&data[..])
        {
            others.push(change.member_id);
        }
    }
    let change = |kind: Kind, member_id: u64| MembershipChange {
        kind: kind.into(),
        member_id,
        ..MembershipChange::default()
    };
    others.sort_unstable();
    others.dedup();
    others.retain(|id| *id != member.0 && !roster.removed.contains(&MemberId(*id)));
    let removals = others.into_iter().map(|id| change(Kind::Remove, id));
    if roster.members.get(&member).is_some_and(|entry| !entry.learner) {
        return removals.collect();
    }
    let known = |roster: &Roster| roster.members.get(&member).map(|entry| entry.peer_urls.clone());
    let urls = known(roster).or_else(|| known(&recovered.metadata.roster)).unwrap_or_default();
    let add = MembershipChange {
        peer_urls: urls.iter().map(PeerUrl::to_string).collect(),
        ..change(Kind::Add, member.0)
    };
    let promote = change(Kind::Promote, member.0);
    [add, promote].into_iter().chain(removals).collect()
}
