//! Who is in a cluster: ids, URLs, members, and the list every bootstrap ends in.
//!
//! Three ways into a cluster (static list, discovery token, DNS SRV) end in one [`InitialCluster`].
//! Member and cluster ids follow from it by arithmetic, the same as etcd's, so that one service can
//! judge the registrations of both kinds of nodes:
//!
//! ```text
//! member id  = first 8 bytes, big-endian, of SHA-1(sorted peer URLs without separator ++ cluster token)
//! cluster id = first 8 bytes, big-endian, of SHA-1(member ids ascending, 8 bytes big-endian each)
//! ```
//!
//! The URLs count as they are spelled: `localhost` and `127.0.0.1` make different members.

mod id;
mod initial_cluster;
mod member;
mod url;

pub use id::{ClusterId, MemberId};
pub use initial_cluster::{DuplicateUrl, InitialCluster, ParseError};
pub use member::{Member, Roster, RosterEntry};
pub use url::{PeerUrl, UrlError};

#[cfg(test)]
mod fuzz;
