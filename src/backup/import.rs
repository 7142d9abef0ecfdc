use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message as _;

use super::bolt::{self, Reader};
use super::file::{self, FileError};
use super::schema::{ALARM, AUTH, AUTH_ROLES, AUTH_USERS, KEY, LEASE, Lease, META};
use crate::apply::{alarm, cluster, encode_lease, lease_key};
use crate::lease::LeaseId;
use crate::membership::{ClusterId, MemberId, Roster};
use crate::mvcc::{
    Applied, COMPACT_FINISHED, COMPACT_SCHEDULED, EventRef, REVISION_FLOOR, Revision, StorageError,
};
use crate::proto::{etcdserverpb, mvccpb};
use crate::raft::SnapshotMeta;
use crate::store::Builder;
use crate::wal::{self, Metadata, Wal};

/// The member that a snapshot becomes, and where it will live.
#[derive(Debug, Clone)]
pub struct Target {
    /// The store of the member.
    pub store: PathBuf,
    /// The directory of its log.
    pub log: PathBuf,
    pub member: MemberId,
    pub cluster: ClusterId,
    /// The members of the new cluster; those of the old one are forgotten.
    pub roster: Roster,
    /// How much higher the revisions begin than the snapshot ends, so that no client sees one twice.
    pub bump_revision: u64,
    /// Whether everything up to there counts as compacted, so that watchers start afresh.
    pub mark_compacted: bool,
}

/// Why a snapshot was not restored.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Bolt(#[from] bolt::Error),
    #[error("`{}` is damaged: {what}", path.display())]
    Senseless { path: PathBuf, what: String },
    #[error("`{}` has no bucket `key`: it is no snapshot of etcd v3", path.display())]
    NoKeys { path: PathBuf },
    #[error(transparent)]
    Store(#[from] StorageError),
    #[error(transparent)]
    Log(#[from] wal::Error),
}

/// Makes the store and the log of a member of a new cluster from a snapshot
/// (etcd `etcdutl/snapshot/v3_snapshot.go`).
///
/// The store says that it contains the log up to the point where a new cluster begins, so that all
/// members restored from the same file with the same settings begin alike.
pub fn restore(snapshot: &Path, skip_hash_check: bool, target: &Target) -> Result<(), ImportError> {
    if !skip_hash_check {
        file::check(snapshot)?;
    }
    let founding = SnapshotMeta::founding(&target.roster);
    let applied = Applied { index: founding.index.0, term: founding.term.0 };
    let mut import = Import {
        path: snapshot,
        reader: Reader::open(snapshot)?,
        store: Builder::begin(&target.store, applied)?,
    };
    let last = import.keys()?;
    import.leases()?;
    import.alarms()?;
    import.users()?;
    let compacted = import.compactions()?;
    import.number_revisions(last.max(compacted), target)?;
    import.store.meta(cluster::ROSTER, cluster::encode_roster(&target.roster));
    import.store.finish()?;
    let metadata = Metadata {
        member: target.member,
        cluster: target.cluster,
        roster: target.roster.clone(),
        joined: false,
    };
    drop(Wal::create(&target.log, metadata, wal::Options::default())?);
    Ok(())
}

struct Import<'a> {
    path: &'a Path,
    reader: Reader,
    store: Builder,
}

impl Import<'_> {
    /// All records; the last revision.
    fn keys(&mut self) -> Result<i64, ImportError> {
        let Self { path, reader, store } = self;
        let mut last = 0;
        let found = reader.walk(KEY, &mut |key, value| {
            let (at, deleted) =
                Revision::from_etcd(key).ok_or_else(|| senseless(path, "a revision"))?;
            last = at.main;
            if value.is_empty() {
                // Only marks up to where revisions are used up.
                return Ok::<(), ImportError>(());
            }
            let pair = mvccpb::KeyValue::decode(value)
                .map_err(|_damage| senseless(path, &format!("the record of revision {at:?}")))?;
            let record = EventRef {
                key: &pair.key,
                value: &pair.value,
                create_revision: pair.create_revision,
                mod_revision: at.main,
                version: pair.version,
                lease: pair.lease,
                deleted,
            };
            Ok(store.record(at, record)?)
        })?;
        if !found {
            return Err(ImportError::NoKeys { path: path.to_path_buf() });
        }
        Ok(last)
    }

    fn leases(&mut self) -> Result<(), ImportError> {
        let Self { path, reader, store } = self;
        reader.walk(LEASE, &mut |_id, value| {
            let lease = Lease::decode(value).map_err(|_damage| senseless(path, "a lease"))?;
            store.meta(&lease_key(LeaseId(lease.id)), encode_lease(lease.ttl, lease.remaining_ttl));
            Ok::<(), ImportError>(())
        })?;
        Ok(())
    }

    fn alarms(&mut self) -> Result<(), ImportError> {
        let Self { path, reader, store } = self;
        reader.walk(ALARM, &mut |key, _nothing| {
            let raised = etcdserverpb::AlarmMember::decode(key);
            let raised = raised.map_err(|_damage| senseless(path, "an alarm"))?;
            if raised.alarm() != etcdserverpb::AlarmType::None {
                store.meta(&alarm::encode(&raised), Bytes::new());
            }
            Ok::<(), ImportError>(())
        })?;
        Ok(())
    }

    /// Users and roles, which are kept in etcd's own form.
    fn users(&mut self) -> Result<(), ImportError> {
        let Self { reader, store, .. } = self;
        for bucket in [AUTH, AUTH_ROLES, AUTH_USERS] {
            reader.walk(bucket, &mut |key, value| {
                let place = [bucket, b"/", key].concat();
                store.meta(&place, Bytes::copy_from_slice(value));
                Ok::<(), ImportError>(())
            })?;
        }
        Ok(())
    }

    /// Up to where history is compacted, 0 if nowhere.
    fn compactions(&mut self) -> Result<i64, ImportError> {
        let Self { path, reader, store } = self;
        let mut scheduled = 0;
        reader.walk(META, &mut |key, value| {
            let kept = match key {
                b"scheduledCompactRev" => COMPACT_SCHEDULED,
                b"finishedCompactRev" => COMPACT_FINISHED,
                _ => return Ok::<(), ImportError>(()),
            };
            let (at, _) = Revision::from_etcd(value)
                .ok_or_else(|| senseless(path, "the revision of a compaction"))?;
            if kept == COMPACT_SCHEDULED {
                scheduled = at.main;
            }
            store.meta(kept, Bytes::copy_from_slice(&at.main.to_be_bytes()));
            Ok(())
        })?;
        Ok(scheduled)
    }

    fn number_revisions(&mut self, last: i64, target: &Target) -> Result<(), ImportError> {
        let bump = i64::try_from(target.bump_revision).ok();
        let revision = bump.and_then(|bump| last.checked_add(bump));
        let revision = revision.ok_or_else(|| senseless(self.path, "the bumped revision"))?;
        let bytes = Bytes::copy_from_slice(&revision.to_be_bytes());
        if target.mark_compacted {
            self.store.meta(COMPACT_SCHEDULED, bytes.clone());
        }
        self.store.meta(REVISION_FLOOR, bytes);
        Ok(())
    }
}

fn senseless(path: &Path, what: &str) -> ImportError {
    ImportError::Senseless { path: path.to_owned(), what: format!("{what} makes no sense") }
}
