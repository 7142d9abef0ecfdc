//! Names and values that both directions share.

use serde::{Deserialize, Serialize};

pub(super) const ALARM: &[u8] = b"alarm";
// These three lie in our own store below their names and a slash.
pub(super) const AUTH: &[u8] = b"auth";
pub(super) const AUTH_ROLES: &[u8] = b"authRoles";
pub(super) const AUTH_USERS: &[u8] = b"authUsers";
pub(super) const CLUSTER: &[u8] = b"cluster";
pub(super) const KEY: &[u8] = b"key";
pub(super) const LEASE: &[u8] = b"lease";
pub(super) const MEMBERS: &[u8] = b"members";
pub(super) const MEMBERS_REMOVED: &[u8] = b"members_removed";
pub(super) const META: &[u8] = b"meta";

/// The level of etcd whose schema the file has.
pub(super) const STORAGE_VERSION: &str = "3.6.0";

/// `leasepb.Lease`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Lease {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
    #[prost(int64, tag = "2")]
    pub(super) ttl: i64,
    /// 0: all of it.
    #[prost(int64, tag = "3")]
    pub(super) remaining_ttl: i64,
}

/// A member as etcd stores it (`server/etcdserver/api/membership/member.go`).
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredMember {
    pub(super) id: u64,
    #[serde(rename = "peerURLs", default)]
    pub(super) peer_urls: Vec<String>,
    #[serde(rename = "isLearner", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) learner: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    #[serde(rename = "clientURLs", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) client_urls: Vec<String>,
}

/// `raftpb.ConfState` as JSON.
#[derive(Debug, Serialize)]
pub(super) struct StoredConfState {
    pub(super) voters: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) learners: Vec<u64>,
    pub(super) auto_leave: bool,
}
