//! Who may use v3 discovery, if not everybody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use data_encoding::HEXLOWER;
use ring::{digest, hmac};
use subtle::ConstantTimeEq as _;

/// How long a token of a user is good; clients of etcd ask for another one by themselves.
const TOKEN_TTL: Duration = Duration::from_secs(3600);

/// Users and their passwords, from a file with a line `name:password` for each. A password may stand
/// there as a bcrypt hash, as `htpasswd -B` writes it.
///
/// Tokens are signed with a key that follows from the file: they need no memory, and several services
/// with the same file take each other's.
///
/// Clones share what is in use, so that a file which was read again counts everywhere.
#[derive(Clone)]
pub struct Accounts(Arc<ArcSwap<Users>>);

/// What one reading of the file says.
struct Users {
    passwords: BTreeMap<String, String>,
    key: hmac::Key,
}

impl Accounts {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        Users::parse(text).map(|users| Self(Arc::new(ArcSwap::from_pointee(users))))
    }

    /// Reads the file's text again. Tokens that were given out are good no longer if it has changed;
    /// clients of etcd log in again.
    pub fn renew(&self, text: &str) -> Result<(), String> {
        self.0.store(Arc::new(Users::parse(text)?));
        Ok(())
    }

    /// Whether this is the user's password. Slow for a hashed one.
    pub(super) fn is_right(&self, name: &str, password: &str) -> bool {
        self.0.load_full().is_right(name, password)
    }

    /// A token for a user whose password was right: until when, and the signature of that.
    pub(super) fn token(&self, now: SystemTime) -> String {
        let until = seconds(now + TOKEN_TTL).to_string();
        let signature = hmac::sign(&self.0.load().key, until.as_bytes());
        format!("{}.{until}", HEXLOWER.encode(signature.as_ref()))
    }

    /// Whether a token is one of ours and still good.
    pub(super) fn admits(&self, token: &str, now: SystemTime) -> bool {
        let Some((hex, until)) = token.split_once('.') else { return false };
        let genuine = HEXLOWER
            .decode(hex.as_bytes())
            .is_ok_and(|bytes| hmac::verify(&self.0.load().key, until.as_bytes(), &bytes).is_ok());
        genuine && until.parse::<u64>().is_ok_and(|until| until > seconds(now))
    }
}

impl Users {
    fn parse(text: &str) -> Result<Self, String> {
        let mut passwords = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let account = line
                .split_once(':')
                .filter(|(name, password)| !name.is_empty() && !password.is_empty());
            let Some((name, password)) = account else {
                return Err(format!("line {number}: write name:password"));
            };
            if passwords.insert(name.to_owned(), password.to_owned()).is_some() {
                return Err(format!("line {number}: `{name}` is there already"));
            }
        }
        if passwords.is_empty() {
            return Err("it names no user; write name:password on a line".to_owned());
        }
        let seed = digest::digest(&digest::SHA256, format!("{passwords:?}").as_bytes());
        Ok(Self { passwords, key: hmac::Key::new(hmac::HMAC_SHA256, seed.as_ref()) })
    }

    fn is_right(&self, name: &str, password: &str) -> bool {
        let Some(held) = self.passwords.get(name) else { return false };
        if held.starts_with("$2") {
            return bcrypt::verify(password, held).is_ok_and(|right| right);
        }
        held.as_bytes().ct_eq(password.as_bytes()).into()
    }
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.load().passwords.keys()).finish()
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# founders\nalice:secret\n\nbob:$2y$04$";

    #[test]
    fn passwords_are_plain_or_hashed() {
        let hash = bcrypt::hash("pa:ss", 4).unwrap();
        let accounts = Accounts::parse(&format!("alice:se:cret\nbob:{hash}\n")).unwrap();
        for (name, password, right) in [
            ("alice", "se:cret", true),
            ("alice", "secret", false),
            ("alice", "", false),
            ("bob", "pa:ss", true),
            ("bob", &hash, false),
            ("carol", "se:cret", false),
        ] {
            assert_eq!(accounts.is_right(name, password), right, "{name} {password}");
        }
        assert_eq!(format!("{accounts:?}"), r#"["alice", "bob"]"#, "no password is printed");
    }

    #[test]
    fn a_token_is_good_for_an_hour_wherever_the_file_is_the_same() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let token = Accounts::parse(FILE).unwrap().token(now);
        let twin = Accounts::parse(&format!("{FILE}\n# remark")).unwrap();
        assert!(twin.admits(&token, now));
        assert!(twin.admits(&token, now + TOKEN_TTL - Duration::from_secs(1)));
        assert!(!twin.admits(&token, now + TOKEN_TTL));
        assert!(!Accounts::parse("alice:other").unwrap().admits(&token, now));
        let later = token.replace(".1003600", ".9003600");
        for wrong in ["", ".", "abc.9003600", "zz.9003600", &later] {
            assert!(!twin.admits(wrong, now), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_is_read_again_counts_for_all() {
        let accounts = Accounts::parse("alice:secret").unwrap();
        let elsewhere = accounts.clone();
        let token = accounts.token(UNIX_EPOCH);
        assert!(accounts.renew("nonsense").is_err());
        assert!(elsewhere.is_right("alice", "secret") && elsewhere.admits(&token, UNIX_EPOCH));
        accounts.renew("bob:other").unwrap();
        assert!(elsewhere.is_right("bob", "other") && !elsewhere.is_right("alice", "secret"));
        assert!(!elsewhere.admits(&token, UNIX_EPOCH), "the token of a user who is gone");
    }

    #[test]
    fn a_file_that_makes_no_sense_is_refused_with_its_line() {
        for (text, problem) in [
            ("", "it names no user; write name:password on a line"),
            ("# none", "it names no user; write name:password on a line"),
            ("alice:a\nbob", "line 2: write name:password"),
            (":a", "line 1: write name:password"),
            ("alice:", "line 1: write name:password"),
            ("alice:a\nalice:b", "line 2: `alice` is there already"),
        ] {
            assert_eq!(Accounts::parse(text).map(drop), Err(problem.to_owned()), "{text}");
        }
    }
}
