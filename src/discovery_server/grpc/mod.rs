//! The door of v3 discovery: as much of etcd's `KV`, `Watch` and `Auth` as a node asks of a registry,
//! and of `KV` and `Maintenance` what `etcdctl endpoint health` asks.
//! Callers need a token of `Auth.Authenticate` when there are users, and only then.
//!
//! A token's keys are those that etcd 3.6 reads and writes in a real store:
//!
//! ```text
//! /_etcd/registry/<token>/_config/size          the size, written by /new or by an operator
//! /_etcd/registry/<token>/members/<member id>   name=url,...
//! ```
//!
//! Revisions are the registry's indexes: a key is created once and never changes, so its create and
//! mod revision are one and its version is 1. An answer's revision is that of a state in which no
//! earlier change is missing; a watch from the next one loses nothing and has all of the history.
//!
//! What is deliberately absent: deleting, transactions, leases, and ranges over more than one token,
//! which would show tokens to those who were not told.

mod auth;
mod keys;
mod kv;
mod maintenance;
mod refuse;
mod watch;

use std::net::IpAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Response, header};
use axum::middleware::{Next, from_fn};
use tonic::Status;

use super::{Service, WRITE_LIMIT};
use crate::admission::{Door, Founding, Protocol, State};
use crate::proto::etcdserverpb::ResponseHeader;
use crate::proto::etcdserverpb::auth_server::AuthServer;
use crate::proto::etcdserverpb::kv_server::KvServer;
use crate::proto::etcdserverpb::maintenance_server::MaintenanceServer;
use crate::proto::etcdserverpb::watch_server::WatchServer;
use crate::registry;
use crate::token::TokenPath;

/// The routes of the services.
pub(super) fn router(service: &Service) -> Router {
    let most = service.config().max_body_bytes;
    let kv = KvServer::new(kv::Kv(service.clone())).max_decoding_message_size(most);
    let watch = WatchServer::new(watch::Watch(service.clone())).max_decoding_message_size(most);
    let auth = AuthServer::new(auth::Auth(service.clone())).max_decoding_message_size(most);
    let maintenance = MaintenanceServer::new(maintenance::Maintenance(service.clone()))
        .max_decoding_message_size(most);
    // Beyond the body there is the time of a write.
    let limit = service.config().body_timeout + WRITE_LIMIT;
    let in_time = from_fn(move |request: Request, next: Next| async move {
        let answered = tokio::time::timeout(limit, next.run(request)).await;
        answered.unwrap_or_else(|_| Status::deadline_exceeded("the body took too long").into_http())
    });
    Router::new()
        .route_service("/etcdserverpb.Auth/{method}", auth)
        .route_service("/etcdserverpb.KV/{method}", kv)
        .route_service("/etcdserverpb.Maintenance/{method}", maintenance)
        .layer(in_time)
        .route_service("/etcdserverpb.Watch/{method}", watch)
}

/// Whether a request is a gRPC call.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The answer to a call of a service that is not here.
pub(super) fn unknown(path: &str) -> Response<Body> {
    let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    Status::unimplemented(format!("unknown service {service}")).into_http()
}

/// A state that the keys of one token may be read from.
struct Snapshot {
    /// Nothing for a token that is unknown or has expired.
    founding: Option<std::sync::Arc<Founding>>,
    /// No change up to this revision is missing.
    revision: u64,
}

impl Service {
    fn snapshot(&self, token: Option<&TokenPath>) -> Snapshot {
        // The index first: what is committed after this line may be shown, but is not promised.
        let index = self.registry().index();
        let founding = token.and_then(|token| self.registry().founding(token));
        let founding = founding.filter(|held| held.state(registry::now()) != State::Expired);
        let shown = founding.as_ref().map_or(0, |founding| founding.index);
        Snapshot { founding, revision: index.max(shown) }
    }

    fn header(&self, revision: u64) -> Option<ResponseHeader> {
        let id = u64::from_str_radix(self.registry().cluster_id(), 16).unwrap_or_default();
        Some(ResponseHeader {
            cluster_id: id,
            member_id: id,
            revision: keys::revision(revision),
            raft_term: 1,
        })
    }

    fn v3_door(&self, from: Option<IpAddr>) -> Door {
        Door {
            protocol: Protocol::V3,
            public_url: self.config().public_url.clone(),
            from,
            limits: self.config().limits,
            ..Door::default()
        }
    }
}

#[cfg(test)]
mod tests;
