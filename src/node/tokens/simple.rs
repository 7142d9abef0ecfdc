use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Holder, PREFIX_LETTERS};

/// Tokens that are known because the log said so (etcd `auth/simple_token.go`).
///
/// `WkVcLjSKnTrwXcDz.41`: random letters, and the index of the entry that assigned the token. A
/// member that is behind can wait for that index before it says that it does not know the token.
#[derive(Debug)]
pub(super) struct SimpleTokens {
    /// How long a token lives after its last use on this member.
    pub(super) ttl: Duration,
    pub(super) held: HashMap<String, SimpleToken>,
}

#[derive(Debug)]
pub(super) struct SimpleToken {
    pub(super) user: String,
    until: Instant,
}

impl SimpleTokens {
    pub(super) fn assign(&mut self, token: String, user: String, now: Instant) {
        // What nobody uses any more goes before the table grows.
        if self.held.len() == self.held.capacity() {
            self.held.retain(|_, held| held.until > now);
        }
        self.held.insert(token, SimpleToken { user, until: now + self.ttl });
    }

    pub(super) fn holder(&mut self, token: &str, now: Instant) -> Option<Holder> {
        let held = self.held.get_mut(token)?;
        if held.until <= now {
            self.held.remove(token);
            return None;
        }
        held.until = now + self.ttl;
        Some(Holder { user: held.user.clone(), revision: None })
    }

    pub(super) fn drop_user(&mut self, user: &str) {
        self.held.retain(|_, held| held.user != user);
    }
}

/// Random letters for a new token.
pub(super) fn prefix() -> String {
    const LETTERS: &[u8; 52] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let letter = || char::from(LETTERS[rand::random_range(0..LETTERS.len())]);
    std::iter::repeat_with(letter).take(PREFIX_LETTERS).collect()
}

/// The index in a token.
pub(super) fn index(token: &str) -> Option<u64> {
    let (_, index) = token.split_once('.')?;
    index.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_lives_as_long_as_it_is_used() {
        let start = Instant::now();
        let mut tokens = SimpleTokens { ttl: seconds(10), held: HashMap::new() };
        tokens.assign("a.1".into(), "alice".into(), start);
        tokens.assign("b.2".into(), "bob".into(), start);
        for passed in [9, 18, 27] {
            let holder = tokens.holder("a.1", start + seconds(passed)).unwrap();
            assert_eq!(holder, Holder { user: "alice".into(), revision: None });
        }
        assert_eq!(tokens.holder("b.2", start + seconds(10)), None, "nobody used it");
        assert_eq!(tokens.holder("c.3", start), None);
        tokens.drop_user("alice");
        assert_eq!(tokens.holder("a.1", start + seconds(28)), None);
    }

    #[test]
    fn a_full_table_forgets_what_ran_out() {
        let start = Instant::now();
        let mut tokens = SimpleTokens { ttl: seconds(1), held: HashMap::new() };
        for number in 0..10_000 {
            tokens.assign(format!("x.{number}"), "u".into(), start + seconds(number));
        }
        assert!(tokens.held.len() < 100, "{}", tokens.held.len());
    }

    #[test]
    fn the_shape_is_that_of_etcd() {
        let prefix = prefix();
        assert_eq!(prefix.len(), 16);
        assert!(prefix.bytes().all(|byte| byte.is_ascii_alphabetic()));
        assert_ne!(prefix, super::prefix());
        assert_eq!(index("WkVcLjSKnTrwXcDz.41"), Some(41));
        for wrong in ["", "abc", "abc.", "abc.x", "abc.-1", "a.1.2"] {
            assert_eq!(index(wrong), None, "{wrong}");
        }
    }
}
