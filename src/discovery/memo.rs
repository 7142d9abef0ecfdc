use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::membership::MemberId;

/// `<data-dir>/discovery.json`: the registration that this data directory made.
///
/// It is on disk before the registration is sent and goes away once the node has a log. Between the
/// two it tells a node that crashed from a founder that lost its disk: the first may go on with its
/// registration even if the cluster is full by now, because it never voted; the second may not.
#[derive(Debug, Clone)]
pub struct Memo {
    path: PathBuf,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    url: String,
    member: String,
}

impl Memo {
    /// The memo of that data directory.
    pub fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join("discovery.json") }
    }

    /// Whether this data directory registered that member with that URL.
    ///
    /// A memo that cannot be read says nothing; the registration is then judged as a stranger's.
    pub fn is_of(&self, url: &str, member: MemberId) -> bool {
        let read = fs::read(&self.path).ok();
        let content = read.and_then(|bytes| serde_json::from_slice::<Content>(&bytes).ok());
        content == Some(Content { url: url.to_owned(), member: member.to_string() })
    }

    /// Writes the memo durably.
    pub fn write(&self, url: &str, member: MemberId) -> io::Result<()> {
        let content = Content { url: url.to_owned(), member: member.to_string() };
        // The URL is the secret of the cluster that forms.
        durable::replace(&self.path, &serde_json::to_vec(&content)?, 0o600)
    }

    /// Forgets the registration, because the node has a log now.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Ok(()) => durable::sync_parent(&self.path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_is_of_one_registration_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let memo = Memo::new(dir.path());
        assert!(!memo.is_of("http://h/t", MemberId(1)));
        memo.write("http://h/t", MemberId(1)).unwrap();
        assert!(memo.is_of("http://h/t", MemberId(1)));
        assert!(!memo.is_of("http://h/t/", MemberId(1)) && !memo.is_of("http://h/t", MemberId(2)));
        memo.remove().unwrap();
        memo.remove().unwrap();
        assert!(!memo.is_of("http://h/t", MemberId(1)));
    }
}
