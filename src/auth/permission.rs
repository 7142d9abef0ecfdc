use bytes::Bytes;

use super::Error;

/// What a permission allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Read,
    Write,
    ReadWrite,
}

/// The right to read or write the keys of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    pub kind: Kind,
    pub key: Bytes,
    /// Empty: the one key. `\0`: everything from the key on. Otherwise the first key that is not meant.
    pub range_end: Bytes,
}

impl Kind {
    pub(super) fn reads(self) -> bool {
        self != Self::Write
    }

    pub(super) fn writes(self) -> bool {
        self != Self::Read
    }
}

impl Permission {
    /// To read and write every key.
    pub fn everything() -> Self {
        Self { kind: Kind::ReadWrite, key: Bytes::new(), range_end: Bytes::from_static(&[0]) }
    }

    /// Refuses the empty key and ranges that end before they begin (etcd 3.4.25, 3.5.8).
    pub(super) fn check(&self) -> Result<(), Error> {
        let backwards =
            !self.range_end.is_empty() && self.range_end[..] != [0] && self.range_end <= self.key;
        if self.key.is_empty() || backwards { Err(Error::InvalidManagement) } else { Ok(()) }
    }

    pub(super) fn covers_same(&self, key: &[u8], range_end: &[u8]) -> bool {
        self.key[..] == *key && self.range_end[..] == *range_end
    }
}
