use std::io;

use crate::membership::ParseError;
use crate::transport::tls::TlsError;

/// Why a token did not lead into a cluster. The texts are etcd's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("parse \"{text}\": {source}")]
    Url { text: String, source: url::ParseError },
    #[error("discovery: bad discovery endpoint")]
    BadEndpoint,
    #[error("discovery: size key is bad")]
    BadSize,
    #[error("discovery: size key not found")]
    SizeNotFound,
    #[error("client: response body is empty")]
    EmptyBody,
    #[error(
        "client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint"
    )]
    InvalidJson,
    #[error("strconv.ParseUint: parsing {text:?}: invalid syntax")]
    BadIndex { text: String },
    #[error("{code}: {message} ({cause}) [{index}]")]
    Refused { code: u64, message: String, cause: String, index: u64 },
    /// Perhaps with what the service says about it.
    #[error("discovery: found duplicate id{}", judged.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    DuplicateId { judged: Option<String> },
    #[error("discovery: found duplicate name")]
    DuplicateName,
    #[error("discovery: invalid URL")]
    InvalidUrl { source: ParseError },
    #[error("discovery: invalid peer URL")]
    InvalidPeerUrl { source: ParseError },
    #[error("the endpoint `{endpoint}` is none that can be asked")]
    Endpoint { endpoint: String, source: tonic::transport::Error },
    #[error(transparent)]
    Tls(TlsError),
    /// The discovery service judged this node; its text has a code and a way out.
    #[error("{0}")]
    Judged(String),
    #[error("the service lists this member with other URLs than it registered")]
    Strange,
    #[error("discovery.json cannot be written")]
    Memo { source: io::Error },
    #[error("the HTTP client cannot be set up")]
    Client { source: reqwest::Error },
}

impl Error {
    pub(super) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::BadEndpoint | Self::EmptyBody | Self::InvalidJson | Self::BadIndex { .. } => {
                Some(
                    "check the discovery URL; an etcd used as discovery service needs --enable-v2 and \
                 a URL with /v2/keys/",
                )
            }
            Self::Refused { code: 100, .. } => Some(
                "the token is unknown or its size was not set; ask the service for one at /new?size=3",
            ),
            // Only v3 discovery says so, and its endpoints may be of any etcd.
            Self::SizeNotFound => Some(
                "the token is unknown or has expired; of a discovery service, ask for one at /new?size=3; \
                 in the store of an etcd, make it: \
                 etcdctl put /_etcd/registry/<token>/_config/size 3",
            ),
            Self::BadSize => Some("the size of a token is a number from 1 on, set when it is made"),
            Self::DuplicateId { .. } => Some(
                "this member was registered before and its data directory is gone; remove it with \
                 `etcdctl member remove`, add it with `etcdctl member add` and start it with \
                 --initial-cluster-state existing; if no cluster has formed, take a new token",
            ),
            Self::DuplicateName => {
                Some("two nodes registered with one --name; give each its own and take a new token")
            }
            Self::InvalidUrl { .. } | Self::InvalidPeerUrl { .. } => {
                Some("somebody registered what is no name=url list; take a new token")
            }
            _ => None,
        }
    }
}
