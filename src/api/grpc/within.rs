//! What the lock and election services stand on: the other services, called in this process with the
//! credentials of whoever called, so that permissions hold as if the client had made the calls.

use axum::Router;
use bytes::Bytes;
use tokio::runtime;
use tokio_util::task::TaskTracker;
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Request, Status, Streaming};

use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::kv_client::KvClient;
use crate::proto::etcdserverpb::lease_client::LeaseClient;
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::watch_client::WatchClient;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::mvccpb::event::EventType;

/// Seconds that a session lives whose client named no lease (etcd `concurrency.defaultSessionTTL`).
const SESSION_TTL: i64 = 60;
/// Metadata that says who calls, and whether through the gateway.
const IDENTITY: [&str; 3] = ["token", "authorization", "grpcgateway-accept"];

/// The services that recipes use.
#[derive(Debug, Clone)]
pub(super) struct Within {
    services: Router,
    runtime: runtime::Handle,
    /// Clean-up behind clients that went away; each is a single write, which ends with its time limit.
    cleanup: TaskTracker,
}

/// One client of a recipe.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    within: Within,
    identity: MetadataMap,
    extensions: Extensions,
}

impl Within {
    /// Must be called inside the runtime.
    pub(super) fn new(services: Router) -> Self {
        Self { services, runtime: runtime::Handle::current(), cleanup: TaskTracker::new() }
    }

    pub(super) fn caller<T>(&self, request: &Request<T>) -> Caller {
        let mut identity = MetadataMap::new();
        for name in IDENTITY {
            if let Some(value) = request.metadata().get(name) {
                identity.insert(name, value.clone());
            }
        }
        Caller { within: self.clone(), identity, extensions: request.extensions().clone() }
    }
}

impl Caller {
    fn request<T>(&self, message: T) -> Request<T> {
        Request::from_parts(self.identity.clone(), self.extensions.clone(), message)
    }

    fn kv(&self) -> KvClient<Router> {
        KvClient::new(self.within.services.clone()).max_decoding_message_size(usize::MAX)
    }

    pub(super) async fn txn(&self, request: pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        let answer = self.kv().txn(self.request(request)).await;
        Ok(answer.map_err(|status| without_code(&status))?.into_inner())
    }

