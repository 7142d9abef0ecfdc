//! What clients see: etcd's gRPC services and the HTTP paths beside them, all on one port.
//!
//! Every service holds a [`Handle`] and knows nothing of consensus or disks. A call is decoded, checked
//! in etcd's order, handed to the node, and its answer or error put into etcd's words; the words for
//! errors are one table (`grpc/error.rs`).
//!
//! Deliberately absent until they exist in full: auth, lock and election services, alarm changes,
//! defragment, snapshot and downgrade. A call to one of them is answered as etcd answers a call it does not know.

mod cors;
mod grpc;
mod http;
pub mod version;

use axum::Router;

pub use cors::Cors;

use crate::node::Handle;

/// What an operator may choose about the client port.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which browser origins may read HTTP answers.
    pub cors: Cors,
}

/// Everything on the client port: gRPC services, `/version`, `/health`, `/livez`, `/readyz`, `/metrics`.
pub fn client_router(handle: Handle, options: Options) -> Router {
    let paths = http::probes(handle.clone()).merge(http::version()).fallback(grpc::unknown);
    // Browsers never call gRPC, so its routes are spared the headers.
    let paths = cors::apply(paths, options.cors);
    grpc::routes(handle).fallback_service(paths)
}

/// The plain HTTP paths on the peer port; the traffic between members is not here.
pub fn peer_router(handle: Handle) -> Router {
    http::peer(handle).merge(http::version()).fallback(http::not_found)
}

/// What an address of `--listen-metrics-urls` serves.
pub fn metrics_router(handle: Handle) -> Router {
    http::probes(handle).fallback(http::not_found)
}

#[cfg(test)]
mod tests;
