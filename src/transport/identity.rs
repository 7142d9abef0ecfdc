use crate::membership::{ClusterId, MemberId};
use crate::proto::quorate::peer::Envelope;

/// Who this member is to its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub cluster: ClusterId,
    pub member: MemberId,
}

impl Identity {
    /// The head of everything sent to `to`.
    pub fn envelope(self, to: MemberId) -> Envelope {
        Envelope { cluster_id: self.cluster.0, from: self.member.0, to: to.0 }
    }
}
