use std::path::Path;

use serde::Serialize;

use super::bolt::{Error, Reader};
use super::schema::{KEY, META};
use crate::mvcc::Revision;

/// What a snapshot holds, in the words of `etcdutl snapshot status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// CRC-32C over names of buckets, keys and values.
    pub hash: u32,
    pub revision: i64,
    /// Entries of all buckets.
    pub total_key: u64,
    /// Bytes of the pages.
    pub total_size: u64,
    /// The level of etcd that wrote it; empty below 3.6.
    pub version: String,
}

/// Reads all of a snapshot, and refuses one that is damaged.
pub fn status(path: &Path) -> Result<Status, Error> {
    let mut reader = Reader::open(path)?;
    let total_size = reader.file_bytes();
    let mut status =
        Status { hash: 0, revision: 0, total_key: 0, total_size, version: String::new() };
    for bucket in reader.buckets()? {
        status.hash = crc32c::crc32c_append(status.hash, &bucket);
        reader.walk(&bucket, &mut |key, value| {
            status.hash = crc32c::crc32c_append(status.hash, key);
            status.hash = crc32c::crc32c_append(status.hash, value);
            status.total_key += 1;
            if bucket == KEY
                && let Some((at, _)) = Revision::from_etcd(key)
            {
                status.revision = at.main;
            }
            if bucket == META && key == b"storageVersion" {
                status.version = String::from_utf8_lossy(value).into_owned();
            }
            Ok::<(), Error>(())
        })?;
    }
    Ok(status)
}
