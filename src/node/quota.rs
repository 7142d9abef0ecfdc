//! The bound on what the store may take (`--quota-backend-bytes`).

use tokio::sync::mpsc::Receiver;
use tracing::{info, warn};

use super::{Error, Handle};
use crate::apply;
use crate::auth::Caller;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::{AlarmRequest, AlarmType};

/// What etcd warns above: starts and transfers take long with so much.
const MAX_SUGGESTED_BYTES: i64 = 8 << 30;

/// Requests that may wait for the alarm; beyond it they are answered at once, since the alarm is on its way.
pub(super) const NO_ROOM_QUEUE: usize = 4096;

/// The limit that a setting stands for; `None` for zero and less.
pub(super) fn of(quota_bytes: i64) -> Option<i64> {
    (quota_bytes > 0).then_some(quota_bytes)
}

/// Says at the start what holds, in etcd's words (`server/storage/quota.go`). `default` tells whether
/// nothing else was asked for.
pub fn describe(quota_bytes: i64, default: bool) {
    match of(quota_bytes) {
        None => info!(
            quota_name = "v3-applier",
            quota_size_bytes = quota_bytes,
            "disabled backend quota"
        ),
        Some(bytes) if default => info!(
            quota_name = "v3-applier",
            quota_size_bytes = bytes,
            "enabled backend quota with default value"
        ),
        Some(bytes) => {
            if bytes > MAX_SUGGESTED_BYTES {
                warn!(
                    quota_name = "v3-applier",
                    quota_size_bytes = bytes,
                    quota_maximum_size_bytes = MAX_SUGGESTED_BYTES,
                    "quota exceeds the maximum value"
                );
            }
            info!(quota_name = "v3-applier", quota_size_bytes = bytes, "enabled backend quota");
        }
    }
}

/// Raises the alarm in this member's name when an applied request found no room here, whichever member had
/// proposed it, and answers the request after that (etcd `server.go`, `applyEntryNormal`).
///
/// The alarm is a proposal that follows: members with other quotas apply the same entries to the same state.
pub(super) async fn watch(handle: Handle, mut found_none: Receiver<u64>) {
    let mut ids = Vec::new();
    while found_none.recv_many(&mut ids, NO_ROOM_QUEUE).await > 0 {
        let raised = handle.state().alarms().is_raised(AlarmType::Nospace);
        if !raised {
            warn!("message exceeded backend quota; raising alarm");
            handle.raise_no_space().await;
        }
        for id in ids.drain(..) {
            handle.0.complete(id, Err(apply::Error::NoSpace.into()));
        }
    }
}

impl Handle {
    /// Refuses a request of this cost when this member has no room for it, and raises the alarm
    /// that makes all members refuse.
    pub async fn reserve(&self, cost: i64) -> Result<(), Error> {
        if !self.state().exceeds_quota(cost) {
            return Ok(());
        }
        self.raise_no_space().await;
        Err(apply::Error::NoSpace.into())
    }

    async fn raise_no_space(&self) {
        let raise = AlarmRequest {
            action: AlarmAction::Activate.into(),
            member_id: self.member_id().0,
            alarm: AlarmType::Nospace.into(),
        };
        if let Err(error) = self.propose(Caller::Cluster, raise).await {
            warn!(error = %error, "the alarm NOSPACE could not be raised");
        }
    }
}
