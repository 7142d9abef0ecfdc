use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue};
use parking_lot::RwLock;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};
use tonic::{Code, Status};
use tracing::warn;

const CODES: [(Code, &str); 17] = [
    (Code::Ok, "OK"),
    (Code::Cancelled, "Canceled"),
    (Code::Unknown, "Unknown"),
    (Code::InvalidArgument, "InvalidArgument"),
    (Code::DeadlineExceeded, "DeadlineExceeded"),
    (Code::NotFound, "NotFound"),
    (Code::AlreadyExists, "AlreadyExists"),
    (Code::PermissionDenied, "PermissionDenied"),
    (Code::ResourceExhausted, "ResourceExhausted"),
    (Code::FailedPrecondition, "FailedPrecondition"),
    (Code::Aborted, "Aborted"),
    (Code::OutOfRange, "OutOfRange"),
    (Code::Unimplemented, "Unimplemented"),
    (Code::Internal, "Internal"),
    (Code::Unavailable, "Unavailable"),
    (Code::DataLoss, "DataLoss"),
    (Code::Unauthenticated, "Unauthenticated"),
];

/// Versions of clients that are counted apart; clients may send any text.
const VERSIONS: usize = 16;

/// All counters of the services.
#[derive(Debug)]
pub(in crate::api::grpc) struct Meters {
    started: IntCounterVec,
    handled: IntCounterVec,
    received: IntCounterVec,
    sent: IntCounterVec,
    /// Only with `--metrics extensive`.
    handling: Option<HistogramVec>,
    received_bytes: IntCounter,
    sent_bytes: IntCounter,
    clients: Arc<Clients>,
    /// Calls that take longer are logged.
    warning: Option<Duration>,
}

impl Meters {
    pub(in crate::api::grpc) fn new(
        registry: &Registry,
        extensive: bool,
        warning: Option<Duration>,
    ) -> Result<Self, prometheus::Error> {
        let labels = ["grpc_type", "grpc_service", "grpc_method"];
        let vector = |name: &str, help: &str, labels: &[&str]| {
            let vector = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vector.clone())).map(|()| vector)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let handling = if extensive {
            let help = "Time a call took until the server had handled it.";
            let opts = HistogramOpts::new("grpc_server_handling_seconds", help);
            let handling = HistogramVec::new(opts, &labels)?;
            registry.register(Box::new(handling.clone()))?;
            Some(handling)
        } else {
            None
        };
        Ok(Self {
            started: vector("grpc_server_started_total", "Calls begun.", &labels)?,
            handled: vector(
                "grpc_server_handled_total",
                "Calls ended, by code.",
                &["grpc_type", "grpc_service", "grpc_method", "grpc_code"],
            )?,
            received: vector(
                "grpc_server_msg_received_total",
                "Messages received from clients.",
                &labels,
            )?,
            sent: vector("grpc_server_msg_sent_total", "Messages sent to clients.", &labels)?,
            handling,
            received_bytes: counter(
                "etcd_network_client_grpc_received_bytes_total",
                "Bytes of messages received from clients.",
            )?,
            sent_bytes: counter(
                "etcd_network_client_grpc_sent_bytes_total",
                "Bytes of messages sent to clients.",
            )?,
            clients: Arc::new(Clients {
                requests: vector(
                    "etcd_server_client_requests_total",
                    "Requests by the version of the client.",
                    &["type", "client_api_version"],
                )?,
                known: RwLock::default(),
            }),
            warning,
        })
    }

    pub(in crate::api::grpc) fn method(&self, service: &str, method: &str) -> Arc<Method> {
        let kind = kind(service, method);
        let labels = [kind, service, method];
        let handled =
            CODES.map(|(_, code)| self.handled.with_label_values(&[kind, service, method, code]));
        // To wait is what locks and elections are for.
        let waits = matches!(service, "v3lockpb.Lock" | "v3electionpb.Election");
        Arc::new(Method {
            path: format!("/{service}/{method}"),
            warning: self.warning.filter(|_| kind == "unary" && !waits),
            unary: kind == "unary",
            started: self.started.with_label_values(&labels),
            handled,
            received: self.received.with_label_values(&labels),
            sent: self.sent.with_label_values(&labels),
            handling: self.handling.as_ref().map(|vector| vector.with_label_values(&labels)),
            received_bytes: self.received_bytes.clone(),
            sent_bytes: self.sent_bytes.clone(),
            clients: Arc::clone(&self.clients),
        })
    }
}

/// The label `grpc_type`.
fn kind(service: &str, method: &str) -> &'static str {
    match (service, method) {
        ("etcdserverpb.Watch", "Watch")
        | ("etcdserverpb.Lease", "LeaseKeepAlive")
        | (_, "ServerReflectionInfo") => "bidi_stream",
        ("etcdserverpb.KV", "RangeStream")
        | ("etcdserverpb.Maintenance", "Snapshot")
        | ("v3electionpb.Election", "Observe")
        | ("grpc.health.v1.Health", "Watch") => "server_stream",
        _ => "unary",
    }
}

/// Requests by what the clients call their version.
#[derive(Debug)]
struct Clients {
    requests: IntCounterVec,
    known: RwLock<Vec<(HeaderValue, [IntCounter; 2])>>,
}

