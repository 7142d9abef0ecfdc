//! What the directory of a member says that does not run.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use prost::Message as _;

use crate::cli::output::counted;
use crate::cli::steps::{Steps, Stop, sick};
use crate::membership::{ClusterId, MemberId};
use crate::transport::chain;
use crate::wal::Wal;

const STEP: &str = "data directory";
/// The kind of a record in etcd's log that says whose log it is (`server/storage/wal`, `MetadataType`).
const METADATA: i64 = 1;
/// The records that are read to find it: it stands behind the first checksum.
const RECORDS: usize = 4;

/// A record of etcd's log (`walpb.Record`).
#[derive(Clone, PartialEq, prost::Message)]
struct EtcdRecord {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(bytes = "vec", optional, tag = "3")]
    data: Option<Vec<u8>>,
}

/// Whose log it is (`etcdserverpb.Metadata`).
#[derive(Clone, PartialEq, prost::Message)]
struct EtcdMetadata {
    #[prost(uint64, tag = "1")]
    member: u64,
    #[prost(uint64, tag = "2")]
    cluster: u64,
}

/// Tells whose directory it is and how far its log goes.
pub(super) fn look(steps: &mut Steps, dir: &Path, wal_dir: Option<&Path>) -> Result<(), Stop> {
    if !dir.is_dir() {
        let cure =
            "give what the node has as --data-dir: NAME.etcd in its working directory without it";
        return Err(sick(STEP, format!("`{}` is no directory", dir.display()), cure));
    }
    let log = wal_dir.map_or_else(|| dir.join("member/wal"), Path::to_owned);
    let backend = dir.join("member/snap/db");
    let of_etcd = backend.exists();
    let locked = if of_etcd { backend } else { dir.join("lock") };
    if is_locked(&locked) {
        let what = format!("`{}` is in use: the node runs", dir.display());
        return Err(sick(STEP, what, "ask the node, with --endpoints and without --data-dir"));
    }
    let is_ours = dir.join("format").exists();
    match (Wal::exists(&log), of_etcd, is_ours) {
        (Ok(true), true, _) => etcd(steps, dir, &log),
        (Ok(true), false, _) => ours(steps, dir, &log),
        (Ok(false), true, _) | (Ok(false), _, true) => {
            let what = format!("`{}` has no log in `{}`", dir.display(), log.display());
            steps.warn(
                STEP,
                what,
                "the node bootstraps when it starts; if it was a member before, its log is lost or elsewhere \
                 (--wal-dir): remove and add it with `etcdctl member`",
            );
        }
        (Ok(false), false, false) => {
            let what = format!("`{}` is neither etcd's nor a quorate-node's", dir.display());
            return Err(sick(STEP, what, "compare it with --data-dir of the node"));
        }
        (Err(error), ..) => {
            return Err(sick(STEP, chain(&error), "let the user of this command read it"));
        }
    }
    Ok(())
}

/// Whether a running process holds it; both programs lock a file.
fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn ours(steps: &mut Steps, dir: &Path, log: &Path) {
    let recovered = match Wal::read(log) {
        Ok(recovered) => recovered,
        Err(error) => {
            let cure = "this member must not go on: `etcdctl member remove` and `member add` it, and start it \
                        with an empty directory and --initial-cluster-state existing";
            return steps.fail("log", chain(&error), cure);
        }
    };
    let metadata = &recovered.metadata;
    let came = if metadata.joined { "joined" } else { "founded" };
    steps.ok(
        STEP,
        format!("`{}` is that of a quorate-node, which {came} its cluster", dir.display()),
    );
    let members = counted(metadata.roster.members.len(), "member");
    steps.ok(
        "ids",
        format!(
            "member {} of cluster {}, {members} when it began",
            metadata.member, metadata.cluster
        ),
    );
    let (last, state) = (recovered.last(), recovered.hard_state);
    steps.ok(
        "log",
        format!(
            "whole, up to index {} of term {}; {} is known to be committed",
            last.index.0, last.term.0, state.commit.0
        ),
    );
    ignored(steps);
}

fn etcd(steps: &mut Steps, dir: &Path, log: &Path) {
    steps.ok(STEP, format!("`{}` is that of an etcd", dir.display()));
    match etcd_ids(log) {
        Some((member, cluster)) => {
            steps.ok("ids", format!("member {member} of cluster {cluster}"));
        }
        None => {
            let what =
                format!("the first record of `{}` does not say whose log it is", log.display());
            let cure = "the log is damaged or its first file is gone: restore a snapshot, or remove and add \
                        the member";
            steps.fail("ids", what, cure);
        }
    }
    ignored(steps);
}

fn ignored(steps: &mut Steps) {
    let what = "a start goes on with this log; --initial-cluster, --initial-cluster-state, \
                --initial-cluster-token and all --discovery flags are ignored";
    steps.ok("start", what);
}

/// Whose log of etcd it is: every one of its files says so at its beginning.
fn etcd_ids(log: &Path) -> Option<(MemberId, ClusterId)> {
    let entries = fs::read_dir(log).ok()?.flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "wal")).collect();
    files.sort();
    let bytes = fs::read(files.first()?).ok()?;
    etcd_metadata(&bytes).map(|found| (MemberId(found.member), ClusterId(found.cluster)))
}

/// A record is its size in the lower 56 bits of 8 bytes, little-endian, with padding said in the upper ones.
fn etcd_metadata(mut bytes: &[u8]) -> Option<EtcdMetadata> {
    for _ in 0..RECORDS {
        let (head, rest) = bytes.split_first_chunk::<8>()?;
        let head = u64::from_le_bytes(*head);
        let size = usize::try_from(head & ((1 << 56) - 1)).ok()?;
        let padding = if head >> 63 == 1 { usize::try_from(head >> 56 & 7).ok()? } else { 0 };
        let record = EtcdRecord::decode(rest.get(..size)?).ok()?;
        if record.kind == METADATA {
            return EtcdMetadata::decode(record.data?.as_slice()).ok();
        }
        bytes = rest.get(size + padding..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(record: &EtcdRecord) -> Vec<u8> {
        let data = record.encode_to_vec();
        let padding = (8 - data.len() % 8) % 8;
        let mark = if padding == 0 { 0 } else { (0x80 | padding as u64) << 56 };
        let mut out = (data.len() as u64 | mark).to_le_bytes().to_vec();
        out.extend(data);
        out.extend(vec![0; padding]);
        out
    }

    #[test]
    fn a_log_of_etcd_says_whose_it_is() {
        let metadata = EtcdMetadata { member: 0x8e9e_05c5_2164_694d, cluster: 7 };
        let mut log = framed(&EtcdRecord { kind: 4, data: None });
        log.extend(framed(&EtcdRecord { kind: METADATA, data: Some(metadata.encode_to_vec()) }));
        assert_eq!(etcd_metadata(&log), Some(metadata));
        for end in 0..log.len() - 8 {
            assert_eq!(etcd_metadata(&log[..end]), None, "{end}");
        }
        assert_eq!(etcd_metadata(&[0xff; 64]), None);
    }
}
