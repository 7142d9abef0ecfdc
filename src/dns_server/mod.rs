//! The DNS service: zones from files and from registrations, over UDP, TCP and TLS.
//!
//! ```text
//! zones dir, hosts --reload--> catalog <--publish-- registrations
//!                                 |
//! socket --> handler: judge the request, find who knows, look up --> reply: write it so that it fits
//! ```
//!
//! What a name answers is decided in [`crate::zone`] and [`crate::local`]; here are only the things a message has and a
//! zone has not: header, class, EDNS, size, transport. Names, record data and the reading of
//! messages are those of hickory, and so is the client that asks others; its server is not used.
//!
//! Datagrams are answered by a thread for each core with a socket of its own (`datagram`), streams by
//! tasks (`stream`, the same for whatever is a stream; `connections` admits them).
//!
//! Properties:
//! 1. A question sees one state of a zone: zones never change, they are exchanged.
//! 2. The first that knows a name answers: zones, clusters, local names, upstream servers.
//! 3. A bad file never takes a good zone out of service.
//! 4. All records of a published cluster appear at once.
//! 5. A datagram has at most 1232 bytes and never more than its client offered.
//! 6. Strangers who prove no address with a cookie get at most three bytes for one (`limit`).
//!
//! Questions of the usual shape are answered from [`crate::zone::Compiled`] with bytes that were
//! written when the zone was loaded, or with what upstream servers answered before (`packet_cache`); `handler` has
//! the way for all others.
//!
//! Other servers may have whole zones of files (`secondary` judges who, `transfer` has the records,
//! `tsig` the signatures), and are told when one has changed (`notify`).
//!
//! Deliberately absent: recursion by itself (others are asked to), being a secondary, dynamic update,
//! DNSSEC.

mod accept;
mod answers;
mod asker;
mod catalog;
mod clusters;
mod connections;
mod cookies;
mod datagram;
mod dnsmasq;
mod files;
mod forward;
mod handler;
mod import;
mod limit;
mod listen;
mod local;
mod metrics;
mod notify;
mod options;
mod packet_cache;
mod query_log;
mod reply;
mod secondary;
mod settings;
mod stale;
mod stream;
mod transfer;
mod tsig;

pub use crate::transport::{Network, NoNetwork};
pub use catalog::{Catalog, DomainError};
pub use clusters::{PublishError, Published};
pub use cookies::Cookies;
pub use dnsmasq::{Dnsmasq, DnsmasqError, Unsupported};
pub use files::{FileError, FileFault, Judged, Warning, check_directory, check_file};
pub use forward::{LoopError, Upstreams};
pub use import::{Imported, import};
pub use listen::{BindError, Bound, serve};
pub use local::{HOSTS_TTL, LocalSources};
pub use metrics::Counters;
pub use query_log::QueryLog;
pub use settings::{DEFAULT_RATE_LIMIT, Settings};
pub use transfer::Transfers;
pub use tsig::{Key as TransferKey, KeyError, read_keys};

/// The largest datagram that is sent, and that we say we take: it passes every usual link
/// without being cut into fragments (RFC 9715).
const DATAGRAM_LIMIT: u16 = 1232;
/// What fits into a datagram for a client that does not say (RFC 1035 §4.2.1).
const PLAIN_LIMIT: u16 = 512;

#[cfg(test)]
mod tests;
