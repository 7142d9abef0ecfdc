//! The way by discovery token over etcd's v3 API, as etcd goes from 3.6 on.
//!
//! In etcd's order: read size and members, put the own registration, read both again, watch until
//! as many as the size are there. The first `size` by create revision are the cluster. Beyond etcd,
//! two members of one name are refused, and so is a registration that was there, in a full cluster,
//! before this data directory knew of it: its founder lost its disk and must not vote again.

mod client;

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::attempt::Attempt;
use super::roll::Roll;
use super::token_error::Error;
use super::{Memo, Pace, Request};
use crate::membership::InitialCluster;
use crate::transport::tls::ClientOptions;
use client::{Client, Failure, Members};

/// While nothing happens, a line says so at this interval.
const REMINDER: Duration = Duration::from_secs(30);

/// A token and the stores that may be asked about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenV3Request {
    /// Exactly as it was given: the ids depend on its spelling.
    pub token: String,
    /// URLs without a path; any of them will do.
    pub endpoints: Vec<String>,
    pub dial_timeout: Duration,
    pub request_timeout: Duration,
    pub keepalive_time: Duration,
    pub keepalive_timeout: Duration,
    /// What TLS shows and trusts; `https://` alone trusts the authorities of the system.
    pub tls: Option<ClientOptions>,
    pub credentials: Option<Credentials>,
}

/// Who this node is to the store.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Finds the founders, this node among them, or says why that cannot be.
pub(super) async fn join(
    request: &Request,
    way: &TokenV3Request,
    memo: &Memo,
) -> Result<InitialCluster, super::Error> {
    join_at(request, way, memo, Pace { request: way.request_timeout, ..Pace::default() }).await
}

async fn join_at(
    request: &Request,
    way: &TokenV3Request,
    memo: &Memo,
    pace: Pace,
) -> Result<InitialCluster, super::Error> {
    let attempt = Attempt::new(request, &way.token, "service", pace);
    let client = Client::new(way, pace).map_err(super::Error::Token)?;
    let mut join = Join { client, value: attempt.value(), attempt };
    let roll = join.run(memo).await?;
    join.attempt.founders(&roll, |source| Error::InvalidPeerUrl { source })
}

/// One attempt to join, from the first reading to the full list.
#[derive(Debug)]
struct Join<'a> {
    client: Client,
    /// What is registered: the own `name=url,...`.
    value: String,
    attempt: Attempt<'a>,
}

impl Join<'_> {
    async fn run(&mut self, memo: &Memo) -> Result<Roll, super::Error> {
        let token = super::Error::Token;
        let (roll, _) = self.read().await.map_err(token)?;
        self.attempt.refuse_if_full(&roll)?;
        let known = roll.entry(self.attempt.id).map(|entry| entry.value == self.value);
        let resumed = memo.is_of(self.attempt.token, self.attempt.id);
        match known {
            Some(true) if resumed => {
                info!(member.id = %self.attempt.id, "resuming the registration that this data directory made");
            }
            Some(_) if roll.is_complete() => {
                return Err(token(Error::DuplicateId { judged: None }));
            }
            _ => self.register(memo, known.is_some()).await.map_err(token)?,
        }
        loop {
            let (mut roll, revision) = self.read().await.map_err(token)?;
            self.attempt.refuse_if_full(&roll)?;
            self.attempt.announce(&roll);
            if self.wait(&mut roll, revision).await.map_err(token)? {
                self.attempt.refuse_if_full(&roll)?;
                return Ok(roll);
            }
        }
    }

    /// Reads size and members, with the revision of the reading, until it works.
    async fn read(&mut self) -> Result<(Roll, i64), Error> {
        loop {
            let failure = match self.client.size().await {
                Ok(size) => match self.client.members().await {
                    Ok(Members { entries, revision }) => {
                        self.attempt.answered();
                        return Ok((Roll::new(size, entries), revision));
                    }
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            self.back_off(failure, "cluster status check").await?;
        }
    }

    /// Registers until it works. The memo is there before a registration that was not there, and
    /// after one that was: only the first is certainly of this data directory.
    async fn register(&mut self, memo: &Memo, known: bool) -> Result<(), Error> {
        let write = || {
            memo.write(self.attempt.token, self.attempt.id).map_err(|source| Error::Memo { source })
        };
        if !known {
            write()?;
        }
        loop {
            let Err(failure) = self.client.register(self.attempt.id, &self.value).await else {
                break;
            };
            if let Err(error) = self.back_off(failure, "register member itself").await {
                // What was refused must not look like ours at the next start.
                memo.remove().map_err(|source| Error::Memo { source })?;
                return Err(error);
            }
        }
        self.attempt.answered();
        memo.write(self.attempt.token, self.attempt.id).map_err(|source| Error::Memo { source })?;
        info!(member.id = %self.attempt.id, "register member itself successfully");
        Ok(())
    }

    /// Watches until the list is full; false when the list should be read anew.
    async fn wait(&mut self, roll: &mut Roll, revision: i64) -> Result<bool, Error> {
        if roll.is_complete() {
            return Ok(true);
        }
        let mut watch = match self.client.watch(revision + 1).await {
            Ok(watch) => watch,
            Err(failure) => {
                self.back_off(failure, "waiting for other nodes").await?;
                return Ok(false);
            }
        };
        let limit = Instant::now() + self.attempt.pace.poll;
        while !roll.is_complete() {
            let next = tokio::time::timeout(REMINDER, watch.next()).await;
            match next {
                Ok(Ok(Some(entries))) => {
                    self.attempt.answered();
                    entries.into_iter().for_each(|entry| roll.add(entry));
                    self.attempt.announce(roll);
                }
                // Ended without an error, as after a compaction: read again, but never in haste.
                Ok(Ok(None)) => {
                    let failure = Failure::Passing("the watch was cancelled".to_owned());
                    self.back_off(failure, "waiting for other nodes").await?;
                    return Ok(false);
                }
                Ok(Err(failure)) => {
                    self.back_off(failure, "waiting for other nodes").await?;
                    return Ok(false);
                }
                Err(_elapsed) if Instant::now() >= limit => return Ok(false),
                Err(_elapsed) => super::remind(self.attempt.token, roll),
            }
        }
        Ok(true)
    }

    /// Passes a final failure on, and waits after one that may pass.
    async fn back_off(&mut self, failure: Failure, reason: &'static str) -> Result<(), Error> {
        let detail = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing(detail) => detail,
        };
        let pause = self.attempt.failed();
        warn!(
            endpoint = self.client.endpoint(),
            error = detail,
            reason,
            backoff = format!("{:.1}s", pause.as_secs_f64()),
            "retry connecting to discovery service"
        );
        self.client.next_endpoint();
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