    pub(super) async fn range(
        &self,
        request: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, Status> {
        let answer = self.kv().range(self.request(request)).await;
        Ok(answer.map_err(|status| without_code(&status))?.into_inner())
    }

    pub(super) async fn delete(&self, key: Bytes) -> Result<pb::DeleteRangeResponse, Status> {
        let request = pb::DeleteRangeRequest { key, ..Default::default() };
        let answer = self.kv().delete_range(self.request(request)).await;
        Ok(answer.map_err(|status| without_code(&status))?.into_inner())
    }

    /// The lease of a session: the client's own, or one that nobody renews.
    pub(super) async fn session(&self, lease: i64) -> Result<i64, Status> {
        if lease != 0 {
            return Ok(lease);
        }
        let request = self.request(pb::LeaseGrantRequest { ttl: SESSION_TTL, id: 0 });
        let answer = LeaseClient::new(self.within.services.clone()).lease_grant(request).await;
        Ok(answer.map_err(|status| without_code(&status))?.into_inner().id)
    }

    /// Watches until the answer is dropped.
    pub(super) async fn watch(
        &self,
        create: pb::WatchCreateRequest,
    ) -> Result<Streaming<pb::WatchResponse>, Status> {
        let create = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let client = WatchClient::new(self.within.services.clone());
        let mut client = client.max_decoding_message_size(usize::MAX);
        // A watcher outlives the client's side of the stream.
        let answer = client.watch(self.request(tokio_stream::once(create))).await;
        Ok(answer.map_err(|status| without_code(&status))?.into_inner())
    }

    /// Waits until nothing below `prefix` was created at `newest` or before: it is our turn.
    ///
    /// One predecessor is watched at a time, the newest of them, so that a release wakes one waiter
    /// and not all.
    pub(super) async fn wait_for_turn(&self, prefix: &Bytes, newest: i64) -> Result<(), Status> {
        loop {
            let answer = self.range(pb::RangeRequest {
                max_create_revision: newest,
                sort_order: SortOrder::Descend.into(),
                ..oldest(prefix)
            });
            let answer = answer.await?;
            let revision = answer.header.map_or(0, |header| header.revision);
            let Some(predecessor) = answer.kvs.into_iter().next() else { return Ok(()) };
            self.wait_for_delete(predecessor.key, revision).await?;
        }
    }

    async fn wait_for_delete(&self, key: Bytes, start_revision: i64) -> Result<(), Status> {
        let create = pb::WatchCreateRequest { key, start_revision, ..Default::default() };
        let mut watching = self.watch(create).await?;
        loop {
            let answer = watching.message().await.map_err(|status| without_code(&status))?;
            let answer =
                answer.ok_or_else(|| Status::unknown("lost watcher waiting for delete"))?;
            if answer.events.iter().any(|event| event.r#type() == EventType::Delete) {
                return Ok(());
            }
            ended(&answer)?;
        }
    }

    /// Runs to its end even when the client is gone.
    pub(super) fn afterwards(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.within.cleanup.spawn_on(work, &self.within.runtime);
    }
}

/// Why a watcher is over, if it is.
pub(super) fn ended(answer: &pb::WatchResponse) -> Result<(), Status> {
    if answer.compact_revision != 0 {
        return Err(Status::unknown("etcdserver: mvcc: required revision has been compacted"));
    }
    if answer.canceled {
        return Err(Status::unknown(answer.cancel_reason.clone()));
    }
    Ok(())
}

/// etcd's recipes pass on the client's form of an error, which has the text and no code. What comes of Go's contexts
/// has no such form and stays what it is.
fn without_code(status: &Status) -> Status {
    match status.code() {
        code @ (Code::Cancelled | Code::DeadlineExceeded) => Status::new(code, status.message()),
        _ => Status::unknown(status.message()),
    }
}

/// `<name>/`, below which every contender has a key.
pub(super) fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

/// The key of one contender: `<name>/<lease in hexadecimal>`.
pub(super) fn own_key(prefix: &[u8], lease: i64) -> Bytes {
    // Go prints a negative number with its sign.
    let sign = if lease < 0 { "-" } else { "" };
    [prefix, format!("{sign}{:x}", lease.unsigned_abs()).as_bytes()].concat().into()
}

/// Asks for the key below `prefix` that was created first: the owner's.
pub(super) fn oldest(prefix: &Bytes) -> pb::RangeRequest {
    pb::RangeRequest {
        key: prefix.clone(),
        range_end: after(prefix),
        limit: 1,
        sort_order: SortOrder::Ascend.into(),
        sort_target: SortTarget::Create.into(),
        ..Default::default()
    }
}

/// The end of the range of keys below a prefix, which ends in `/`.
pub(super) fn after(prefix: &Bytes) -> Bytes {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

/// The condition that a key was created at a revision; 0 means that it does not exist.
pub(super) fn created_at(key: &Bytes, revision: i64) -> pb::Compare {
    pb::Compare {
        result: pb::compare::CompareResult::Equal.into(),
        target: pb::compare::CompareTarget::Create.into(),
        key: key.clone(),
        target_union: Some(pb::compare::TargetUnion::CreateRevision(revision)),
        ..Default::default()
    }
}

pub(super) fn put(key: &Bytes, value: Bytes, lease: i64) -> pb::RequestOp {
    let put = pb::PutRequest { key: key.clone(), value, lease, ..Default::default() };
    pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put)) }
}

pub(super) fn get(request: pb::RangeRequest) -> pb::RequestOp {
    pb::RequestOp { request: Some(pb::request_op::Request::RequestRange(request)) }
}

pub(super) fn one(key: &Bytes) -> pb::RangeRequest {
    pb::RangeRequest { key: key.clone(), ..Default::default() }
}

pub(super) fn delete(key: &Bytes) -> pb::RequestOp {
    let delete = pb::DeleteRangeRequest { key: key.clone(), ..Default::default() };
    pb::RequestOp { request: Some(pb::request_op::Request::RequestDeleteRange(delete)) }
}

/// The first pair that the range at this place of a transaction found.
pub(super) fn found(
    answer: &pb::TxnResponse,
    place: usize,
) -> Option<&crate::proto::mvccpb::KeyValue> {
    match answer.responses.get(place)?.response.as_ref()? {
        pb::response_op::Response::ResponseRange(range) => range.kvs.first(),
        _ => None,
    }
}

pub(super) fn revision(header: Option<&pb::ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_errors_that_etcd_has_words_for_lose_their_code() {
        for (status, code) in [
            (Status::unavailable("etcdserver: request timed out"), Code::Unknown),
            (Status::not_found("etcdserver: requested lease not found"), Code::Unknown),
            (Status::deadline_exceeded("context deadline exceeded"), Code::DeadlineExceeded),
            (Status::cancelled("context canceled"), Code::Cancelled),
        ] {
            let passed = without_code(&status);
            assert_eq!((passed.code(), passed.message()), (code, status.message()));
        }
    }
}
