use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::failure::{Failure, Unfound};
use super::listeners::{Listeners, join};
use super::tls::Secured;
use super::{architecture, member};
use crate::api;
use crate::config::node::Settings;
use crate::discovery::{Way, redact};
use crate::node::{DataDir, Start, bootstrap, proxy};
use crate::shutdown;
use crate::transport::Bound;

/// Larger requests hold up all others; etcd's `recommendedMaxRequestBytes`.
const RECOMMENDED_REQUEST_BYTES: usize = 10 * 1024 * 1024;

/// Runs the node until a signal ends it.
pub(super) async fn run(mut settings: Settings) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let signals = stop.clone();
    tasks.spawn(async move {
        if let Err(error) = shutdown::on_signal(signals).await {
            warn!(error = %error, "signals cannot be received");
        }
    });
    let dir = DataDir::open(&settings.node.data_dir)?;
    let tls = Secured::load(&settings)?;
    settings.bootstrap.tls.clone_from(&tls.dialer);
    settings.node.tls.clone_from(&tls.dialer);
    let listeners = Listeners::bind(&settings, &tls).await?;
    tasks.spawn(tls.watch(stop.clone()));
    describe(&settings, &listeners);
    let log_dir = settings.node.log_dir();
    let decision = bootstrap::decide(&dir, &log_dir, &settings.bootstrap, settings.proxy_when_full);
    let start = tokio::select! {
        start = decision => start,
        () = stop.cancelled() => {
            info!("stopped while the cluster was looked for");
            return Ok(());
        }
    };
    let start = start.map_err(|source| failed(source, &settings))?;
    let outcome = match start {
        Start::Proxy { peer_urls } => {
            let Listeners { client, peer, metrics } = listeners;
            // Nobody is to take this node for a member.
            drop((peer, metrics));
            let client = client.into_iter().filter_map(Bound::into_listener).collect();
            let tls = settings.node.tls;
            proxy::forward(client, dir.path(), peer_urls, tls, settings.proxy, stop.clone()).await;
            Ok(())
        }
        Start::Restart => member::run(settings, &dir, listeners, None, stop.clone()).await,
        Start::Found(founding) => {
            member::run(settings, &dir, listeners, Some(founding), stop.clone()).await
        }
    };
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    outcome
}

fn failed(source: bootstrap::BootstrapError, settings: &Settings) -> Failure {
    let discovery_url = match &settings.bootstrap.way {
        Way::Token(token) => Some(token.url.clone()),
        Way::TokenV3(way) => Some(way.token.clone()),
        _ => None,
    };
    Failure::Bootstrap(Box::new(Unfound {
        source,
        discovery_url,
        name: settings.node.name.clone(),
        data_dir: settings.node.data_dir.display().to_string(),
    }))
}

/// The line with the whole configuration that etcd starts with.
fn describe(settings: &Settings, listeners: &Listeners) {
    let node = &settings.node;
    let (initial_cluster, discovery_url, discovery_srv) = match &settings.bootstrap.way {
        Way::Static(list) => (list.to_string(), String::new(), String::new()),
        Way::Token(token) => (String::new(), redact(&token.url), String::new()),
        Way::TokenV3(way) => (String::new(), redact(&way.token), String::new()),
        Way::Srv(srv) => (String::new(), String::new(), srv.domain.clone()),
    };
    let state = if settings.bootstrap.existing { "existing" } else { "new" };
    info!(
        quorate_version = env!("CARGO_PKG_VERSION"),
        etcd_version = api::version::SERVER,
        go_os = std::env::consts::OS,
        go_arch = architecture(),
        max_cpu_available = std::thread::available_parallelism().map_or(1, usize::from),
        name = node.name,
        data_dir = %node.data_dir.display(),
        wal_dir = %node.log_dir().display(),
        heartbeat_interval = ?node.heartbeat,
        election_timeout = ?node.election,
        initial_election_tick_advance = node.initial_election_tick_advance,
        snapshot_count = node.snapshot_count,
        snapshot_catchup_entries = node.catchup_entries,
        initial_advertise_peer_urls = join(&settings.bootstrap.peer_urls),
        listen_peer_urls = Listeners::addresses(&listeners.peer),
        advertise_client_urls = node.advertise_client_urls.join(","),
        listen_client_urls = Listeners::addresses(&listeners.client),
        listen_metrics_urls = Listeners::addresses(&listeners.metrics),
        initial_cluster,
        initial_cluster_state = state,
        initial_cluster_token = settings.bootstrap.cluster_token,
        quota_backend_bytes = node.limits.quota_bytes,
        max_request_bytes = node.limits.max_request_bytes,
        pre_vote = node.pre_vote,
        discovery_url,
        discovery_srv,
        "starting an etcd server"
    );
    crate::node::quota::describe(node.limits.quota_bytes, settings.default_quota);
    if node.limits.max_request_bytes > RECOMMENDED_REQUEST_BYTES {
        warn!(
            max_request_bytes = node.limits.max_request_bytes,
            recommended_request_bytes = RECOMMENDED_REQUEST_BYTES,
            "exceeded recommended request limit"
        );
    }
    if node.unsafe_no_fsync {
        warn!("unsafe-no-fsync is on: a crash of the machine loses what was acknowledged");
    }
}
