use std::cmp::Ordering;

use crate::lease::Leases;
use crate::mvcc::{KeyRange, KeyValue, Keyspace, Storage, StorageError};
use crate::proto::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};

/// Whether one compare of a transaction holds.
///
/// A range holds when every key in it does; an empty one is taken as one key of zeros, except that
/// no value of an absent key ever compares.
pub(super) fn holds<S: Storage>(
    compare: &pb::Compare,
    keys: &Keyspace<S>,
    leases: &Leases,
) -> Result<bool, StorageError> {
    let at = keys.revision();
    let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
    let by_value = compare.target == i32::from(CompareTarget::Value);
    let mut found = false;
    for (key, revision) in keys.range(&range, at, None) {
        let Some(revision) = revision else { continue };
        found = true;
        let kv = if by_value {
            keys.storage().get(revision)?.kv
        } else {
            // All but the value is in memory.
            let life = keys.life(key).map(|(life, _)| life).unwrap_or_default();
            KeyValue {
                create_revision: life.created,
                mod_revision: revision.main,
                version: life.version,
                lease: leases.owner(key).map_or(0, |id| id.0),
                ..KeyValue::default()
            }
        };
        if !holds_for(compare, &kv) {
            return Ok(false);
        }
    }
    Ok(found || (!by_value && holds_for(compare, &KeyValue::default())))
}

/// A union that does not fit the target compares as zero or empty; an unknown target compares as
/// equal, an unknown result holds. That is what etcd does.
fn holds_for(compare: &pb::Compare, kv: &KeyValue) -> bool {
    let union = compare.target_union.as_ref();
    let ordering = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Version) => kv.version.cmp(&match union {
            Some(TargetUnion::Version(version)) => *version,
            _ => 0,
        }),
        Ok(CompareTarget::Create) => kv.create_revision.cmp(&match union {
            Some(TargetUnion::CreateRevision(revision)) => *revision,
            _ => 0,
        }),
        Ok(CompareTarget::Mod) => kv.mod_revision.cmp(&match union {
            Some(TargetUnion::ModRevision(revision)) => *revision,
            _ => 0,
        }),
        Ok(CompareTarget::Value) => kv.value[..].cmp(match union {
            Some(TargetUnion::Value(value)) => value,
            _ => &[],
        }),
        Ok(CompareTarget::Lease) => kv.lease.cmp(&match union {
            Some(TargetUnion::Lease(lease)) => *lease,
            _ => 0,
        }),
        Err(_) => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering.is_eq(),
        Ok(CompareResult::NotEqual) => ordering.is_ne(),
        Ok(CompareResult::Greater) => ordering.is_gt(),
        Ok(CompareResult::Less) => ordering.is_lt(),
        Err(_) => true,
    }
}
