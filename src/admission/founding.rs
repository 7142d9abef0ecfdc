use std::net::IpAddr;
use std::sync::Arc;

use super::{ClusterSize, Label, Protocol, UnixMillis};
use crate::membership::{InitialCluster, MemberId};
use crate::token::TokenPath;

/// The port on which members serve clients if nobody says otherwise.
pub const CLIENT_PORT: u16 = 2379;

/// One token and everybody who registered with it.
///
/// Invariants: `founders.len() <= size`; indexes ascend within `founders` and within `surplus`, are
/// greater than `created_index` and at most `index`; `surplus` is empty until the token is full.
#[derive(Debug, Clone)]
pub struct Founding {
    pub path: TokenPath,
    pub size: ClusterSize,
    pub label: Option<Label>,
    /// The index at which the token was made.
    pub created_index: u64,
    /// The index of the last change of this token; what `X-Etcd-Index` shows.
    pub index: u64,
    pub created_at: UnixMillis,
    pub expires_at: UnixMillis,
    /// When an operator took it back.
    pub revoked_at: Option<UnixMillis>,
    /// How many refusals and repeats the timeline has of it.
    pub noted: u32,
    /// The timeline says that it expired.
    pub expiry_recorded: bool,
    /// Where members serve clients, if whoever made the token said so.
    pub client_port: Option<u16>,
    /// The first entry of the timeline that may be about this path; 0 if that is not known.
    pub first_entry: u64,
    /// In commit order.
    pub founders: Vec<Arc<Registered>>,
    /// Those who came after the token was full.
    pub surplus: Vec<Arc<Registered>>,
}

/// A node that registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    pub key: MemberId,
    /// As the node sent it: a member list of exactly one member. There may be millions of these, so it
    /// is taken apart when somebody asks.
    pub value: String,
    /// When it was committed; `createdIndex` of its key.
    pub index: u64,
    pub at: UnixMillis,
    /// Where it came from, if that is known.
    pub from: Option<IpAddr>,
}

/// Where a token stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Founders are missing.
    Open,
    /// Every founder has registered.
    Full,
    /// Its time is over; to nodes it is unknown.
    Expired,
    /// An operator took it back; to everybody else it is unknown.
    Revoked,
}

impl Founding {
    pub fn is_full(&self) -> bool {
        self.founders.len() >= self.size.get() as usize
    }

    pub fn state(&self, now: UnixMillis) -> State {
        State::of(self.revoked_at.is_some(), self.expires_at, self.is_full(), now)
    }

    /// Where members serve clients.
    pub fn client_port(&self) -> u16 {
        self.client_port.unwrap_or(CLIENT_PORT)
    }

    /// The protocol of the first registration, which all others have to share.
    pub fn protocol(&self) -> Option<Protocol> {
        let first = self.founders.first()?;
        Some(Protocol::of(first.key, first.urls(), &self.path))
    }

    /// A founder or a late comer with this key.
    pub fn registered(&self, key: MemberId) -> Option<&Arc<Registered>> {
        self.founders.iter().chain(&self.surplus).find(|held| held.key == key)
    }

    /// The first founder whose registration has this index or a later one.
    ///
    /// This is the whole event history of a token: nothing else that happens to it is an event.
    pub fn event_since(&self, index: u64) -> Option<&Arc<Registered>> {
        self.founders.iter().find(|held| held.index >= index)
    }

    /// The member list, once it is complete.
    pub fn initial_cluster(&self) -> Option<InitialCluster> {
        if !self.is_full() {
            return None;
        }
        let values: Vec<&str> = self.founders.iter().map(|held| held.value.as_str()).collect();
        values.join(",").parse().ok()
    }
}

impl State {
    /// Of a token of which just this is known.
    pub fn of(is_revoked: bool, expires_at: UnixMillis, is_full: bool, now: UnixMillis) -> Self {
        match () {
            () if is_revoked => Self::Revoked,
            () if now >= expires_at => Self::Expired,
            () if is_full => Self::Full,
            () => Self::Open,
        }
    }
}

impl Registered {
    /// The name of the one member in the value.
    pub fn name(&self) -> &str {
        self.pairs().next().map(|(name, _)| name).unwrap_or_default()
    }

    /// Its peer URLs as they are spelled, sorted.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        let mut urls: Vec<&str> = self.pairs().map(|(_, url)| url.trim()).collect();
        urls.sort_unstable();
        urls.into_iter()
    }

    /// Names and URLs, taken apart as [`InitialCluster`] does.
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.value.split(',').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }
}