impl Clients {
    fn count(&self, version: Option<&HeaderValue>, unary: bool) {
        let unknown = HeaderValue::from_static("unknown");
        let version = version.unwrap_or(&unknown);
        let place = usize::from(!unary);
        let known = self.known.read();
        if let Some((_, counters)) = known.iter().find(|(known, _)| known == version) {
            counters[place].inc();
            return;
        }
        let full = known.len() >= VERSIONS;
        drop(known);
        let label = version.to_str().ok().filter(|_| !full).unwrap_or("unknown");
        let counters =
            ["unary", "stream"].map(|kind| self.requests.with_label_values(&[kind, label]));
        counters[place].inc();
        if !full {
            let mut known = self.known.write();
            if known.iter().all(|(known, _)| known != version) {
                known.push((version.clone(), counters));
            }
        }
    }
}

/// The counters of one method.
#[derive(Debug)]
pub(in crate::api::grpc) struct Method {
    path: String,
    warning: Option<Duration>,
    unary: bool,
    started: IntCounter,
    handled: [IntCounter; 17],
    received: IntCounter,
    sent: IntCounter,
    handling: Option<Histogram>,
    received_bytes: IntCounter,
    sent_bytes: IntCounter,
    clients: Arc<Clients>,
}

impl Method {
    /// So many messages have come, and their bytes.
    pub(super) fn received(&self, (messages, bytes): (u64, u64)) {
        self.received.inc_by(messages);
        self.received_bytes.inc_by(bytes);
    }

    fn ended(&self, code: Code, started: Instant) {
        if let Some(place) = CODES.iter().position(|(known, _)| *known == code) {
            self.handled[place].inc();
        }
        if self.handling.is_none() && self.warning.is_none() {
            return;
        }
        let took = started.elapsed();
        if let Some(handling) = &self.handling {
            handling.observe(took.as_secs_f64());
        }
        if self.warning.is_some_and(|limit| took > limit) {
            // etcd's words, without the request: what is in it is nobody's but the client's.
            warn!(
                time_spent = ?took,
                response_type = self.path,
                code = ?code,
                expected_duration = ?self.warning.unwrap_or_default(),
                "request stats"
            );
        }
    }
}

/// How a call ends; one that nobody waited for was cancelled.
#[derive(Debug)]
pub(in crate::api::grpc) struct Outcome {
    method: Arc<Method>,
    started: Instant,
    open: bool,
}

impl Outcome {
    /// A call that begins, with these headers.
    pub(in crate::api::grpc) fn begin(method: &Arc<Method>, headers: &HeaderMap) -> Self {
        method.started.inc();
        method.clients.count(headers.get("client-api-version"), method.unary);
        Self { method: Arc::clone(method), started: Instant::now(), open: true }
    }

    /// One message of that many bytes has come.
    pub(in crate::api::grpc) fn received(&self, bytes: usize) {
        self.method.received((1, bytes as u64));
    }

    /// One message of that many bytes goes out.
    pub(in crate::api::grpc) fn sent(&self, bytes: usize) {
        self.sent_all((1, bytes as u64));
    }

    /// So many messages go out, and their bytes.
    pub(super) fn sent_all(&self, (messages, bytes): (u64, u64)) {
        self.method.sent.inc_by(messages);
        self.method.sent_bytes.inc_by(bytes);
    }

    /// The call is answered.
    pub(in crate::api::grpc) fn end(mut self, code: Code) {
        self.open = false;
        self.method.ended(code, self.started);
    }

    /// Looks for the status among headers or trailers.
    pub(super) fn notice(&mut self, headers: &HeaderMap) {
        if self.open
            && let Some(status) = headers.get(Status::GRPC_STATUS)
        {
            self.open = false;
            self.method.ended(Code::from_bytes(status.as_bytes()), self.started);
        }
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if self.open {
            self.method.ended(Code::Cancelled, self.started);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::descriptors;
    use crate::api::grpc::SERVICES;

    #[test]
    fn types_are_those_of_the_descriptors() {
        let services =
            descriptors::services().filter(|service| SERVICES.contains(&service.full_name()));
        let mut methods = 0;
        for method in services.flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let expected = match (method.is_client_streaming(), method.is_server_streaming()) {
                (true, _) => "bidi_stream",
                (false, true) => "server_stream",
                (false, false) => "unary",
            };
            let service = method.parent_service();
            assert_eq!(kind(service.full_name(), method.name()), expected, "{method:?}");
            methods += 1;
        }
        assert_eq!(methods, 52);
    }

    #[test]
    fn clients_cannot_make_up_series_without_end() {
        let registry = Registry::new();
        let meters = Meters::new(&registry, true, None).unwrap();
        for number in 0..100 {
            let version = HeaderValue::from_str(&format!("3.{number}")).unwrap();
            meters.clients.count(Some(&version), true);
        }
        let families = registry.gather();
        let family = families.iter().find(|f| f.name() == "etcd_server_client_requests_total");
        assert!(family.unwrap().get_metric().len() <= 2 * (VERSIONS + 1));
    }
}
