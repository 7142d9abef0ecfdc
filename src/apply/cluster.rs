use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use crate::membership::{Member, MemberId, PeerUrl, Roster, RosterEntry};
use crate::mvcc::{Storage, StorageError};
use crate::proto::quorate::replica;

/// Where the storage keeps the members consensus knows.
pub const ROSTER: &[u8] = b"roster";
/// Before the ids of members in the keys of what they published.
pub const ATTRIBUTES: &[u8] = b"attributes/";

/// Who is in the cluster, and what the members say about themselves.
///
/// Invariant: only members of the roster have attributes.
#[derive(Debug, Clone, Default)]
pub(super) struct Cluster {
    roster: Roster,
    attributes: BTreeMap<MemberId, Attributes>,
}

#[derive(Debug, Clone, Default)]
struct Attributes {
    name: String,
    client_urls: Vec<String>,
}

impl Cluster {
    pub(super) fn open(storage: &impl Storage) -> Result<Self, StorageError> {
        let corrupt =
            |what: &str| StorageError::Corrupt { file: storage.name(), what: what.to_owned() };
        let mut cluster = Self::default();
        if let Some(bytes) = storage.meta(ROSTER)? {
            cluster.roster = decode_roster(bytes)
                .ok_or_else(|| corrupt("the list of members makes no sense"))?;
        }
        for (_, bytes) in storage.scan_meta(ATTRIBUTES)? {
            let published = replica::PublishAttributes::decode(bytes).map_err(|error| {
                corrupt(&format!("the attributes of a member make no sense: {error}"))
            })?;
            cluster.insert(&published);
        }
        Ok(cluster)
    }

    pub(super) fn roster(&self) -> &Roster {
        &self.roster
    }

    pub(super) fn set_roster(&mut self, roster: &Roster, storage: &mut impl Storage) {
        self.roster = roster.clone();
        storage.set_meta(ROSTER, Some(encode_roster(roster)));
        let gone = |id: &MemberId| !roster.members.contains_key(id);
        for id in self.attributes.keys().copied().filter(gone) {
            storage.set_meta(&attributes_key(id), None);
        }
        self.attributes.retain(|id, _| !gone(id));
    }

    /// Keeps what a member says of itself; one that is not in the cluster is not heard.
    pub(super) fn publish(
        &mut self,
        published: &replica::PublishAttributes,
        storage: &mut impl Storage,
    ) {
        let id = MemberId(published.member_id);
        if self.roster.members.contains_key(&id) {
            self.insert(published);
            storage.set_meta(&attributes_key(id), Some(published.encode_to_vec().into()));
        }
    }

    fn insert(&mut self, published: &replica::PublishAttributes) {
        let attributes =
            Attributes { name: published.name.clone(), client_urls: published.client_urls.clone() };
        self.attributes.insert(MemberId(published.member_id), attributes);
    }

    pub(super) fn members(&self) -> Vec<Member> {
        let member = |(id, entry): (&MemberId, &RosterEntry)| {
            let attributes = self.attributes.get(id).cloned().unwrap_or_default();
            Member {
                id: *id,
                name: attributes.name,
                peer_urls: entry.peer_urls.iter().map(|url| url.as_str().to_owned()).collect(),
                client_urls: attributes.client_urls,
                learner: entry.learner,
            }
        };
        self.roster.members.iter().map(member).collect()
    }
}

fn attributes_key(id: MemberId) -> Vec<u8> {
    [ATTRIBUTES, &id.0.to_be_bytes()].concat()
}

/// The value at [`ROSTER`].
pub fn encode_roster(roster: &Roster) -> Bytes {
    let member = |(id, entry): (&MemberId, &RosterEntry)| replica::roster::Member {
        id: id.0,
        peer_urls: entry.peer_urls.iter().map(|url| url.as_str().to_owned()).collect(),
        learner: entry.learner,
    };
    let message = replica::Roster {
        members: roster.members.iter().map(member).collect(),
        removed: roster.removed.iter().map(|id| id.0).collect(),
    };
    message.encode_to_vec().into()
}

/// The reverse of [`encode_roster`].
pub fn decode_roster(bytes: Bytes) -> Option<Roster> {
    let message = replica::Roster::decode(bytes).ok()?;
    let mut roster = Roster::default();
    for member in message.members {
        let urls = member.peer_urls.iter().map(|url| PeerUrl::parse(url).ok());
        let peer_urls = urls.collect::<Option<_>>()?;
        let entry = RosterEntry { peer_urls, learner: member.learner };
        roster.members.insert(MemberId(member.id), entry);
    }
    roster.removed = message.removed.into_iter().map(MemberId).collect();
    Some(roster)
}
