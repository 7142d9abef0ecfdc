//! The gRPC services.
//!
//! Only methods that exist have a route; everything else falls through to [`unknown`], which answers
//! as grpc-go does, because clients recognize older servers by that text.

mod auth;
mod caller;
mod cluster;
mod compressed;
mod counted;
mod direct;
mod downgrade;
mod election;
mod error;
mod health;
mod kv;
mod lease;
mod led;
mod lock;
mod maintenance;
mod range_stream;
mod reflection;
mod snapshot;
mod watch;
mod within;

use std::convert::Infallible;
use std::fmt::Display;
use std::marker::PhantomData;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tonic::codec::CompressionEncoding::Gzip;
use tonic::codegen::Service;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::ServiceExt;
use tracing::warn;

pub(super) use error::text;

use self::counted::{Counted, Meters};
use self::direct::Direct;
use self::within::Within;
use super::plain::not_found;
use crate::node::Handle;
use crate::proto::etcdserverpb::ResponseHeader;
use crate::proto::etcdserverpb::auth_server::AuthServer;
use crate::proto::etcdserverpb::cluster_server::ClusterServer;
use crate::proto::etcdserverpb::kv_server::KvServer;
use crate::proto::etcdserverpb::lease_server::LeaseServer;
use crate::proto::etcdserverpb::maintenance_server::MaintenanceServer;
use crate::proto::etcdserverpb::watch_server::WatchServer;
use crate::proto::health::health_server::HealthServer;
use crate::proto::v3electionpb::election_server::ElectionServer;
use crate::proto::v3lockpb::lock_server::LockServer;

type GrpcResponse = http::Response<tonic::body::Body>;

/// What a gRPC message may be larger than the request that goes into the log.
const MESSAGE_OVERHEAD: usize = 512 << 10;

const KV: [&str; 6] = ["Range", "Put", "DeleteRange", "Txn", "Compact", "RangeStream"];
/// Those of them that have no short way.
const KV_RARE: [&str; 2] = ["Compact", "RangeStream"];
const WATCH: [&str; 1] = ["Watch"];
const LEASE: [&str; 5] =
    ["LeaseGrant", "LeaseRevoke", "LeaseKeepAlive", "LeaseTimeToLive", "LeaseLeases"];
const CLUSTER: [&str; 5] =
    ["MemberAdd", "MemberRemove", "MemberUpdate", "MemberList", "MemberPromote"];
const HEALTH: [&str; 3] = ["Check", "List", "Watch"];
const AUTH: [&str; 17] = [
    "AuthEnable",
    "AuthDisable",
    "AuthStatus",
    "Authenticate",
    "UserAdd",
    "UserGet",
    "UserList",
    "UserDelete",
    "UserChangePassword",
    "UserGrantRole",
    "UserRevokeRole",
    "RoleAdd",
    "RoleGet",
    "RoleList",
    "RoleDelete",
    "RoleGrantPermission",
    "RoleRevokePermission",
];
const MAINTENANCE: [&str; 8] =
    ["Alarm", "Status", "Defragment", "Hash", "HashKV", "Snapshot", "MoveLeader", "Downgrade"];

const LOCK: [&str; 2] = ["Lock", "Unlock"];
const ELECTION: [&str; 5] = ["Campaign", "Proclaim", "Leader", "Observe", "Resign"];
const REFLECTION: [&str; 1] = ["ServerReflectionInfo"];

/// The services there are; a missing method of theirs is named as such.
const SERVICES: [&str; 11] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Auth",
    "v3lockpb.Lock",
    "v3electionpb.Election",
];

/// The largest message that a client may send.
pub(super) fn largest_message(handle: &Handle) -> usize {
    handle.limits().max_request_bytes.saturating_add(MESSAGE_OVERHEAD)
}

/// A route for every method that exists. Must be called inside the runtime.
pub(super) fn routes(
    handle: &Handle,
    extensive_metrics: bool,
    warning_duration: Option<Duration>,
) -> Router {
    // Only a second router of one node finds the names taken, and then the first counts.
    let meters = Meters::new(handle.registry(), extensive_metrics, warning_duration);
    let meters = meters.map_err(|error| warn!(error = %error, "calls are not counted")).ok();
    let meters = meters.as_ref();
    let mut router = stores(handle, meters);
    // What these do inside is not a client's call, and is not counted.
    let within = Within::new(stores(handle, None));
    let largest = largest_message(handle);
    let lock = lock::Lock { handle: handle.clone(), within: within.clone() };
    let lock = LockServer::new(lock).accept_compressed(Gzip).send_compressed(Gzip);
    let lock = lock.max_decoding_message_size(largest);
    router = add(router, &LOCK, &lock, meters);
    let election = election::Election { handle: handle.clone(), within };
    let election = ElectionServer::new(election).accept_compressed(Gzip).send_compressed(Gzip);
    let election = election.max_decoding_message_size(largest);
    router = add(router, &ELECTION, &election, meters);
    let health = health::Health { handle: handle.clone() };
    let health = HealthServer::new(health).accept_compressed(Gzip).send_compressed(Gzip);
    router = add(router, &HEALTH, &health, meters);
    router = add(router, &REFLECTION, &reflection::v1(), meters);
    add(router, &REFLECTION, &reflection::v1alpha(), meters)
}

