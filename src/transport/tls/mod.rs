//! TLS for the listener and for the way to others.
//!
//! [`TlsServer`] and [`TlsClient`] hold what was made of the files of a configuration, and make it
//! again when a file has changed: [`fn@watch`] looks once a second, as is done for zone files. A new
//! set that cannot be used changes nothing but the log. Connections that are open keep the
//! certificates they began with.
//!
//! The rules are those of etcd (`client/pkg/transport/listener.go`): who has to show a certificate,
//! which names it may carry, and that a certificate with names must belong to the address it comes
//! from.

mod address;
mod client;
mod error;
mod expiry;
mod files;
mod identity;
mod policy;
mod self_signed;
mod server;
mod verify;
mod watch;

pub use client::{ClientOptions, TlsClient, Verification};
pub use error::{TlsError, is_tls, words};
pub use expiry::Expiry;
pub use files::Pair;
pub use identity::PeerIdentity;
pub use policy::{Policy, PolicyError, Version};
pub use self_signed::{SelfSignedError, self_signed};
pub use server::{Allowed, ClientAuth, Rejected, ServerOptions, Spoken, TlsServer};
pub use watch::watch;

#[cfg(test)]
mod tests;
