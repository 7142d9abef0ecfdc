//! Tokens: what a client shows in place of a password, and whose it is.
//!
//! Simple tokens are handed out through the log, so that every member knows them; each member keeps
//! them in memory for as long as they are used, and forgets them when it stops. Signed tokens (JWT)
//! are known by their signature alone, and go out of date with every change of users or roles.

mod jws;
mod jwt;
mod keys;
mod method;
mod options;
mod simple;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use parking_lot::Mutex;

pub use jwt::{Jwt, JwtError};
pub use options::{OptionsError, TokenOptions, parse_options};

use self::method::Method;
use self::simple::SimpleTokens;
use crate::apply::AuthNews;
use crate::auth;

/// Letters a simple token starts with.
const PREFIX_LETTERS: usize = 16;

/// Who a request says it is from, unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    #[default]
    None,
    Token(String),
    /// The common name of a certificate that was verified.
    CommonName(String),
}

/// The tokens of this member.
#[derive(Debug)]
pub(super) struct Tokens {
    /// Whether callers are checked, as of the last applied entry: spares requests a look at the state.
    enabled: AtomicBool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Simple(Mutex<SimpleTokens>),
    Signed(Box<Jwt>),
}

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) user: String,
    /// The revision of the users that a signed token was made for; a simple one follows the latest.
    pub(super) revision: Option<u64>,
}

impl Tokens {
    pub(super) fn new(options: TokenOptions, enabled: bool) -> Self {
        let kind = match options {
            TokenOptions::Simple { ttl } => {
                Kind::Simple(Mutex::new(SimpleTokens { ttl, held: HashMap::new() }))
            }
            TokenOptions::Signed(jwt) => Kind::Signed(jwt),
        };
        Self { enabled: enabled.into(), kind }
    }

    pub(super) fn enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    /// Follows what was applied.
    pub(super) fn follow(&self, news: &AuthNews) {
        let simple = match &self.kind {
            Kind::Simple(tokens) => Some(tokens.lock()),
            Kind::Signed(_) => None,
        };
        match (news, simple) {
            (AuthNews::Switched(enabled), simple) => {
                self.enabled.store(*enabled, Ordering::Release);
                if let Some(mut simple) = simple.filter(|_| !enabled) {
                    simple.held.clear();
                }
            }
            (AuthNews::Assigned { token, user }, Some(mut simple)) => {
                simple.assign(token.clone(), user.clone(), Instant::now());
            }
            (AuthNews::Dropped { user }, Some(mut simple)) => simple.drop_user(user),
            (AuthNews::Assigned { .. } | AuthNews::Dropped { .. }, None) => {}
        }
    }

    /// A received state took the place of the own one, whose users were those of revision `before`. If they have
    /// changed since, any user may be gone or have another password: all simple tokens are void then.
    pub(super) fn restored(&self, users: &auth::Auth, before: u64) {
        self.enabled.store(users.enabled(), Ordering::Release);
        if let Kind::Simple(tokens) = &self.kind
            && users.revision() != before
        {
            tokens.lock().held.clear();
        }
    }

    /// What a token given out through the log starts with; nothing when members sign their own.
    pub(super) fn new_prefix(&self) -> String {
        match &self.kind {
            Kind::Simple(_) => simple::prefix(),
            Kind::Signed(_) => String::new(),
        }
    }

    /// The token of a user who has authenticated: `assigned` is what the log made of the prefix.
    pub(super) fn issue(
        &self,
        user: &str,
        revision: u64,
        assigned: String,
    ) -> Result<String, JwtError> {
        match &self.kind {
            Kind::Simple(_) => Ok(assigned),
            Kind::Signed(jwt) => jwt.sign(user, revision, SystemTime::now()),
        }
    }

    /// The index of the log that must be applied before a token can be looked up; `None` for what
    /// cannot be a token.
    pub(super) fn index(&self, token: &str) -> Option<u64> {
        match &self.kind {
            Kind::Simple(_) => simple::index(token),
            Kind::Signed(_) => Some(0),
        }
    }

    /// Whose token this is; a simple one lives on for its full time.
    pub(super) fn holder(&self, token: &str) -> Option<Holder> {
        match &self.kind {
            Kind::Simple(tokens) => tokens.lock().holder(token, Instant::now()),
            Kind::Signed(jwt) => jwt.holder(token, SystemTime::now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_received_state_with_other_users_ends_simple_tokens() {
        let tokens = Tokens::new(TokenOptions::Simple { ttl: Duration::from_secs(100) }, true);
        let (token, user) = ("a.1".to_owned(), "alice".to_owned());
        tokens.follow(&AuthNews::Assigned { token, user });
        let mut users = auth::Auth::default();
        users.add_user("alice", Some("hash".into())).unwrap();
        tokens.restored(&users, users.revision());
        assert!(tokens.holder("a.1").is_some(), "nothing has changed");
        let before = users.revision();
        users.change_password("alice", "other".into()).unwrap();
        tokens.restored(&users, before);
        assert_eq!(tokens.holder("a.1"), None, "her password is another");
    }
}
