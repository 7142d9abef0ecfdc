use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::failure::Failure;
use super::listeners::Listeners;
use super::{hosts, notify};
use crate::api;
use crate::config::node::Settings;
use crate::node::{self, DataDir, Founding, Running, bootstrap};
use crate::transport::tls::Expiry;
use crate::transport::{Bound, Http, serve};

/// What the log says of a client whose handshake failed, as in etcd.
const CLIENT_REJECTED: &str = "rejected connection on client endpoint";

/// Runs the member and serves it, until it is told to stop or cannot go on.
pub(super) async fn run(
    settings: Settings,
    dir: &DataDir,
    listeners: Listeners,
    founding: Option<Founding>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let restarted = founding.is_none();
    let config = node::Config { founding, ..settings.node };
    let name = config.name.clone();
    // The node stops after its listeners were told to, so that it can still hand over the leadership.
    let running = node::start(config, CancellationToken::new())?;
    bootstrap::settled(dir);
    let handle = running.handle().clone();
    if restarted && !settings.bootstrap_flags.is_empty() {
        warn_of_ignored(&settings.bootstrap_flags, &handle, dir);
    }
    let Listeners { peer, client, metrics } = listeners;
    register_expiry("client", &client, &handle);
    register_expiry("peer", &peer, &handle);
    let mut servers = JoinSet::new();
    serve_peers(peer, &running, &mut servers, &stop);
    serve_metrics(metrics, &handle, &mut servers, &stop);
    let options = api::Options {
        cors: settings.cors,
        grpc_gateway: settings.grpc_gateway,
        extensive_metrics: settings.extensive_metrics,
        warning_duration: settings.warning_unary_duration,
    };
    let whitelist = settings.host_whitelist;
    let reason = match awaited(&running, settings.ready_timeout, &stop).await {
        Ok(()) => {
            let max_concurrent_streams = handle.limits().max_concurrent_streams;
            let http = Http {
                max_concurrent_streams,
                keepalive_interval: settings.keepalive_interval,
                keepalive_timeout: settings.keepalive_timeout,
                ping_floor: Some(settings.keepalive_floor),
                rejected: CLIENT_REJECTED,
                ..Http::default()
            };
            let router = hosts::guard(api::client_router(&handle, options), &whitelist);
            serve_clients(client, &router, &http, &mut servers, &stop);
            tokio::select! {
                reason = ended(&running, &stop) => reason,
                never = announced(&running) => never,
            }
        }
        Err(reason) => reason,
    };
    close(running, servers, &name, &stop).await;
    reason.map_or(Ok(()), |reason| Err(Failure::Stopped { reason }))
}

/// Waits until the cluster knows this member, but not for ever: without a quorum an operator has to
/// see that, and may still read and save what is here. An error when the node ends before that.
async fn awaited(
    running: &Running,
    limit: Duration,
    stop: &CancellationToken,
) -> Result<(), Option<String>> {
    tokio::select! {
        () = running.ready() => Ok(()),
        () = tokio::time::sleep(limit) => {
            warn!(
                timeout = ?limit,
                "timed out waiting for the ready notification; clients are served, but what needs a quorum waits"
            );
            Ok(())
        }
        reason = ended(running, stop) => Err(reason),
    }
}

/// Tells systemd once the cluster knows this member; does not end.
async fn announced(running: &Running) -> Option<String> {
    running.ready().await;
    notify::ready();
    std::future::pending().await
}

/// Waits for the signal to stop, or for the node to fail; why in the second case.
async fn ended(running: &Running, stop: &CancellationToken) -> Option<String> {
    tokio::select! {
        reason = running.ended() => reason,
        () = stop.cancelled() => None,
    }
}

fn warn_of_ignored(flags: &[&str], handle: &node::Handle, dir: &DataDir) {
    warn!(
        flags = flags.join(","),
        member.id = %handle.member_id(),
        cluster.id = %handle.cluster_id(),
        data_dir = %dir.path().display(),
        "bootstrap flags are ignored: data dir holds member {} of cluster {}",
        handle.member_id(),
        handle.cluster_id()
    );
}

/// Shows until when the certificate of these listeners is good.
fn register_expiry(port: &str, listeners: &[Bound], handle: &node::Handle) {
    if let Some(tls) = listeners.iter().find_map(Bound::tls) {
        let name = format!("quorate_tls_{port}_certificate_not_after_seconds");
        let expiry = Expiry::new(&name, tls.clone());
        let registered = handle.registry().register(Box::new(expiry));
        registered.expect("a node has one metric of each name");
    }
}

fn serve_peers(
    peer: Vec<Bound>,
    running: &Running,
    servers: &mut JoinSet<()>,
    stop: &CancellationToken,
) {
    let router = api::peer_router(running.handle().clone()).merge(running.peer_router());
    for bound in peer {
        info!(address = bound.place(), "serving peer traffic");
        let rejected = "rejected connection on peer endpoint";
        let http = Http { answers: false, rejected, ..Http::default() };
        servers.spawn_on(serve(bound, router.clone(), http, stop.clone()), running.peer_runtime());
    }
}

fn serve_metrics(
    metrics: Vec<Bound>,
    handle: &node::Handle,
    servers: &mut JoinSet<()>,
    stop: &CancellationToken,
) {
    for bound in metrics {
        info!(address = bound.place(), "serving metrics");
        let http = Http { rejected: CLIENT_REJECTED, ..Http::default() };
        servers.spawn(serve(bound, api::metrics_router(handle.clone()), http, stop.clone()));
    }
}

fn serve_clients(
    client: Vec<Bound>,
    router: &axum::Router,
    http: &Http,
    servers: &mut JoinSet<()>,
    stop: &CancellationToken,
) {
    info!("ready to serve client requests");
    for bound in client {
        if bound.tls().is_some() {
            info!(
                traffic = "grpc+http",
                address = bound.place(),
                "serving client traffic securely"
            );
        }
        if bound.takes_plain() {
            info!(
                traffic = "grpc+http",
                address = bound.place(),
                "serving client traffic insecurely; this is strongly discouraged!"
            );
        }
        servers.spawn(serve(bound, router.clone(), http.clone(), stop.clone()));
    }
}

async fn close(running: Running, mut servers: JoinSet<()>, name: &str, stop: &CancellationToken) {
    info!(name, "closing etcd server");
    running.close().await;
    stop.cancel();
    while servers.join_next().await.is_some() {}
    info!(name, "closed etcd server");
}
