use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::caller::{require_name, require_root};
use super::error::text;
use super::{On, admit, downgrade, header, snapshot};
use crate::api::version;
use crate::auth::Caller;
use crate::membership::MemberId;
use crate::node::{Error, Handle};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;

/// How a member is, and moving the leadership.
#[derive(Debug)]
pub(super) struct Maintenance(pub(super) Handle);

#[tonic::async_trait]
impl pb::maintenance_server::Maintenance for Maintenance {
    /// Listing goes through the log as well: who reads of no alarm may rely on it.
    async fn alarm(
        &self,
        request: Request<pb::AlarmRequest>,
    ) -> Result<Response<pb::AlarmResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        match request.get_ref().action() {
            AlarmAction::Get => require_name(&self.0, &request).await?,
            AlarmAction::Activate | AlarmAction::Deactivate => {
                require_root(&self.0, &request).await?;
            }
        }
        let request = request.into_inner();
        if AlarmAction::try_from(request.action).is_err() {
            let text = format!("etcdserver: unknown alarm action {}", request.action);
            return Err(Status::invalid_argument(text));
        }
        let mut response = self.0.propose(Caller::Cluster, request).await?;
        response.header = header(&self.0, response.header.as_ref());
        Ok(Response::new(response))
    }

    async fn status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        admit(&self.0, request.metadata(), On::Everyone)?;
        require_name(&self.0, &request).await?;
        let status = self.0.status();
        let mut errors = Vec::new();
        if status.leader.is_none() {
            errors.push(text(&Error::NoLeader).to_owned());
        }
        let (alarms, downgrade) = {
            let state = self.0.state();
            (state.alarms().list(pb::AlarmType::None), state.downgrade().clone())
        };
        // The text form of the message, as clients have always seen it.
        errors.extend(alarms.iter().map(|alarm| {
            format!("memberID:{} alarm:{} ", alarm.member_id, alarm.alarm().as_str_name())
        }));
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
            storage_version: version::cluster(&self.0),
            db_size_quota: self.0.limits().quota_bytes.max(0),
            downgrade_info: Some(downgrade),
        }))
    }

    async fn hash_kv(
        &self,
        request: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        require_root(&self.0, &request).await?;
        let hashed = self.0.hash_kv(request.into_inner().revision).await?;
        Ok(Response::new(pb::HashKvResponse {
            header: Some(self.0.header()),
            hash: hashed.hash,
            compact_revision: hashed.compact_revision,
            hash_revision: hashed.revision,
        }))
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
        request: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        require_root(&self.0, &request).await?;
        match self.0.defragment().await? {
            Ok(()) => Ok(Response::new(pb::DefragmentResponse { header: None })),
            Err(error) => Err(Status::unknown(error.to_string())),
        }
    }

    async fn hash(
        &self,
        request: Request<pb::HashRequest>,
    ) -> Result<Response<pb::HashResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        require_root(&self.0, &request).await?;
        let hash = self.0.hash().await?;
        Ok(Response::new(pb::HashResponse { header: Some(self.0.header()), hash }))
    }

    type SnapshotStream = ReceiverStream<Result<pb::SnapshotResponse, Status>>;

    async fn snapshot(
        &self,
        request: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        admit(&self.0, request.metadata(), On::Everyone)?;
        require_root(&self.0, &request).await?;
        snapshot::stream(&self.0).await.map(Response::new)
    }

    async fn downgrade(
        &self,
        request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        require_root(&self.0, &request).await?;
        downgrade::answer(&self.0, request.get_ref()).await.map(Response::new)
    }
}
