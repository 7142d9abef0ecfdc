use tonic::{Request, Response, Status};

use super::caller::{require_root, require_user};
use super::error::text;
use super::{On, admit, no_such_method};
use crate::api::version;
use crate::membership::MemberId;
use crate::node::{Error, Handle};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;

const SERVICE: &str = "etcdserverpb.Maintenance";

/// How a member is, and moving the leadership.
#[derive(Debug)]
pub(super) struct Maintenance(pub(super) Handle);

#[tonic::async_trait]
impl pb::maintenance_server::Maintenance for Maintenance {
    /// No alarm exists yet, so the list is empty and there is none to disarm; none can be raised.
    async fn alarm(
        &self,
        request: Request<pb::AlarmRequest>,
    ) -> Result<Response<pb::AlarmResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        match request.get_ref().action() {
            AlarmAction::Get => require_user(&self.0, &request).await?,
            AlarmAction::Activate | AlarmAction::Deactivate => {
                require_root(&self.0, &request).await?;
            }
        }
        match request.get_ref().action() {
            AlarmAction::Get | AlarmAction::Deactivate => {
                let header = Some(self.0.header());
                Ok(Response::new(pb::AlarmResponse { header, alarms: Vec::new() }))
            }
            AlarmAction::Activate => {
                Err(Status::unimplemented("alarms cannot be raised by clients"))
            }
        }
    }

    async fn status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        admit(&self.0, request.metadata(), On::Everyone)?;
        require_user(&self.0, &request).await?;
        let status = self.0.status();
        let errors = match status.leader {
            Some(_) => Vec::new(),
            None => vec![text(&Error::NoLeader).to_owned()],
        };
        Ok(Response::new(pb::StatusResponse {
            header: Some(self.0.header()),
            version: version::SERVER.to_owned(),
            db_size: status.db_size,
            leader: status.leader.map_or(0, |leader| leader.0),
            raft_index: status.commit.0,
            raft_term: status.term.0,
            raft_applied_index: status.applied.0,
            errors,
            db_size_in_use: status.db_size_in_use,
            is_learner: status.learner,
            storage_version: version::STORAGE.to_owned(),
            db_size_quota: self.0.limits().quota_bytes.max(0),
            downgrade_info: Some(pb::DowngradeInfo::default()),
        }))
    }

    async fn hash_kv(
        &self,
        request: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        require_root(&self.0, &request).await?;
        let asked = request.into_inner().revision;
        let handle = self.0.clone();
        // Reads every record there is, so not on a thread that serves others.
        let hashed = tokio::task::spawn_blocking(move || {
            let state = handle.state();
            let hash_revision = if asked == 0 { state.revision() } else { asked };
            let hash = handle.check(state.hash_kv(hash_revision))?;
            Ok::<_, Error>((hash, hash_revision, state.compact_revision()))
        });
        let (hash, hash_revision, compact_revision) =
            hashed.await.unwrap_or(Err(Error::Stopped))?;
        let header = Some(self.0.header());
        Ok(Response::new(pb::HashKvResponse { header, hash, compact_revision, hash_revision }))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        require_root(&self.0, &request).await?;
        self.0.transfer_leadership(MemberId(request.into_inner().target_id)).await?;
        Ok(Response::new(pb::MoveLeaderResponse { header: None }))
    }

    async fn defragment(
        &self,
        _: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        Err(no_such_method(SERVICE, "Defragment"))
    }

    async fn hash(
        &self,
        _: Request<pb::HashRequest>,
    ) -> Result<Response<pb::HashResponse>, Status> {
        Err(no_such_method(SERVICE, "Hash"))
    }

    type SnapshotStream = tokio_stream::Empty<Result<pb::SnapshotResponse, Status>>;

    async fn snapshot(
        &self,
        _: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(no_such_method(SERVICE, "Snapshot"))
    }

    async fn downgrade(
        &self,
        _: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        Err(no_such_method(SERVICE, "Downgrade"))
    }
}
