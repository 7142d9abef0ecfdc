//! The DNS service: zones from files and from registrations, over UDP and TCP.
//!
//! ```text
//! zones dir, hosts --reload--> catalog <--publish-- registrations
//!                                 |
//! socket --listen--> handler: judge the request, find who knows, look up, make it fit, send
//! ```
//!
//! What a name answers is decided in [`crate::zone`] and [`crate::local`]; here are only the things a message has and a
//! zone has not: header, class, EDNS, size, transport. Sockets, TCP framing and the wire format are
//! those of hickory, and so is the client that asks others; its catalog, stores and zone reader are not used.
//!
//! Properties:
//! 1. A question sees one state of a zone: zones never change, they are exchanged.
//! 2. The first that knows a name answers: zones, clusters, local names, upstream servers.
//! 3. A bad file never takes a good zone out of service.
//! 4. All records of a published cluster appear at once.
//! 5. A datagram has at most 1232 bytes and never more than its client offered.
//!
//! Deliberately absent: recursion by itself (others are asked to), zone transfer, dynamic update,
//! DNSSEC.

mod catalog;
mod clusters;
mod dnsmasq;
mod files;
mod fit;
mod forward;
mod handler;
mod listen;
mod local;
mod metrics;

pub use crate::transport::{Network, NoNetwork};
pub use catalog::{Catalog, DomainError};
pub use clusters::PublishError;
pub use dnsmasq::{Dnsmasq, DnsmasqError, Unsupported};
pub use files::{FileError, FileFault, Warning};
pub use forward::{LoopError, Upstreams};
pub use listen::{BindError, Bound, serve};
pub use local::{HOSTS_TTL, LocalSources};
pub use metrics::Counters;

#[cfg(test)]
mod tests;
