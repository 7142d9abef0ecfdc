use prost::Message as _;

use crate::membership::{ClusterId, MemberId, PeerUrl, Roster, RosterEntry};
use crate::proto::quorate::replica;

/// Whose log it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    pub member: MemberId,
    pub cluster: ClusterId,
    /// The members the cluster started with; for a member that joined, those it knew then.
    pub roster: Roster,
    /// Whether the member joined a running cluster instead of founding one.
    pub joined: bool,
}

/// What precedes the roster: two ids and a flag.
const FIXED: usize = 17;

impl Metadata {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.member.0.to_le_bytes());
        out.extend_from_slice(&self.cluster.0.to_le_bytes());
        out.push(u8::from(self.joined));
        encode_roster(&self.roster).encode(&mut out).expect("a vector grows as needed");
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (fixed, roster) = bytes.split_at_checked(FIXED)?;
        let number = |at: usize| Some(u64::from_le_bytes(fixed.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            member: MemberId(number(0)?),
            cluster: ClusterId(number(8)?),
            joined: fixed[16] != 0,
            roster: decode_roster(&replica::Roster::decode(roster).ok()?)?,
        })
    }
}

fn encode_roster(roster: &Roster) -> replica::Roster {
    let member = |(id, entry): (&MemberId, &RosterEntry)| replica::roster::Member {
        id: id.0,
        peer_urls: entry.peer_urls.iter().map(PeerUrl::to_string).collect(),
        learner: entry.learner,
    };
    replica::Roster {
        members: roster.members.iter().map(member).collect(),
        removed: roster.removed.iter().map(|id| id.0).collect(),
    }
}

fn decode_roster(roster: &replica::Roster) -> Option<Roster> {
    let member = |member: &replica::roster::Member| {
        let urls: Result<Vec<PeerUrl>, _> =
            member.peer_urls.iter().map(|url| PeerUrl::parse(url)).collect();
        let entry = RosterEntry { peer_urls: urls.ok()?, learner: member.learner };
        Some((MemberId(member.id), entry))
    };
    Some(Roster {
        members: roster.members.iter().map(member).collect::<Option<_>>()?,
        removed: roster.removed.iter().copied().map(MemberId).collect(),
    })
}