/// The services of etcd's own API.
fn stores(handle: &Handle, meters: Option<&Meters>) -> Router {
    let largest = largest_message(handle);
    macro_rules! limited {
        ($server:ident, $service:expr) => {
            &$server::new($service)
                .accept_compressed(Gzip)
                .send_compressed(Gzip)
                .max_decoding_message_size(largest)
                .max_encoding_message_size(usize::MAX)
        };
    }
    let mut router = Router::new();
    let kv = kv::Kv(handle.clone());
    let service = limited!(KvServer, kv.clone());
    router = match meters {
        Some(meters) => {
            router = add(router, &KV_RARE, service, Some(meters));
            often(router, &kv, service, meters)
        }
        None => add(router, &KV, service, None),
    };
    router = add(router, &WATCH, limited!(WatchServer, watch::Watch(handle.clone())), meters);
    router = add(router, &LEASE, limited!(LeaseServer, lease::Lease(handle.clone())), meters);
    router = add(router, &AUTH, limited!(AuthServer, auth::Auth(handle.clone())), meters);
    let cluster = cluster::Cluster(handle.clone());
    router = add(router, &CLUSTER, limited!(ClusterServer, cluster), meters);
    let maintenance = maintenance::Maintenance(handle.clone());
    add(router, &MAINTENANCE, limited!(MaintenanceServer, maintenance), meters)
}

fn add<S>(mut router: Router, methods: &[&str], service: &S, meters: Option<&Meters>) -> Router
where
    S: Service<Request, Response = GrpcResponse, Error = Infallible>,
    S: NamedService + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    for method in methods {
        let path = format!("/{}/{method}", S::NAME);
        let service = service.clone().map_response(library_words);
        let service = service.map_request(compressed::answered_alike);
        router = match meters {
            Some(meters) => {
                let method = meters.method(S::NAME, method);
                router.route_service(&path, Counted { inner: service, method })
            }
            None => router.route_service(&path, service),
        };
    }
    router
}

/// The calls that clients make all the time, each the short way.
fn often(mut router: Router, kv: &kv::Kv, service: &KvServer<kv::Kv>, meters: &Meters) -> Router {
    macro_rules! short {
        ($name:literal, $call:expr) => {
            let kv = kv.clone();
            let inner = ServiceExt::<Request>::map_response(service.clone(), library_words);
            let inner = inner.map_request(compressed::answered_alike);
            let name = KvServer::<kv::Kv>::NAME;
            let direct = Direct {
                largest: largest_message(&kv.0),
                library: Counted { inner, method: meters.method(name, $name) },
                call: move |request| async move { $call(&kv, request).await },
                messages: PhantomData,
            };
            router = router.route_service(&format!("/{name}/{}", $name), direct);
        };
    }
    short!("Range", kv::Kv::answer_range);
    short!("Put", kv::Kv::answer_put);
    short!("DeleteRange", kv::Kv::answer_delete_range);
    short!("Txn", kv::Kv::answer_txn);
    router
}

/// Whatever has no route: a gRPC call is refused in grpc-go's words, the rest is a missing page.
pub(super) async fn unknown(request: Request) -> Response {
    if !is_grpc(request.headers()) {
        return not_found().await;
    }
    let path = request.uri().path().trim_start_matches('/');
    let text = match path.rsplit_once('/') {
        Some((service, method)) if SERVICES.contains(&service) => missing(service, method),
        Some((service, _)) => format!("unknown service {service}"),
        None => format!("malformed method name: {:?}", request.uri().path()),
    };
    Status::unimplemented(text).into_http::<Body>()
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn missing(service: &str, method: &str) -> String {
    format!("unknown method {method} for service {service}")
}

/// Puts the refusals of the gRPC library into the words that clients know from grpc-go.
fn library_words(response: GrpcResponse) -> GrpcResponse {
    match response.extensions().get::<Status>().and_then(in_library_words) {
        Some(status) => status.into_http(),
        None => response,
    }
}

/// Why the next message of a stream was not read, in the words of grpc-go. One that makes no sense is counted,
/// unlike a client that is gone.
fn unread(handle: &Handle, api: &str, status: Status) -> Status {
    let Some(status) = in_library_words(&status) else { return status };
    handle.labelled().stream_failed(api);
    status
}

/// The same status as grpc-go has it, if that differs.
fn in_library_words(status: &Status) -> Option<Status> {
    let text = status.message();
    match status.code() {
        Code::OutOfRange => {
            let sizes = text.strip_prefix("Error, decoded message length too large: found ")?;
            let (size, limit) = sizes.split_once(" bytes, the limit is: ")?;
            Some(too_large(size, limit.strip_suffix(" bytes")?))
        }
        Code::Internal if text.starts_with(UNREADABLE) => Some(unreadable(text)),
        _ => compressed::in_library_words(status),
    }
}

/// How prost begins to say what is wrong with a message.
const UNREADABLE: &str = "failed to decode Protobuf message: ";

/// grpc-go's words for a message that makes no sense; what exactly is wrong with it, other libraries name
/// otherwise.
fn unreadable(text: &str) -> Status {
    let why = text.strip_prefix(UNREADABLE).unwrap_or(text);
    let cut_short = why.ends_with("invalid varint") || why.ends_with("buffer underflow");
    let why = if cut_short { "unexpected EOF" } else { why };
    Status::internal(format!("grpc: error unmarshalling request: {why}"))
}

/// grpc-go's words for a message beyond the limit.
fn too_large(size: impl Display, limit: impl Display) -> Status {
    Status::resource_exhausted(format!(
        "grpc: received message larger than max ({size} vs. {limit})"
    ))
}

/// Which members may answer a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    /// Any member.
    Everyone,
    /// Voting members; learners refuse.
    Voters,
}

