//! The JSON gateway: etcd's gRPC calls as `POST /v3/...` with JSON bodies.
//!
//! Generic over the descriptors: a path names a method (`routes`), its JSON becomes the method's request
//! (`parse`, `read`), the call goes through the very gRPC services that the port serves (`call`), and
//! what comes back becomes JSON (`write`). So whatever holds for a gRPC call, permissions included,
//! holds here. Shapes and words are those of grpc-gateway v1 in etcd 3.5; releases from 3.6 on accept more
//! spellings and leave out `error` in refusals. Another method than POST is refused as they do, and late 3.5.
//!
//! A call can also be made by websocket (`socket`), which is how browsers get at streams.

mod call;
mod deadline;
mod parse;
mod read;
mod routes;
mod socket;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::any;
use prost_reflect::MethodDescriptor;
use tokio_util::task::TaskTracker;

use self::call::Call;
use super::descriptors;
use super::plain::failure;
use crate::node::Handle;
use crate::transport::{PeerIdentity, Place};

/// A JSON body may be this much larger than the message it stands for: base64, escapes and white space.
const SPELLING: usize = 4;

/// The path below which everything of the gateway is.
pub(super) const TREE: &str = "/v3";

/// The method behind each path. Descriptors take a megabyte, so they are read when the first path is asked for.
static METHODS: LazyLock<BTreeMap<&str, MethodDescriptor>> = LazyLock::new(|| {
    let known = |&(path, name)| Some((path, descriptors::method(name)?));
    routes::ROUTES.iter().filter_map(known).collect()
});

#[derive(Debug)]
struct Gateway {
    services: Router,
    /// Bytes a JSON body may have.
    largest: usize,
}

/// etcd's answer to a client whose certificate names a user: calls of the gateway do not count as that user's.
const NAMED: &str = "CommonName of client sending a request against gateway will be ignored and not used as expected\n";

/// The paths of the gateway, over gRPC services that take messages of up to `largest` bytes.
pub(super) fn router(handle: Handle, services: Router, largest: usize) -> Router {
    let largest = largest.saturating_mul(SPELLING);
    let gateway = Arc::new(Gateway { services, largest });
    let sockets = Sockets { handle: handle.clone(), largest, open: TaskTracker::new() };
    Router::new()
        .route("/v3/{*path}", any(answer))
        // The name of the time when v3 was new; etcd still rewrites it.
        .route("/v3beta/{*path}", any(answer))
        .route("/v3/", any(unknown))
        .route("/v3beta/", any(unknown))
        .with_state(gateway)
        .layer(from_fn_with_state(sockets, by_socket))
        .layer(from_fn(move |request: Request, next: Next| {
            let refused = handle.auth_enabled() && names_a_user(&request);
            async move {
                if refused {
                    failure(StatusCode::BAD_REQUEST, NAMED)
                } else {
                    next.run(request).await
                }
            }
        }))
}

fn names_a_user(request: &Request) -> bool {
    let identity = request.extensions().get::<PeerIdentity>();
    identity.is_some_and(|identity| identity.common_name.as_ref().is_some_and(|it| !it.is_empty()))
}

async fn answer(
    State(gateway): State<Arc<Gateway>>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    let Some(method) = METHODS.get(path.as_str()) else { return unknown().await };
    if request.method() != Method::POST {
        return call::not_allowed();
    }
    let (head, mut body) = request.into_parts();
    if head.extensions.get::<socket::ByMessages>().is_some() && !method.is_client_streaming() {
        body = socket::question(body).await;
    }
    let call = Call::new(gateway.services.clone(), method.clone(), &head.headers);
    let call = match call {
        Ok(call) => call,
        Err(status) => return call::refused(&status),
    };
    if method.is_client_streaming() {
        call.conversation(body, gateway.largest).await
    } else {
        call.question(body, gateway.largest).await
    }
}

/// The sockets that are open.
#[derive(Debug, Clone)]
struct Sockets {
    handle: Handle,
    /// Bytes a message may have.
    largest: usize,
    /// Each ends with its client or with the node.
    open: TaskTracker,
}

/// Makes a socket of a request that wants to be one; as in etcd, whatever its path is.
async fn by_socket(State(sockets): State<Sockets>, request: Request, next: Next) -> Response {
    if !socket::is_wanted(&request) {
        return next.run(request).await;
    }
    let (response, opened) = socket::open(request);
    let Some((request, ways)) = opened else { return response };
    let place = request.extensions().get::<Place>().cloned();
    let Sockets { handle, largest, open } = sockets;
    open.spawn(async move {
        ways.carry(next.run(request), largest, handle).await;
        drop(place);
    });
    response
}

async fn unknown() -> Response {
    failure(StatusCode::NOT_FOUND, "Not Found\n")
}
