use std::time::Duration;

use tracing::{info, warn};

use super::roll::{Entry, Roll, Standing};
use super::token_error::Error;
use super::{Pace, Request, remind};
use crate::membership::{InitialCluster, MemberId, ParseError, PeerUrl};

/// What joining by token keeps in mind from the first reading to the full list, whatever the protocol.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    /// The token, or its URL.
    pub(super) token: &'a str,
    /// What etcd calls the other side: the server of v2, the service of v3.
    place: &'static str,
    pub(super) id: MemberId,
    name: &'a str,
    own: InitialCluster,
    pub(super) pace: Pace,
    /// Failures in a row.
    failures: u32,
    /// Entries that were logged already.
    announced: usize,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        request: &'a Request,
        token: &'a str,
        place: &'static str,
        pace: Pace,
    ) -> Self {
        let mut own = InitialCluster::new();
        for url in &request.peer_urls {
            own.add(&request.name, url.clone());
        }
        let id = MemberId::derive(request.peer_urls.iter().map(PeerUrl::as_str), token);
        Self { token, place, id, name: &request.name, own, pace, failures: 0, announced: 0 }
    }

    /// What is registered: the own `name=url,...`.
    pub(super) fn value(&self) -> String {
        self.own.to_string()
    }

    pub(super) fn refuse_if_full(&self, roll: &Roll) -> Result<(), super::Error> {
        match roll.standing(self.id) {
            Standing::Full => Err(super::Error::Full { peer_urls: roll.peer_urls() }),
            Standing::In | Standing::Open => Ok(()),
        }
    }

    /// Says who is new since the last time.
    pub(super) fn announce(&mut self, roll: &Roll) {
        let (found, place): (Vec<&Entry>, _) = (roll.entries().collect(), self.place);
        if found.len() <= self.announced {
            return;
        }
        for entry in &found[self.announced..] {
            if entry.id == self.id.to_string() {
                info!(peer = entry.id, "found self from discovery {place}");
            } else {
                info!(peer = entry.id, value = entry.value, "found peer from discovery {place}");
            }
        }
        self.announced = found.len();
        if !roll.is_complete() {
            info!(
                found_peers = found.len(),
                needed_peers = roll.missing(),
                "found peers from discovery {place}; waiting for more"
            );
            remind(self.token, roll);
        }
    }

    /// An answer came.
    pub(super) fn answered(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure in a row.
    pub(super) fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.pace.jittered(self.failures)
    }

    /// The founders of a full list, if this node is among them as it registered. `unreadable` makes the error of an
    /// entry that is no `name=url,...`.
    pub(super) fn founders(
        &self,
        roll: &Roll,
        unreadable: impl FnOnce(ParseError) -> Error,
    ) -> Result<InitialCluster, super::Error> {
        info!("found all needed peers from discovery {}", self.place);
        let founders = roll.founders().map_err(|error| match error {
            Error::InvalidUrl { source } => super::Error::Token(unreadable(source)),
            error => super::Error::Token(error),
        })?;
        founders
            .check_unique_urls()
            .map_err(|error| super::Error::DuplicateTokenUrl { list: error.list })?;
        if founders.urls(self.name) != self.own.urls(self.name) {
            return Err(super::Error::Token(Error::Strange));
        }
        for name in roll.misspelled(self.token) {
            warn!(
                member.name = name,
                "member registered with another spelling of the discovery token or its URL; give all members the very same"
            );
        }
        info!(cluster = %founders, "discovery joined cluster successfully");
        Ok(founders)
    }
}
