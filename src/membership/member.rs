use std::collections::{BTreeMap, BTreeSet};

use super::{MemberId, PeerUrl};

/// A member as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: MemberId,
    /// Empty until the member has started and published it.
    pub name: String,
    pub peer_urls: Vec<String>,
    /// Empty until the member has started and published them.
    pub client_urls: Vec<String>,
    /// Receives the log, does not vote.
    pub learner: bool,
}

/// The members that consensus knows, and the ids that may never return.
///
/// Invariant: `members` and `removed` have no id in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    pub members: BTreeMap<MemberId, RosterEntry>,
    pub removed: BTreeSet<MemberId>,
}

/// What consensus knows of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterEntry {
    pub peer_urls: Vec<PeerUrl>,
    pub learner: bool,
}

impl Roster {
    /// The voting members, ascending.
    pub fn voters(&self) -> impl Iterator<Item = MemberId> {
        self.members.iter().filter(|(_, entry)| !entry.learner).map(|(id, _)| *id)
    }

    /// The members that only receive the log, ascending.
    pub fn learners(&self) -> impl Iterator<Item = MemberId> {
        self.members.iter().filter(|(_, entry)| entry.learner).map(|(id, _)| *id)
    }
}
