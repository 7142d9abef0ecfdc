//! The way by discovery token, over the v2 keys API of a discovery service or of any etcd.
//!
//! In etcd's order: read size and directory, register under the own id, see the own registration,
//! read again, wait until as many as the size are registered. The first `size` by created index are
//! the cluster, so that everybody who reads cuts the list at the same place. Where etcd gives up on
//! a lost answer this client asks again, and where etcd refuses its own registration it resumes, as
//! long as that cannot let a member vote twice.

mod answer;
mod client;

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::attempt::Attempt;
use super::roll::Roll;
use super::token_error::Error;
use super::{Memo, Pace, Request, TokenRequest};
use crate::membership::InitialCluster;
use answer::Failure;
use client::Client;

/// A code that says the history between two readings is gone.
const EVENT_INDEX_CLEARED: u64 = 401;
/// A code that says all watchers were sent away.
const WATCHER_CLEARED: u64 = 400;
/// A code that says the key exists.
const KEY_EXISTS: u64 = 105;
/// What our service says then of a founder, under a code with which etcd prints it.
const FOUNDER_RETURNED: &str = "Q1033:";
/// A service that ends polls at once, without an event, is not asked more often than this.
const POLL_PAUSE: Duration = Duration::from_millis(500);
/// While nothing happens, a line says so at this interval.
const REMINDER: Duration = Duration::from_secs(30);

/// Cuts a token, or the token in a discovery URL, to its first eight characters: whoever knows it can join.
pub fn redact(url: &str) -> String {
    let trimmed = url.trim_end_matches('/');
    let (head, token) = trimmed.split_at(trimmed.rfind('/').map_or(0, |slash| slash + 1));
    match token.char_indices().nth(8) {
        Some((end, _)) => format!("{head}{}...", &token[..end]),
        None => trimmed.to_owned(),
    }
}

