//! Sockets: the HTTP listener that every service shares, and the streams between peers.
//!
//! Peers speak gRPC on the peer port: one ordered client stream per direction for messages, a call
//! of its own for each snapshot. Everything carries cluster and member id and is refused by a
//! member it was not meant for. Delivery is best effort: what cannot be sent is dropped and
//! consensus is told, never queued without bound.

mod activity;
mod authority;
mod bound;
mod chain;
mod close_reason;
mod dial;
mod forwarded;
mod frame;
mod gathered;
mod identity;
mod link;
mod listen;
mod metrics;
mod network;
mod peers;
mod pieces;
mod pings;
mod snapshot;
pub mod tls;
mod unread;

pub use bound::{Bound, ListenError};
pub(crate) use chain::chain;
pub use dial::{Dialer, connect, resolver};
pub use forwarded::client_address;
pub use listen::{AcceptTrouble, Http, OverTls, Place, serve};
pub use network::{Network, NoNetwork};
pub(crate) use pieces::Pieces;
pub use tls::PeerIdentity;

pub use identity::Identity;
pub use metrics::PeerMetrics;
pub use peers::Peers;
pub use snapshot::{SnapshotChunks, SnapshotSource};

/// What a removed member is told by those that remain.
pub const REMOVED: &str = "the member has been permanently removed from the cluster";
