//! etcd's way down to the minor release before (`server/etcdserver/v3_server.go`, `Downgrade`).
//!
//! The request is checked, kept and shown as etcd does. What this node stores does not change with
//! it: its own files are no older etcd's, and `snapshot save` gives what any release restores.

use tonic::{Code, Status};
use tracing::warn;

use super::error::{Words, refuse};
use crate::api::version;
use crate::auth::Caller;
use crate::node::Handle;
use crate::proto::etcdserverpb as pb;
use pb::downgrade_request::DowngradeAction;

const WRONG_FORMAT: Words =
    (Code::InvalidArgument, "etcdserver: wrong downgrade target version format");
const INVALID_TARGET: Words =
    (Code::InvalidArgument, "etcdserver: invalid downgrade target version");
const IN_PROGRESS: Words =
    (Code::FailedPrecondition, "etcdserver: cluster has a downgrade job in progress");
const UNKNOWN_ACTION: Words = (Code::Unknown, "etcdserver: unknown method");

/// Major and minor number of a version.
type Level = (u64, u64);

pub(super) async fn answer(
    handle: &Handle,
    request: &pb::DowngradeRequest,
) -> Result<pb::DowngradeResponse, Status> {
    let action = DowngradeAction::try_from(request.action);
    let (major, minor) = cluster_level(handle);
    let before = format!("{major}.{minor}");
    match action.map_err(|_unknown| refuse(UNKNOWN_ACTION))? {
        DowngradeAction::Validate => validate(handle, &request.version).await.map(drop)?,
        DowngradeAction::Enable => {
            let (major, minor) = validate(handle, &request.version).await?;
            let target_version = format!("{major}.{minor}.0");
            warn!(
                target = target_version,
                "downgrade enabled; this node goes on with its own files, an older etcd takes over \
                 from `etcdctl snapshot save`"
            );
            let info = pb::DowngradeInfo { enabled: true, target_version };
            handle.propose(Caller::Cluster, info).await?;
        }
        DowngradeAction::Cancel => {
            handle.propose(Caller::Cluster, pb::DowngradeInfo::default()).await?;
        }
    }
    Ok(pb::DowngradeResponse { header: Some(handle.header()), version: before })
}

/// The target, if it is the minor release before the cluster's and no other is under way.
async fn validate(handle: &Handle, target: &str) -> Result<Level, Status> {
    let target = level(target).ok_or_else(|| refuse(WRONG_FORMAT))?;
    handle.linearize().await?;
    let (major, minor) = cluster_level(handle);
    if target != (major, minor - 1) {
        return Err(refuse(INVALID_TARGET));
    }
    if handle.state().downgrade().enabled {
        return Err(refuse(IN_PROGRESS));
    }
    Ok(target)
}

/// What the cluster is at.
fn cluster_level(handle: &Handle) -> Level {
    level(&version::cluster(handle)).expect("it was read before it was kept")
}

/// Reads `3.5` and `3.5.0`.
fn level(text: &str) -> Option<Level> {
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    let level = (numbers.next()??, numbers.next()??);
    match (numbers.next(), numbers.next()) {
        (None | Some(Some(_)), None) => Some(level),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_two_or_three_numbers() {
        for (text, wanted) in [
            ("3.5", Some((3, 5))),
            ("3.5.0", Some((3, 5))),
            ("3", None),
            ("3.5.0.1", None),
            ("3.x", None),
            ("", None),
            ("v3.5", None),
            ("3.5.", None),
        ] {
            assert_eq!(level(text), wanted, "{text}");
        }
    }
}
