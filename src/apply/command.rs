use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::{AuthChange, PublishAttributes, request::Op};

/// What a client that waits for a request gets. Headers carry the revision only; the API fills in the rest.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    Put(pb::PutResponse),
    DeleteRange(pb::DeleteRangeResponse),
    Txn(pb::TxnResponse),
    Compaction(pb::CompactionResponse),
    LeaseGrant(pb::LeaseGrantResponse),
    LeaseRevoke(pb::LeaseRevokeResponse),
    /// Of every change of users and roles; the token is empty but for an authentication.
    Auth(pb::AuthenticateResponse),
    Alarm(pb::AlarmResponse),
    /// Of what has no answer but that it was applied: checkpoints, attributes, downgrades.
    Done,
}

/// A request that goes through the log, with the type of its response.
pub trait Command {
    type Response;

    fn into_op(self) -> Op;

    /// What this kind of request is answered with; `None` if it is the response to another kind.
    fn response(response: Response) -> Option<Self::Response>;
}

/// `Op::$op($request)` is answered with `Response::$op($response)`, or with `Response::Done`.
macro_rules! command {
    ($op:ident: $request:ty => $response:ty) => {
        command!($op: $request => $response, Response::$op(response) => response);
    };
    ($op:ident: $request:ty) => {
        command!($op: $request => (), Response::Done => ());
    };
    ($op:ident: $request:ty => $response:ty, $given:pat => $value:expr) => {
        impl Command for $request {
            type Response = $response;

            fn into_op(self) -> Op {
                Op::$op(self)
            }

            fn response(response: Response) -> Option<$response> {
                match response {
                    $given => Some($value),
                    _ => None,
                }
            }
        }
    };
}

command!(Put: pb::PutRequest => pb::PutResponse);
command!(DeleteRange: pb::DeleteRangeRequest => pb::DeleteRangeResponse);
command!(Txn: pb::TxnRequest => pb::TxnResponse);
command!(Compaction: pb::CompactionRequest => pb::CompactionResponse);
command!(LeaseGrant: pb::LeaseGrantRequest => pb::LeaseGrantResponse);
command!(LeaseRevoke: pb::LeaseRevokeRequest => pb::LeaseRevokeResponse);
command!(LeaseCheckpoint: pb::LeaseCheckpointRequest);
command!(Auth: AuthChange => pb::AuthenticateResponse);
command!(Alarm: pb::AlarmRequest => pb::AlarmResponse);
command!(Downgrade: pb::DowngradeInfo);
command!(Publish: PublishAttributes);
