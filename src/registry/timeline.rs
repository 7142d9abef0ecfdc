use std::net::IpAddr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::token::TokenPath;

/// What was decided about a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    Created,
    Founded,
    /// The last founder has registered.
    Sealed,
    /// A founder asked again and goes on.
    Resumed,
    Surplus,
    Refused,
    Revoked,
    Extended,
    Expired,
}

/// One decision, as the timeline keeps it.
///
/// The order of the fields is the order of the stored text, which is hashed; a field that means
/// nothing for a decision is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1, without gaps, over the whole registry.
    pub seq: u64,
    /// Milliseconds since 1970.
    pub at: u64,
    /// The public id of the token.
    pub token: String,
    pub what: What,
    /// The index of the registry, of decisions that took one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expires_at: Option<u64>,
    /// The member id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub member: Option<String>,
    /// The value of a registration, `name=url,...`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value: Option<String>,
    /// The code of a refusal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<String>,
    /// What the refused node was told, without the token.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// The address of whoever asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<IpAddr>,
    /// The name of the key that an operator used.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
}

/// The end of the chain so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) hash: [u8; 32],
}

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) seq: u64,
    pub(super) token: String,
    pub(super) body: String,
    pub(super) hash: String,
}

/// A timeline that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub entries: u64,
    /// The hash of the last entry, in hexadecimal: whoever wrote it down notices any later change.
    pub head: String,
}

/// The first thing that is wrong with a timeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("timeline entry {seq}: {what}")]
pub struct Broken {
    pub seq: u64,
    pub what: String,
}

impl What {
    /// The word that the stored text has.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Founded => "founded",
            Self::Sealed => "sealed",
            Self::Resumed => "resumed",
            Self::Surplus => "surplus",
            Self::Refused => "refused",
            Self::Revoked => "revoked",
            Self::Extended => "extended",
            Self::Expired => "expired",
        }
    }
}

impl Entry {
    /// An entry with nothing but what every decision has; [`Head::append`] numbers it.
    pub(super) fn new(at: u64, path: &TokenPath, what: What) -> Self {
        Self {
            seq: 0,
            at,
            token: path.public_id().to_string(),
            what,
            index: None,
            size: None,
            label: None,
            expires_at: None,
            member: None,
            value: None,
            code: None,
            text: None,
            from: None,
            by: None,
        }
    }
}

impl Head {
    /// The end of an empty timeline.
    pub(super) const START: Self = Self { seq: 0, hash: [0; 32] };

    pub(super) fn stored(seq: u64, hash: &str) -> Option<Self> {
        Some(Self { seq, hash: read_hash(hash)? })
    }

    /// Puts an entry at the end.
    pub(super) fn append(&mut self, mut entry: Entry) -> Row {
        entry.seq = self.seq + 1;
        let body = serde_json::to_string(&entry).expect("an entry has string keys only");
        self.seq = entry.seq;
        self.hash = link(&self.hash, &body);
        Row { seq: self.seq, token: entry.token, body, hash: HEXLOWER.encode(&self.hash) }
    }

    /// Complains unless this is where the timeline ends.
    pub(super) fn ends_at(&self, seq: u64, hash: &str) -> Result<(), Broken> {
        if (self.seq, self.hash_text().as_str()) == (seq, hash) {
            return Ok(());
        }
        let what = format!("the timeline should end with entry {seq} and another hash");
        Err(Broken { seq: self.seq, what })
    }

    pub(super) fn hash_text(&self) -> String {
        HEXLOWER.encode(&self.hash)
    }

    /// Goes on to a stored entry, which has to be the next one.
    pub(super) fn follow(&mut self, row: &Row) -> Result<Entry, Broken> {
        let seq = self.seq + 1;
        let broken = |what: String| Err(Broken { seq, what });
        if row.seq != seq {
            return broken(format!("it is missing, the next one there is {}", row.seq));
        }
        let hash = link(&self.hash, &row.body);
        if read_hash(&row.hash) != Some(hash) {
            return broken(
                "its hash does not follow from its text and the entry before: one of them was \
                 changed"
                    .to_owned(),
            );
        }
        let entry: Entry = match serde_json::from_str(&row.body) {
            Ok(entry) => entry,
            Err(error) => return broken(format!("its text is no entry: {error}")),
        };
        if entry.seq != seq || entry.token != row.token {
            return broken("it is filed under another number or token than its text says".into());
        }
        *self = Self { seq, hash };
        Ok(entry)
    }
}

fn link(before: &[u8; 32], body: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(body.as_bytes());
    hash.finalize().into()
}

/// Upper case would be a second spelling of the same hash, and is none.
fn read_hash(text: &str) -> Option<[u8; 32]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Token;

    fn chain() -> Vec<Row> {
        let path = TokenPath::short(&Token::draw());
        let mut head = Head::START;
        [What::Created, What::Founded, What::Sealed]
            .map(|what| head.append(Entry { index: Some(4), ..Entry::new(1, &path, what) }))
            .to_vec()
    }

    fn verify(rows: &[Row]) -> Result<u64, Broken> {
        let mut head = Head::START;
        for row in rows {
            head.follow(row)?;
        }
        Ok(head.seq)
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_named() {
        let rows = chain();
        assert_eq!(verify(&rows), Ok(3));
        for at in 0..rows.len() {
            for byte in 0..rows[at].body.len() {
                let mut bytes = rows[at].body.clone().into_bytes();
                bytes[byte] ^= 1;
                let mut damaged = rows.clone();
                damaged[at].body = String::from_utf8(bytes).unwrap();
                assert_eq!(verify(&damaged).unwrap_err().seq, at as u64 + 1);
            }
            for byte in 0..64 {
                let mut bytes = rows[at].hash.clone().into_bytes();
                bytes[byte] ^= 1;
                let mut damaged = rows.clone();
                damaged[at].hash = String::from_utf8(bytes).unwrap();
                assert_eq!(verify(&damaged).unwrap_err().seq, at as u64 + 1);
            }
            let mut damaged = rows.clone();
            damaged[at].token = "000000000000".into();
            assert_eq!(verify(&damaged).unwrap_err().seq, at as u64 + 1);
            let mut damaged = rows.clone();
            damaged.remove(at);
            if at < 2 {
                assert_eq!(verify(&damaged).unwrap_err().seq, at as u64 + 1);
            }
        }
    }

    /// Another program, or another version of this one, must come to the same hashes.
    #[test]
    fn the_stored_text_is_canonical() {
        let path = TokenPath::short(&"6c007a14875d53d9bf0ef5a6fc0257c8".parse().unwrap());
        let mut head = Head::START;
        let entry = Entry { size: Some(3), index: Some(4), ..Entry::new(7, &path, What::Created) };
        let row = head.append(entry);
        let text = r#"{"seq":1,"at":7,"token":"ID","what":"created","index":4,"size":3}"#;
        assert_eq!(row.body, text.replace("ID", path.public_id().as_str()));
        assert!(!row.body.contains("6c007a14875d53d9bf0ef5a6fc0257c8"));
        assert_eq!(
            row.hash,
            HEXLOWER.encode(&Sha256::digest([&[0; 32], row.body.as_bytes()].concat()))
        );
    }
}
