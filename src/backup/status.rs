use std::collections::HashSet;
use std::path::Path;

use prost::Message as _;
use serde::Serialize;

use super::bolt::{Error, Reader};
use super::schema::{KEY, META};
use crate::mvcc::Revision;
use crate::proto::mvccpb;

/// What a snapshot holds, in the words of `etcdutl snapshot status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// CRC-32C over names of buckets, keys and values.
    pub hash: u32,
    pub revision: i64,
    /// Keys that exist; until etcd 3.5 the entries of all buckets.
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
    let mut keys = HashSet::new();
    for bucket in reader.buckets()? {
        status.hash = crc32c::crc32c_append(status.hash, &bucket);
        reader.walk(&bucket, &mut |key, value| {
            status.hash = crc32c::crc32c_append(status.hash, key);
            status.hash = crc32c::crc32c_append(status.hash, value);
            if bucket == KEY {
                let senseless = |what: &str| {
                    let what = format!("{what} makes no sense");
                    Error::Damaged { path: path.to_owned(), what }
                };
                let (at, deleted) =
                    Revision::from_etcd(key).ok_or_else(|| senseless("a revision"))?;
                status.revision = at.main;
                let pair = mvccpb::KeyValue::decode(value);
                let key = pair.map_err(|_damage| senseless("a record"))?.key;
                if deleted {
                    keys.remove(&key);
                } else {
                    keys.insert(key);
                }
            }
            if bucket == META && key == b"storageVersion" {
                status.version = String::from_utf8_lossy(value).into_owned();
            }
            Ok::<(), Error>(())
        })?;
    }
    status.total_key = keys.len() as u64;
    Ok(status)
}
