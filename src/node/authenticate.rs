use std::sync::Arc;

use tokio::sync::Semaphore;

use super::tokens::Credentials;
use super::{Error, Handle};
use crate::apply;
use crate::auth::{self, Caller};
use crate::proto::quorate::replica::auth_change::Change;
use crate::proto::quorate::replica::{AuthChange, Authenticate};
use crate::raft::Index;
use crate::replica::MAX_COMMIT_LEAD;

/// Passwords that are hashed or compared at once: each takes a core for a good part of a second, and
/// the node needs the others.
const MAX_HASHING: usize = 2;
/// bcrypt looks at no more of a password.
const MAX_PASSWORD_BYTES: usize = 72;

/// The places for slow work on passwords.
#[derive(Debug)]
pub(super) struct Hashing(Arc<Semaphore>);

impl Default for Hashing {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_HASHING)))
    }
}

impl Hashing {
    /// Runs work off the threads that serve others. The work has the place and not whoever waits for it: it
    /// cannot be stopped, and a client can go away at any time.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.0).acquire_owned().await.map_err(|_closed| Error::Stopped)?;
        let placed = move || {
            let _place = place;
            work()
        };
        tokio::task::spawn_blocking(placed).await.map_err(|_joined| Error::Stopped)
    }
}

impl Handle {
    /// Whether callers are checked. A hint to spare work: requests are checked where they take effect.
    pub fn auth_enabled(&self) -> bool {
        self.0.tokens.enabled()
    }

    /// Who a request is from. Waits for the log when a token is newer than what is applied here.
    pub async fn identify(&self, credentials: Credentials) -> Result<Caller, Error> {
        if !self.auth_enabled() {
            return Ok(Caller::Nobody);
        }
        match credentials {
            Credentials::None => Ok(Caller::Nobody),
            Credentials::CommonName(name) => {
                Ok(Caller::User { name, revision: self.state().auth().revision() })
            }
            Credentials::Token(token) => self.holder(&token).await,
        }
    }

    async fn holder(&self, token: &str) -> Result<Caller, Error> {
        let invalid = || Error::from(auth::Error::InvalidToken);
        let index = Index(self.0.tokens.index(token).ok_or_else(invalid)?);
        // No member is so far behind another that works; a token that says so is made up.
        if index.0 > self.0.commit_index().max(self.0.applied_index()).0 + MAX_COMMIT_LEAD {
            return Err(invalid());
        }
        if self.0.applied_index() < index {
            let mut applied = self.0.applied.subscribe();
            let arrived = applied.wait_for(|applied| *applied >= index);
            let waited = tokio::time::timeout(self.timeout(), arrived).await;
            if !matches!(waited, Ok(Ok(_))) {
                return Err(invalid());
            }
        }
        // The revision first: a change of users in between makes the caller old, never too new.
        let latest = self.state().auth().revision();
        let holder = self.0.tokens.holder(token).ok_or_else(invalid)?;
        Ok(Caller::User { name: holder.user, revision: holder.revision.unwrap_or(latest) })
    }

    /// Compares a password and hands out a token for it.
    pub async fn authenticate(&self, name: String, password: String) -> Result<String, Error> {
        self.linearize().await?;
        loop {
            let (hash, revision) = {
                let state = self.state();
                let (hash, revision) = state.auth().password(&name)?;
                (String::from_utf8_lossy(hash).into_owned(), revision)
            };
            let given = password.clone();
            let matches = self
                .0
                .hashing
                .run(move || bcrypt::verify(given, &hash).is_ok_and(|matches| matches))
                .await?;
            if !matches {
                return Err(auth::Error::Failed.into());
            }
            let request = Authenticate {
                name: name.clone(),
                token_prefix: self.0.tokens.new_prefix(),
                auth_revision: revision,
            };
            match self.change_users(Caller::Nobody, Change::Authenticate(request)).await {
                // The users changed while the password was compared, perhaps this one's password.
                Err(Error::Apply(apply::Error::Auth(auth::Error::OldRevision))) => {}
                Err(error) => return Err(error),
                Ok(assigned) => return Ok(self.0.tokens.issue(&name, revision, assigned)?),
            }
        }
    }

    /// Hashes a password as it is kept; the cost is that of `--bcrypt-cost`.
    pub async fn hash_password(&self, password: String) -> Result<Vec<u8>, Error> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(Error::PasswordTooLong);
        }
        let cost = self.0.config.bcrypt_cost;
        let hashed = self.0.hashing.run(move || bcrypt::hash_with_result(password, cost)).await?;
        match hashed {
            Ok(parts) => Ok(parts.format_for_version(bcrypt::Version::TwoA).into_bytes()),
            Err(_) => Err(Error::PasswordTooLong),
        }
    }

    /// Changes users or roles through the log; the token, if the change is an authentication.
    pub async fn change_users(&self, caller: Caller, change: Change) -> Result<String, Error> {
        let answer = self.propose(caller, AuthChange { change: Some(change) }).await?;
        Ok(answer.token)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn work_keeps_its_place_when_its_client_goes_away() {
        let hashing = Hashing::default();
        let mut ends = Vec::new();
        for _ in 0..MAX_HASHING {
            let (began, begun) = mpsc::channel();
            let (end, ended) = mpsc::channel::<()>();
            let work = hashing.run(move || {
                began.send(()).unwrap();
                ended.recv().unwrap_err();
            });
            // Polled until it runs, and dropped.
            let left = tokio::time::timeout(Duration::from_millis(1), work).await;
            assert!(left.is_err(), "it goes on until it is told");
            begun.recv_timeout(PATIENCE).unwrap();
            ends.push(end);
        }
        assert_eq!(hashing.0.available_permits(), 0, "both are still at work");
        drop(ends);
        tokio::time::timeout(PATIENCE, hashing.run(|| ())).await.unwrap().unwrap();
    }
}
