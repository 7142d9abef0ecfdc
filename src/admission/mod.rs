//! Who may found a cluster: the registry's rules as pure functions.
//!
//! A token waits for `size` founders. A node applies with a key (its member id) and a value
//! (`name=url,...`); [`Application::check`] judges what can be judged without knowing anybody else,
//! [`decide()`] the rest. Rules, in the order they are applied:
//!
//! 1. The value is a member list of exactly one well-formed, reachable member, within bounds.
//! 2. The key is the member id that follows from the value and the canonical discovery URL or token. A node
//!    that was given another spelling of the URL computes other ids for everybody and would found
//!    a cluster of its own; here is the only place where that can be seen before it happens.
//! 3. A token belongs to the protocol of its first registration: v2 ids follow from the discovery URL,
//!    v3 ids from the bare token, so members of both kinds would found two clusters.
//! 4. An identical repeat while the token is open resumes: the first registration counts.
//! 5. A founder that returns after the token is full is refused. Its log is gone, so it must not
//!    vote again under its old id.
//! 6. The first `size` applications, in commit order, are the founders; a founder's name and URLs
//!    are its own. Whoever comes later is recorded as surplus and never shown as a member.
//!
//! What is deliberately absent: storage, waiting, HTTP, and the clock, which comes as an argument.
//! A refused newcomer changes nothing for anybody else.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod application;
pub mod codes;
mod decide;
mod founding;
mod protocol;
mod refusal;
mod spelling;
mod words;

pub use application::Application;
pub use decide::{Decision, decide};
pub use founding::{CLIENT_PORT, Founding, Registered, State};
pub use protocol::Protocol;
pub use refusal::Refusal;
pub use spelling::Door;
pub use words::{ClusterSize, Label, LabelError, SizeError, Ttl, TtlError, UnixMillis, date};

/// What a registration may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the value.
    pub value_bytes: usize,
    /// Bytes of the member's name.
    pub name_bytes: usize,
    /// Peer URLs of one member.
    pub urls: usize,
    /// Late registrations kept for one token; further ones are refused.
    pub surplus: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { value_bytes: 2048, name_bytes: 128, urls: 16, surplus: 64 }
    }
}

#[cfg(test)]
mod tests;
