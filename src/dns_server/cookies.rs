use std::fs;
use std::hash::Hasher as _;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use siphasher::sip::SipHasher24;
use tracing::warn;

use crate::durable;

/// A secret serves so long; the one before is still good for cookies that are not too old.
const SECRET_LIFE: u64 = 24 * 3600;
/// What a server cookie may be late or early (RFC 9018 §4.3).
const OLDEST: u32 = 3600;
const EARLIEST: u32 = 300;
const FILE: &str = "dns-cookie-secret";

/// Cookies that tell clients from those who only claim an address (RFC 7873, RFC 9018).
#[derive(Debug)]
pub struct Cookies {
    /// The newest first, two at most.
    secrets: ArcSwap<Vec<Secret>>,
    /// Where they outlive a restart.
    file: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq)]
struct Secret {
    made: u64,
    key: [u8; 16],
}

/// What a client's cookie proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was given to this client not long ago.
    Good,
    /// There is no server part, or not one of ours.
    Unknown,
    /// It is none (RFC 7873 §5.2.2).
    Malformed,
}

impl Cookies {
    /// Secrets for as long as the process lives.
    pub fn ephemeral() -> Self {
        Self { secrets: ArcSwap::from_pointee(vec![Secret::new(now())]), file: None }
    }

    /// Secrets kept in a data directory. Without a readable file they are new.
    pub fn kept_in(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let file = directory.join(FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let held: Vec<Secret> = text.lines().filter_map(Secret::parse).take(2).collect();
        let cookies = Self { secrets: ArcSwap::from_pointee(held), file: Some(file) };
        cookies.rotate(now())?;
        Ok(cookies)
    }

    /// Makes a new secret when the newest is too old.
    pub(super) fn refresh(&self) {
        if let Err(error) = self.rotate(now()) {
            warn!(error = %error, "secret of DNS cookies cannot be written, clients will need new ones after a restart");
        }
    }

    fn rotate(&self, now: u64) -> io::Result<()> {
        let held = self.secrets.load();
        let fresh = |secret: &&Secret| secret.made <= now && now - secret.made < SECRET_LIFE;
        if held.first().filter(fresh).is_some() {
            return Ok(());
        }
        let secrets: Vec<Secret> =
            [Secret::new(now)].into_iter().chain(held.first().cloned()).collect();
        let text: String = secrets.iter().map(Secret::line).collect();
        self.secrets.store(secrets.into());
        let Some(file) = &self.file else { return Ok(()) };
        durable::replace(file, text.as_bytes(), 0o600)
    }

    pub(super) fn judge(&self, cookie: &[u8], client: IpAddr) -> Standing {
        self.judge_at(cookie, client, now())
    }

    /// The cookie to send back: the client's part, and a server part for its next question.
    pub(super) fn give(&self, cookie: &[u8], client: IpAddr) -> Vec<u8> {
        self.give_at(cookie, client, now())
    }

    fn judge_at(&self, cookie: &[u8], client: IpAddr, now: u64) -> Standing {
        let (own, server) = match cookie.len() {
            8 => return Standing::Unknown,
            16..=40 => cookie.split_at(8),
            _ => return Standing::Malformed,
        };
        let (&[1, _, _, _, t0, t1, t2, t3], hash) = (match server.split_first_chunk() {
            Some(parts) => parts,
            None => return Standing::Unknown,
        }) else {
            return Standing::Unknown;
        };
        // Serial arithmetic, so that the year 2106 passes unnoticed.
        let age = seconds(now).wrapping_sub(u32::from_be_bytes([t0, t1, t2, t3]));
        if age > OLDEST && age.wrapping_neg() > EARLIEST {
            return Standing::Unknown;
        }
        let mut given = own.to_vec();
        given.extend_from_slice(&server[..8]);
        let secrets = self.secrets.load();
        let ours = |secret: &Secret| {
            let expected = secret.hash(&given, client);
            bool::from(subtle::ConstantTimeEq::ct_eq(&expected[..], hash))
        };
        if secrets.iter().any(ours) { Standing::Good } else { Standing::Unknown }
    }

    fn give_at(&self, cookie: &[u8], client: IpAddr, now: u64) -> Vec<u8> {
        let mut given = cookie[..8].to_vec();
        given.extend([1, 0, 0, 0]);
        given.extend(seconds(now).to_be_bytes());
        let secrets = self.secrets.load();
        if let Some(secret) = secrets.first() {
            let hash = secret.hash(&given, client);
            given.extend(hash);
        }
        given
    }
}

impl Secret {
    fn new(made: u64) -> Self {
        Self { made, key: rand::random() }
    }

    fn parse(line: &str) -> Option<Self> {
        let (made, key) = line.split_once(' ')?;
        let key = u128::from_str_radix(key, 16).ok().filter(|_| key.len() == 32)?;
        Some(Self { made: made.parse().ok()?, key: key.to_be_bytes() })
    }

    fn line(&self) -> String {
        format!("{} {:032x}\n", self.made, u128::from_be_bytes(self.key))
    }

    /// The hash of client part, version, reserved bytes, time and address (RFC 9018 §4.4).
    fn hash(&self, given: &[u8], client: IpAddr) -> [u8; 8] {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(given);
        match client {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        hasher.finish().to_le_bytes()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("made", &self.made).finish_non_exhaustive()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the field has 32 bits and is compared in a circle"
)]
fn seconds(now: u64) -> u32 {
    now as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 9018 appendix A.1.
    #[test]
    fn the_cookie_of_the_rfc() {
        let cookies = Cookies::ephemeral();
        let key = 0xe5e9_73e5_a6b2_a43f_48e7_dc84_9e37_bfcf_u128.to_be_bytes();
        let made = 1_559_731_985;
        cookies.secrets.store(vec![Secret { made, key }].into());
        let client: IpAddr = "198.51.100.100".parse().unwrap();
        let own = 0x2464_c4ab_cf10_c957_u64.to_be_bytes();
        let given = cookies.give_at(&own, client, made);
        let hex: String = given.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "2464c4abcf10c957010000005cf79f111f8130c3eee29480");

        assert_eq!(cookies.judge_at(&given, client, made + 3600), Standing::Good);
        assert_eq!(cookies.judge_at(&given, client, made - 300), Standing::Good);
        assert_eq!(cookies.judge_at(&given, client, made + 3601), Standing::Unknown);
        assert_eq!(cookies.judge_at(&given, client, made - 301), Standing::Unknown);
        assert_eq!(cookies.judge_at(&given, [198, 51, 100, 101].into(), made), Standing::Unknown);
        assert_eq!(cookies.judge_at(&own, client, made), Standing::Unknown);
        for length in [0, 1, 7, 9, 15, 41] {
            let cookie = vec![1; length];
            assert_eq!(cookies.judge_at(&cookie, client, made), Standing::Malformed, "{length}");
        }
    }

    #[test]
    fn secrets_outlive_a_restart_and_one_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let client: IpAddr = "2001:db8::1".parse().unwrap();
        let first = Cookies::kept_in(directory.path()).unwrap();
        let given = first.give(&[7; 8], client);
        let second = Cookies::kept_in(directory.path()).unwrap();
        assert_eq!(second.judge(&given, client), Standing::Good);
        second.rotate(now() + SECRET_LIFE).unwrap();
        assert_eq!(second.judge(&given, client), Standing::Good);
        second.rotate(now() + 2 * SECRET_LIFE).unwrap();
        assert_eq!(second.judge(&given, client), Standing::Unknown);
    }
}