/// Finds the founders, this node among them, or says why that cannot be.
pub(super) async fn join(
    request: &Request,
    way: &TokenRequest,
    memo: &Memo,
    pace: Pace,
) -> Result<InitialCluster, super::Error> {
    let attempt = Attempt::new(request, &way.url, "server", pace);
    if let Some(proxy) = &way.proxy {
        info!(proxy_url = proxy, "running proxy with discovery");
    }
    let client = Client::new(&way.url, way.proxy.as_deref(), pace).map_err(super::Error::Token)?;
    let mut join = Join { client, value: attempt.value(), attempt };
    let roll = join.run(memo).await?;
    join.attempt.founders(&roll, |source| Error::InvalidUrl { source })
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
        let resumed = memo.is_of(self.attempt.token, self.attempt.id);
        if resumed && self.is_registered(&roll) {
            info!(member.id = %self.attempt.id, "resuming the registration that this data directory made");
        } else {
            // The memo must be there before the registration is. When the registration is there
            // before the memo it may be that of a founder who lost its disk, and must not become ours.
            let known = roll.entry(self.attempt.id).is_some();
            if !known {
                memo.write(self.attempt.token, self.attempt.id)
                    .map_err(|source| token(Error::Memo { source }))?;
            }
            let registered = self.register(resumed || !known).await;
            if registered.is_err() {
                // What was refused must not look like ours at the next start.
                memo.remove().map_err(|source| token(Error::Memo { source }))?;
            }
            let created = registered?;
            memo.write(self.attempt.token, self.attempt.id)
                .map_err(|source| token(Error::Memo { source }))?;
            self.read_own(created).await.map_err(token)?;
        }
        loop {
            let (mut roll, mut index) = self.read().await.map_err(token)?;
            self.attempt.refuse_if_full(&roll)?;
            if self.wait(&mut roll, &mut index).await.map_err(token)? {
                self.attempt.refuse_if_full(&roll)?;
                return Ok(roll);
            }
        }
    }

    fn is_registered(&self, roll: &Roll) -> bool {
        roll.entry(self.attempt.id).is_some_and(|entry| entry.value == self.value)
    }

    /// Reads size and registrations, with the index of the reading, until it works.
    async fn read(&mut self) -> Result<(Roll, u64), Error> {
        loop {
            let failure = match self.client.size().await {
                Ok(size) => match self.client.entries().await {
                    Ok((entries, index)) => {
                        self.attempt.answered();
                        return Ok((Roll::new(size, entries), index));
                    }
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            self.back_off(failure, "cluster status check").await?;
        }
    }

    /// Registers; the created index of the registration, if it is known.
    ///
    /// When the key exists with the own value, it is resumed in two cases: the list is not full, so
    /// nobody has voted yet; or it was not there a moment ago (`fresh`) and an answer to this
    /// process was lost since.
    async fn register(&mut self, fresh: bool) -> Result<Option<u64>, super::Error> {
        let mut lost = false;
        loop {
            match self.client.register(self.attempt.id, &self.value).await {
                Ok(created) => return Ok(created),
                Err(Failure::Final(Error::Refused { code, cause, .. }))
                    if code == KEY_EXISTS || cause.starts_with(FOUNDER_RETURNED) =>
                {
                    let (roll, _) = self.read().await.map_err(super::Error::Token)?;
                    self.attempt.refuse_if_full(&roll)?;
                    if self.is_registered(&roll) && (fresh && lost || !roll.is_complete()) {
                        warn!(
                            member.id = %self.attempt.id,
                            "this member is registered already with the same URLs; resuming"
                        );
                        return Ok(None);
                    }
                    let judged = judgement(&cause);
                    return Err(super::Error::Token(Error::DuplicateId { judged }));
                }
                Err(failure) => {
                    lost = true;
                    self.back_off(failure, "registration").await.map_err(super::Error::Token)?;
                }
            }
        }
    }

    /// Sees the own registration come back, as etcd does before it reads on. The reading that
    /// follows tells the same, so a failure that may pass is no reason to stop here.
    async fn read_own(&mut self, created: Option<u64>) -> Result<(), Error> {
        let Some(created) = created else { return Ok(()) };
        match self.client.own(self.attempt.id, created).await {
            Err(Failure::Final(error)) if !is_history_gone(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Waits until the list is full; false when the list should be read anew.
    async fn wait(&mut self, roll: &mut Roll, index: &mut u64) -> Result<bool, Error> {
        self.attempt.announce(roll);
        let mut reminder = Instant::now() + REMINDER;
        while !roll.is_complete() {
            let asked = Instant::now();
            match self.client.next_event(*index + 1).await {
                Ok(Some(event)) => {
                    self.attempt.answered();
                    let Some(at) = event.modified_index else { return Ok(false) };
                    *index = (*index).max(at);
                    if let Some(entry) = event.entry {
                        roll.add(entry);
                    }
                    self.attempt.announce(roll);
                    reminder = Instant::now() + REMINDER;
                }
                Ok(None) => {
                    if asked.elapsed() < POLL_PAUSE {
                        tokio::time::sleep(POLL_PAUSE.min(self.attempt.pace.first)).await;
                    }
                }
                Err(Failure::Silent) => return Ok(false),
                Err(Failure::Final(error)) if is_history_gone(&error) => {
                    info!(error = %error, "reading the discovery server anew");
                    tokio::time::sleep(POLL_PAUSE.min(self.attempt.pace.first)).await;
                    return Ok(false);
                }
                Err(failure) => {
                    self.back_off(failure, "waiting for other nodes").await?;
                    return Ok(false);
                }
            }
            if Instant::now() >= reminder {
                super::remind(self.attempt.token, roll);
                reminder = Instant::now() + REMINDER;
            }
        }
        Ok(true)
    }

    /// Passes a final failure on, and waits after one that may pass.
    async fn back_off(&mut self, failure: Failure, reason: &'static str) -> Result<(), Error> {
        let detail = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Silent => "context deadline exceeded".to_owned(),
            Failure::Passing(detail) => detail,
        };
        let pause = self.attempt.failed();
        warn!(
            path = redact(self.attempt.token),
            error =
                format!("client: etcd cluster is unavailable or misconfigured; error #0: {detail}"),
            "failed to get from discovery server"
        );
        info!(
            url = redact(self.attempt.token),
            reason,
            backoff = format!("{:.1}s", pause.as_secs_f64()),
            "retry connecting to discovery service"
        );
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// What our service says, perhaps behind the key, `/token/id (Q1032: ...)`; a real etcd says nothing.
fn judgement(cause: &str) -> Option<String> {
    if cause.starts_with(FOUNDER_RETURNED) {
        return Some(cause.to_owned());
    }
    let (_, judged) = cause.split_once(" (Q")?;
    Some(format!("Q{}", judged.strip_suffix(')').unwrap_or(judged)))
}

fn is_history_gone(error: &Error) -> bool {
    matches!(error, Error::Refused { code: EVENT_INDEX_CLEARED | WATCHER_CLEARED, .. })
}

#[cfg(test)]
mod tests;
