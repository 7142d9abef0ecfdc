//! What clients see: etcd's gRPC services and the HTTP paths beside them, all on one port.
//!
//! Every service holds a [`Handle`] and knows nothing of consensus or disks. A call is decoded, checked
//! in etcd's order, handed to the node, and its answer or error put into etcd's words; the words for
//! errors are one table (`grpc/error.rs`).
//!
//! A call to a method that does not exist is answered as etcd answers a call it does not know.

mod base64;
mod cors;
mod descriptors;
mod gateway;
mod grpc;
mod http;
mod plain;
pub mod version;

use std::time::Duration;

use axum::Router;

pub use cors::Cors;

use crate::node::Handle;

/// What an operator may choose about the client port.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which browser origins may read HTTP answers.
    pub cors: Cors,
    /// Whether the calls can be made as JSON too.
    pub grpc_gateway: bool,
    /// Whether the time that calls take is measured, per method.
    pub extensive_metrics: bool,
    /// Calls that take longer are logged.
    pub warning_duration: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cors: Cors::default(),
            grpc_gateway: true,
            extensive_metrics: false,
            warning_duration: None,
        }
    }
}

/// Everything on the client port: gRPC services, the JSON gateway, `/version`, `/health`, `/livez`,
/// `/readyz`, `/metrics`, `/debug/vars`. Must be called inside the runtime.
pub fn client_router(handle: &Handle, options: Options) -> Router {
    let services = grpc::routes(handle, options.extensive_metrics, options.warning_duration);
    version::show(handle.registry());
    let tree = options.grpc_gateway.then_some(gateway::TREE);
    let mut paths = http::probes(handle.clone()).merge(http::version(handle.clone()));
    paths = paths.merge(http::debug(handle.clone()));
    if options.grpc_gateway {
        paths = paths.merge(gateway::router(
            handle.clone(),
            services.clone().fallback(grpc::unknown),
            grpc::largest_message(handle),
        ));
    }
    // Browsers never call gRPC, so its routes are spared the headers.
    let paths = http::redirect::apply(paths.fallback(grpc::unknown), tree);
    let paths = cors::apply(paths, options.cors);
    services.fallback_service(paths)
}

/// The plain HTTP paths on the peer port; the traffic between members is not here.
pub fn peer_router(handle: Handle) -> Router {
    http::peer(handle.clone()).merge(http::version(handle)).fallback(plain::not_found)
}

/// What an address of `--listen-metrics-urls` serves.
pub fn metrics_router(handle: Handle) -> Router {
    http::probes(handle).fallback(plain::not_found)
}

#[cfg(test)]
mod tests;
