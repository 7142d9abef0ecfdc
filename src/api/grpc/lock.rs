use bytes::Bytes;
use tonic::{Request, Response, Status};

use super::within::{self, Caller, Within};
use super::{On, admit};
use crate::node::Handle;
use crate::proto::etcdserverpb as pb;
use crate::proto::v3lockpb::lock_server;
use crate::proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};

/// Locks held by leases (etcd `v3lock`): who created the oldest key below `<name>/` holds it.
#[derive(Debug)]
pub(super) struct Lock {
    pub(super) handle: Handle,
    pub(super) within: Within,
}

/// A key that goes when its client stops waiting for the lock.
struct Queued {
    caller: Caller,
    key: Option<Bytes>,
}

impl Drop for Queued {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let caller = self.caller.clone();
        self.caller.afterwards(async move {
            // When it fails, the lease takes the key away.
            drop(caller.delete(key).await);
        });
    }
}

#[tonic::async_trait]
impl lock_server::Lock for Lock {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        admit(&self.handle, request.metadata(), On::Voters)?;
        let caller = self.within.caller(&request);
        let LockRequest { name, lease } = request.into_inner();
        let lease = caller.session(lease).await?;
        let prefix = within::prefix(&name);
        let key = within::own_key(&prefix, lease);
        let owner = || within::get(within::oldest(&prefix));
        let entered = caller.txn(pb::TxnRequest {
            compare: vec![within::created_at(&key, 0)],
            success: vec![within::put(&key, Bytes::new(), lease), owner()],
            failure: vec![within::get(within::one(&key)), owner()],
        });
        let entered = entered.await?;
        let own = match within::found(&entered, 0) {
            Some(kv) if !entered.succeeded => kv.create_revision,
            _ => within::revision(entered.header.as_ref()),
        };
        if within::found(&entered, 1).is_none_or(|owner| owner.create_revision == own) {
            return Ok(Response::new(LockResponse { header: entered.header, key }));
        }
        let mut queued = Queued { caller: caller.clone(), key: Some(key.clone()) };
        caller.wait_for_turn(&prefix, own - 1).await?;
        // The lease may have ended while we waited, and our key with it.
        let held = caller.range(within::one(&key)).await?;
        queued.key = None;
        if held.kvs.is_empty() {
            return Err(Status::unknown("mutex: session is expired"));
        }
        Ok(Response::new(LockResponse { header: held.header, key }))
    }

    async fn unlock(
        &self,
        request: Request<UnlockRequest>,
    ) -> Result<Response<UnlockResponse>, Status> {
        admit(&self.handle, request.metadata(), On::Voters)?;
        let caller = self.within.caller(&request);
        let header = caller.delete(request.into_inner().key).await?.header;
        Ok(Response::new(UnlockResponse { header }))
    }
}
