//! The state machine: one committed entry in, a response and watch events out.

use crate::proto::etcdserverpb as pb;

/// Everything that is replicated, over a store for the values.
#[derive(Debug)]
pub struct State<S> {
    store: S,
}

/// What a client that waits for a request gets. Headers carry the revision only; the API fills in the rest.
#[derive(Debug, Clone)]
pub enum Response {
    Put(pb::PutResponse),
    DeleteRange(pb::DeleteRangeResponse),
    Txn(pb::TxnResponse),
    Compaction(pb::CompactionResponse),
    LeaseGrant(pb::LeaseGrantResponse),
    LeaseRevoke(pb::LeaseRevokeResponse),
    Published,
}

/// A refusal that every replica gives alike. The texts are etcd's, without the prefix `etcdserver: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("key is not provided")]
    EmptyKey,
}
