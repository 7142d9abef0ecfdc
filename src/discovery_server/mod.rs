//! The discovery service over HTTP: decode, ask the registry, encode.
//!
//! Nodes up to etcd 3.5 speak the v2 keys API, later ones etcd's own gRPC services ([`grpc`]), both
//! on the same port. Two spellings of the first lead to a token: `/<token>/...` as the public service had it, and
//! `/v2/keys/<any path>/...` as a real etcd v2 store has it. A node reads the size, reads the
//! directory, registers itself, reads its own key, and then waits for the others with long polls.
//! What it does with each answer is in the constants and comments here, because etcd's client is
//! merciless: any 4xx is final, a 200 without a node crashes it, five seconds of silence end it.
//!
//! Therefore:
//!
//! 1. A 4xx means that the asker has to change something. Our own trouble is 503.
//! 2. A 200 or 201 carries a node, or is the empty end of a long poll.
//! 3. Headers of a long poll are sent at once; it ends before proxies lose patience.
//! 4. `X-Etcd-Index` is the index of the very state the body shows. The next poll starts behind it,
//!    so an index newer than the body would lose an event and an older one would repeat it.
//!
//! Beside the nodes, `admin` is the door of operators and `page` what browsers see.
//!
//! What is deliberately absent: overwriting and deleting. Nodes that wait count every event as one
//! more member, and a size that changes splits a cluster.

mod accept;
mod accounts;
mod admin;
mod answer;
mod asked;
mod cluster;
mod gate;
mod grpc;
mod joining;
mod keys;
mod metrics;
mod new;
mod page;
mod parameters;
mod poll;
mod recent;
mod register;
mod request_id;
mod router;
mod secrets;
mod settings;
mod target;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::admission::{Door, Limits, Protocol, codes};
use crate::registry::{Registry, VerifyError};
use crate::transport::{self, Bound, Http};
pub use accounts::Accounts;
use asked::Asked;
use gate::Gate;
pub use gate::{Rate, RateError, WaiterLimits};
pub use joining::{Joining, Release};
use metrics::Metrics;
use page::Streams;
use parameters::foreign_query;
use recent::Recent;
pub use secrets::{Secrets, SecretsError, first_key};
pub use settings::{Format as SettingsFormat, Settings};

/// The longest a long poll is held. Front proxies cut at 60 s, and a node counts their 504 as a
/// failure that slows down all its later attempts; an empty 200 costs it nothing.
const POLL_LIMIT: Duration = Duration::from_secs(45);

/// The longest a write may take. A node gives up after 5 s, for good.
const WRITE_LIMIT: Duration = Duration::from_secs(4);

/// What the service needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The prefix of every discovery URL, without a slash at the end.
    pub public_url: String,
    /// The largest cluster size to grant.
    pub max_size: u32,
    /// What a registration may be at most.
    pub limits: Limits,
    /// What clients of the port may do.
    pub http: Http,
    pub max_body_bytes: usize,
    /// How long a body may take.
    pub body_timeout: Duration,
    /// How often one address or one key may make a token; `None` for no limit.
    pub new_rate: Option<Rate>,
    /// How often one token may be asked for.
    pub token_rate: Option<Rate>,
    pub waiters: WaiterLimits,
    /// Keys that everybody but loopback needs to make tokens.
    pub new_keys: Option<Arc<Secrets>>,
    /// Keys of operators; without them their API is closed.
    pub admin_keys: Option<Arc<Secrets>>,
    /// Whether operators show a client certificate beside their key.
    pub admin_certificates: bool,
    /// Who may use v3 discovery; `None` for everybody who knows a token.
    pub accounts: Option<Accounts>,
    /// Counts here; `/metrics` prints this with whatever else is registered in it.
    pub metrics: prometheus::Registry,
}

/// Serves HTTP on these listeners until `stop`, then lets waiters go with an empty answer and ends.
pub async fn serve(
    listeners: Vec<Bound>,
    config: Config,
    registry: Registry,
    stop: CancellationToken,
) {
    let http = config.http.clone();
    let reading = tokio::spawn(read_timeline(registry.clone()));
    let service = Service::new(config, registry, stop.clone());
    let router = router::router(service);
    let mut serving = JoinSet::new();
    for listener in listeners {
        serving.spawn(transport::serve(listener, router.clone(), http.clone(), stop.clone()));
    }
    while let Some(ended) = serving.join_next().await {
        if let Err(error) = ended {
            warn!(error = %error, "an HTTP listener ended");
        }
    }
    reading.abort();
}

/// Says so if the timeline is not what was written, beside everything else: it may be long.
async fn read_timeline(registry: Registry) {
    if !registry.is_shared()
        && let Err(broken @ VerifyError::Broken(_)) = registry.verify().await
    {
        error!(error = %broken, code = codes::TIMELINE_BROKEN, "the timeline is damaged");
    }
}

/// What every handler holds.
#[derive(Debug, Clone)]
struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    registry: Registry,
    metrics: Metrics,
    gate: Gate,
    recent: Recent,
    streams: Streams,
    stop: CancellationToken,
}

#[cfg(test)]
impl Config {
    /// A service without keys and rates.
    pub fn new(public_url: String) -> Self {
        Self {
            public_url,
            max_size: 9,
            limits: Limits::default(),
            accounts: None,
            http: Http { max_head_bytes: 16 << 10, ..Http::default() },
            max_body_bytes: 64 << 10,
            body_timeout: Duration::from_secs(4),
            new_rate: None,
            token_rate: None,
            waiters: WaiterLimits::default(),
            new_keys: None,
            admin_keys: None,
            admin_certificates: false,
            metrics: prometheus::Registry::new(),
        }
    }
}

impl Config {
    /// The path of the public URL, without a slash at its end.
    fn public_prefix(&self) -> &str {
        let (_, rest) = self.public_url.split_once("://").unwrap_or_default();
        rest.find('/').map_or("", |at| rest[at..].trim_end_matches('/'))
    }
}

impl Service {
    fn new(config: Config, registry: Registry, stop: CancellationToken) -> Self {
        let metrics = Metrics::new(config.metrics.clone(), registry.commit_time());
        let waiting = metrics.waiters().clone();
        let gate = Gate::new(config.new_rate, config.token_rate, config.waiters, waiting);
        let streams = Streams::new(metrics.page_streams());
        let recent = Recent::new();
        Self(Arc::new(Inner { config, registry, metrics, gate, recent, streams, stop }))
    }

    fn registry(&self) -> &Registry {
        &self.0.registry
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn config(&self) -> &Config {
        &self.0.config
    }

    fn recent(&self) -> &Recent {
        &self.0.recent
    }

    fn streams(&self) -> &Streams {
        &self.0.streams
    }

    /// Ends when the service is to stop.
    async fn stopping(&self) {
        self.0.stop.cancelled().await;
    }

    fn door(&self, asked: &Asked) -> Door {
        Door {
            protocol: Protocol::V2,
            public_url: self.0.config.public_url.clone(),
            host: asked.host.clone(),
            query: foreign_query(asked.query.as_deref()),
            from: asked.from,
            limits: self.0.config.limits,
        }
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
