//! What simulation and tests do with a whole state at one go; a node does it piece by piece.

use bytes::Bytes;

use super::{Error, State};
use crate::mvcc::{DumpError, Memory, Storage};

impl<S: Storage> State<S> {
    /// etcd's `HashKV` at a revision, 0 for the newest.
    pub fn hash_kv(&self, revision: i64) -> Result<u32, Error> {
        Ok(self.keys().hash(revision)?)
    }
}

impl State<Memory> {
    /// The whole state: what a simulated snapshot carries.
    pub fn to_bytes(&self) -> Bytes {
        self.storage().to_bytes()
    }

    /// The reverse of [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DumpError> {
        const SENSELESS: DumpError = DumpError::Corrupt("its content makes no sense");
        Self::open(Memory::from_bytes(bytes)?).ok().ok_or(SENSELESS)
    }
}