/// What every call is checked for before its handler looks at it, in etcd's order.
fn admit(handle: &Handle, metadata: &MetadataMap, on: On) -> Result<(), Status> {
    if on == On::Voters && handle.is_learner() {
        return Err(crate::node::Error::Learner.into());
    }
    let client = metadata.get("client-api-version");
    if client.is_some_and(|version| std::str::from_utf8(version.as_encoded_bytes()).is_err()) {
        return Err(error::refuse(error::INVALID_CLIENT_VERSION));
    }
    if needs_leader(metadata) && handle.leader().is_none() {
        return Err(crate::node::Error::NoLeader.into());
    }
    Ok(())
}

/// Whether the client would rather have an error than wait for a leader.
fn needs_leader(metadata: &MetadataMap) -> bool {
    metadata.get("hasleader").is_some_and(|value| value.as_encoded_bytes() == b"true")
}

/// Ticks from one period on; a short one is stretched.
fn every(period: Duration) -> Interval {
    let period = period.max(Duration::from_millis(100));
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// A header with what only the node knows, and the revision of the response.
fn header(handle: &Handle, from: Option<&ResponseHeader>) -> Option<ResponseHeader> {
    Some(handle.header_at(from.map_or(0, |header| header.revision)))
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use prost::Message as _;

    use super::*;
    use crate::proto::etcdserverpb as pb;

    #[test]
    fn a_message_too_large_is_refused_in_the_words_of_grpc_go() {
        let library = Status::out_of_range(
            "Error, decoded message length too large: found 3000000 bytes, the limit is: 2097152 bytes",
        );
        let status = in_library_words(&library).unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(
            status.message(),
            "grpc: received message larger than max (3000000 vs. 2097152)"
        );
        let ours = Status::out_of_range("etcdserver: mvcc: required revision has been compacted");
        assert!(in_library_words(&ours).is_none());
    }

    /// Measured on etcd 3.4.23 and 3.5.1.
    #[test]
    fn what_cannot_be_read_is_refused_in_the_words_of_grpc_go() {
        let packed =
            Status::unimplemented("Content is compressed with `zstd` which isn't supported");
        let status = in_library_words(&packed).unwrap();
        assert_eq!(status.code(), Code::Unimplemented);
        let text = "grpc: Decompressor is not installed for grpc-encoding \"zstd\"";
        assert_eq!(status.message(), text);
        for bytes in [&b"\xff\xff"[..], b"\x0a", b"\x0a\x05ab"] {
            let error = pb::RangeRequest::decode(bytes).unwrap_err();
            let status = in_library_words(&Status::internal(error.to_string())).unwrap();
            assert_eq!(status.code(), Code::Internal, "{bytes:?}");
            let text = "grpc: error unmarshalling request: unexpected EOF";
            assert_eq!(status.message(), text, "{bytes:?}");
        }
        let error = pb::RangeRequest::decode(&b"\x08\x01"[..]).unwrap_err();
        let status = unreadable(&error.to_string());
        assert!(
            status.message().starts_with("grpc: error unmarshalling request: RangeRequest.key")
        );
    }

    async fn refusal(path: &str) -> Status {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/grpc+proto")
            .body(Body::empty())
            .unwrap();
        let response = unknown(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.extensions().get::<Status>().unwrap().clone()
    }

    #[tokio::test]
    async fn unknown_calls_are_refused_in_the_words_of_grpc_go() {
        for (path, text) in [
            ("/etcdserverpb.KV/Scan", "unknown method Scan for service etcdserverpb.KV"),
            (
                "/etcdserverpb.Maintenance/X",
                "unknown method X for service etcdserverpb.Maintenance",
            ),
            ("/etcdserverpb.Auth/X", "unknown method X for service etcdserverpb.Auth"),
            ("/foo.Bar/Baz", "unknown service foo.Bar"),
        ] {
            let status = refusal(path).await;
            assert_eq!((status.code(), status.message()), (Code::Unimplemented, text));
        }
        let request = Request::get("/nothing").body(Body::empty()).unwrap();
        assert_eq!(unknown(request).await.status(), StatusCode::NOT_FOUND);
    }
}
