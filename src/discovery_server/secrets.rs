use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use crate::token::Token;

/// The shortest key that is taken.
const MIN_KEY_BYTES: usize = 16;

/// Keys of a file, one a line: `name:key`, or `key` alone. `#` starts a comment.
///
/// Only their hashes are kept, so that no core dump and no debug print has a key, and so that all
/// comparisons are of the same length.
#[derive(Debug)]
pub struct Secrets {
    path: PathBuf,
    keys: ArcSwap<Vec<Key>>,
}

#[derive(Debug, Clone)]
struct Key {
    name: Arc<str>,
    hash: [u8; 32],
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("key file `{}`", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "key file `{}`, line {line}: {what}; write one `name:key` a line, with at least \
         {MIN_KEY_BYTES} characters in the key",
        path.display()
    )]
    Line { path: PathBuf, line: usize, what: &'static str },
    #[error("key file `{}` has no key; write one `name:key` a line", path.display())]
    Empty { path: PathBuf },
}

impl Secrets {
    /// Reads the keys.
    pub fn open(path: &Path) -> Result<Self, SecretsError> {
        let keys = read(path)?;
        Ok(Self { path: path.to_owned(), keys: ArcSwap::from_pointee(keys) })
    }

    /// Reads the keys; makes one if there is no such file.
    pub fn open_or_create(path: &Path) -> Result<Self, SecretsError> {
        let failed = |source| SecretsError::Io { path: path.to_owned(), source };
        let created = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path);
        match created {
            Ok(mut file) => {
                let line = format!("admin:{}\n", Token::draw().secret());
                file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        Self::open(path)
    }

    /// Reads the keys again. On any error the old ones stay.
    pub fn reload(&self) -> Result<(), SecretsError> {
        self.keys.store(Arc::new(read(&self.path)?));
        Ok(())
    }

    /// The name of the key in an `Authorization: Bearer` header, if it is one of ours.
    pub(super) fn bearer(&self, headers: &HeaderMap) -> Option<Arc<str>> {
        let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, key) = given.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| self.name_of(key.trim()))?
    }

    /// All keys are compared, whichever fits, in a time that tells nothing about them.
    fn name_of(&self, key: &str) -> Option<Arc<str>> {
        let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let keys = self.keys.load();
        let mut found = u32::MAX;
        for (at, held) in (0..).zip(keys.iter()) {
            let same: Choice = held.hash.ct_eq(&hash);
            found = u32::conditional_select(&found, &at, same);
        }
        keys.get(usize::try_from(found).ok()?).map(|held| Arc::clone(&held.name))
    }
}

fn read(path: &Path) -> Result<Vec<Key>, SecretsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SecretsError::Io { path: path.to_owned(), source })?;
    let mut keys: Vec<Key> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (name, key) = match line.split_once(':') {
            Some((name, key)) => (name.trim().to_owned(), key.trim()),
            None => (format!("key-{number}"), line),
        };
        let wrong = |what| SecretsError::Line { path: path.to_owned(), line: number, what };
        if name.is_empty() || name.len() > 64 || name.contains(char::is_control) {
            return Err(wrong("the name is missing or too long"));
        }
        if key.len() < MIN_KEY_BYTES {
            return Err(wrong("the key is too short"));
        }
        if keys.iter().any(|held| *held.name == *name) {
            return Err(wrong("another key has this name"));
        }
        keys.push(Key { name: name.into(), hash: Sha256::digest(key.as_bytes()).into() });
    }
    if keys.is_empty() {
        return Err(SecretsError::Empty { path: path.to_owned() });
    }
    Ok(keys)
}

/// The first key of a file, for our own client.
pub fn first_key(path: &Path) -> Result<String, SecretsError> {
    // Read for its errors: a client should not send what the service would not take.
    read(path)?;
    let text = std::fs::read_to_string(path)
        .map_err(|source| SecretsError::Io { path: path.to_owned(), source })?;
    let mut lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let line = lines.find(|line| !line.is_empty()).unwrap_or_default();
    Ok(line.split_once(':').map_or(line, |(_, key)| key.trim()).to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use axum::http::HeaderValue;

    use super::*;

    fn bearer(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(text).unwrap());
        headers
    }

    #[test]
    fn keys_have_names_and_are_read_again() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, "# ours\nann:0123456789abcdef\n\nfedcba9876543210 # old\n").unwrap();
        let keys = Secrets::open(&path).unwrap();
        let name = |keys: &Secrets, text: &str| keys.bearer(&bearer(text)).map(|n| n.to_string());
        assert_eq!(name(&keys, "Bearer 0123456789abcdef").as_deref(), Some("ann"));
        assert_eq!(name(&keys, "bearer fedcba9876543210").as_deref(), Some("key-4"));
        for wrong in ["Bearer 0123456789abcdeX", "Basic 0123456789abcdef", "Bearer", "Bearer  "] {
            assert_eq!(name(&keys, wrong), None, "{wrong}");
        }
        assert_eq!(keys.bearer(&HeaderMap::new()), None);
        assert!(!format!("{keys:?}").contains("0123456789abcdef"));
        assert_eq!(first_key(&path).unwrap(), "0123456789abcdef");
        std::fs::write(&path, "bob:aaaaaaaaaaaaaaaaaaaa\n").unwrap();
        keys.reload().unwrap();
        assert_eq!(name(&keys, "Bearer 0123456789abcdef"), None);
        assert_eq!(name(&keys, "Bearer aaaaaaaaaaaaaaaaaaaa").as_deref(), Some("bob"));
        std::fs::write(&path, "bob:short\n").unwrap();
        let error = keys.reload().unwrap_err().to_string();
        assert!(error.contains("line 1: the key is too short"), "{error}");
        assert!(name(&keys, "Bearer aaaaaaaaaaaaaaaaaaaa").is_some(), "the old keys stay");
    }

    #[test]
    fn a_missing_file_is_made_for_its_owner_only() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("admin.key");
        let keys = Secrets::open_or_create(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let key = first_key(&path).unwrap();
        let name = keys.bearer(&bearer(&format!("Bearer {key}"))).unwrap();
        assert_eq!(&*name, "admin");
        drop(keys);
        Secrets::open_or_create(&path).unwrap();
        assert_eq!(first_key(&path).unwrap(), key, "an existing key stays");
        for (text, part) in [("a:b\n", "too short"), ("# none\n", "has no key")] {
            std::fs::write(&path, text).unwrap();
            let error = Secrets::open_or_create(&path).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
