use tonic::{Request, Response, Status};

use super::{Service, refuse};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;

/// The list of alarms, of which a registry has none: `etcdctl endpoint health` asks for it from 3.5 on
/// (`etcdctl/ctlv3/command/ep_command.go`).
#[derive(Debug)]
pub(super) struct Maintenance(pub(super) Service);

refuse::service! {
    impl pb::maintenance_server::Maintenance for Maintenance {
        async fn alarm(
            &self,
            request: Request<pb::AlarmRequest>,
        ) -> Result<Response<pb::AlarmResponse>, Status> {
            self.0.admit(request.metadata())?;
            if request.get_ref().action() != AlarmAction::Get {
                return Err(refuse::absent());
            }
            let header = self.0.header(self.0.registry().index());
            Ok(Response::new(pb::AlarmResponse { header, alarms: Vec::new() }))
        }

        type SnapshotStream = tokio_stream::Empty<Result<pb::SnapshotResponse, Status>>;

        async fn snapshot(
            &self,
            _: Request<pb::SnapshotRequest>,
        ) -> Result<Response<Self::SnapshotStream>, Status> {
            Err(refuse::absent())
        }
    }
    absent {
        status: StatusRequest -> StatusResponse,
        defragment: DefragmentRequest -> DefragmentResponse,
        hash: HashRequest -> HashResponse,
        hash_kv: HashKvRequest -> HashKvResponse,
        move_leader: MoveLeaderRequest -> MoveLeaderResponse,
        downgrade: DowngradeRequest -> DowngradeResponse,
    }
}
