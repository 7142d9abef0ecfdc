//! A surplus node: it forwards connections on the client port to the members of the full cluster.
//!
//! It copies bytes and understands none of them, so gRPC, HTTP and TLS all pass. What it forwards
//! to are the client URLs that the members publish, read from their peer ports again and again.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::data_dir::make_private;
use crate::discovery::reach;
use crate::durable;
use crate::membership::{ClusterId, PeerUrl};
use crate::transport::AcceptTrouble;
use crate::transport::tls::TlsClient;

/// Connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 8192;
/// How long a member may take to list the others.
const LIST_LIMIT: Duration = Duration::from_secs(5);
/// Pause before members are asked again that did not say where clients reach them.
const FIRST_REFRESH: Duration = Duration::from_secs(1);

/// How a proxy treats the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyOptions {
    /// How long a member that did not answer is left alone.
    pub failure_wait: Duration,
    /// Interval of the readings of the member list.
    pub refresh_interval: Duration,
    pub dial_timeout: Duration,
}

/// The members in turn, without those that failed lately.
#[derive(Debug, Default)]
struct Rota {
    endpoints: Vec<Endpoint>,
    next: usize,
}

#[derive(Debug)]
struct Endpoint {
    address: String,
    /// Not to be asked before.
    out_until: Option<Instant>,
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    #[serde(rename = "PeerURLs")]
    peer_urls: Vec<String>,
}

impl Rota {
    /// Takes over a new list; what is known about an address that stays is kept.
    fn replace(&mut self, addresses: Vec<String>) {
        let mut known = std::mem::take(&mut self.endpoints);
        for address in addresses {
            if self.endpoints.iter().any(|endpoint| endpoint.address == address) {
                continue;
            }
            let kept = known.iter().position(|endpoint| endpoint.address == address);
            let kept = kept.map(|at| known.swap_remove(at));
            self.endpoints.push(kept.unwrap_or(Endpoint { address, out_until: None }));
        }
    }

    /// Whom to try, first to last: those in good standing in turn, then the others as a last resort.
    fn order(&mut self, now: Instant) -> Vec<String> {
        if self.endpoints.is_empty() {
            return Vec::new();
        }
        self.next = (self.next + 1) % self.endpoints.len();
        let (late, early) = self.endpoints.split_at(self.next);
        let turn = early.iter().chain(late);
        let (good, out): (Vec<_>, Vec<_>) =
            turn.partition(|endpoint| endpoint.out_until.is_none_or(|until| until <= now));
        good.into_iter().chain(out).map(|endpoint| endpoint.address.clone()).collect()
    }

    fn set_out(&mut self, address: &str, until: Option<Instant>) {
        for endpoint in &mut self.endpoints {
            if endpoint.address == address {
                endpoint.out_until = until;
            }
        }
    }
}

/// Forwards until `stop`. `peer_urls` are where the members list each other, over `tls` where they
/// ask for it; what clients say is not looked into.
pub async fn forward(
    listeners: Vec<TcpListener>,
    data_dir: &Path,
    peer_urls: Vec<PeerUrl>,
    tls: Option<TlsClient>,
    options: ProxyOptions,
    stop: CancellationToken,
) {
    info!("v2 API proxy starting");
    let rota: Arc<Mutex<Rota>> = Arc::default();
    let mut tasks = JoinSet::new();
    for listener in listeners {
        tasks.spawn(accept(listener, Arc::clone(&rota), options));
    }
    tokio::select! {
        () = refresh(&rota, data_dir, peer_urls, tls.as_ref(), options) => {}
        () = stop.cancelled() => {}
    }
    tasks.shutdown().await;
}

/// Keeps the rota like the cluster is, which the first answer names: where a machine has got the
/// address of a lost member, what clients write must not end up in its cluster.
async fn refresh(
    rota: &Mutex<Rota>,
    data_dir: &Path,
    mut peer_urls: Vec<PeerUrl>,
    tls: Option<&TlsClient>,
    options: ProxyOptions,
) {
    info!(peer_urls = join(&peer_urls), "proxy using peer URLS");
    let mut cluster: Option<ClusterId> = None;
    let mut failed = false;
    loop {
        let pause = match reach(&peer_urls, cluster, LIST_LIMIT, tls).await {
            Some(now) if !now.client_urls.is_empty() => {
                cluster = Some(now.cluster);
                let addresses = now.client_urls.iter().filter_map(|url| PeerUrl::parse(url).ok());
                rota.lock().replace(addresses.map(|url| address(&url)).collect());
                if !now.peer_urls.is_empty() && now.peer_urls != peer_urls {
                    if let Err(error) = write_state(data_dir, &now.peer_urls) {
                        warn!(error = %error, "failed to write the cluster's peer URLs");
                    }
                    info!(from = join(&peer_urls), to = join(&now.peer_urls), "updated peer URLs");
                    peer_urls = now.peer_urls;
                }
                failed = false;
                options.refresh_interval.max(FIRST_REFRESH)
            }
            _ => {
                if !failed {
                    warn!(
                        peer_urls = join(&peer_urls),
                        cluster.id = cluster.map(tracing::field::display),
                        "no member of the cluster says where clients reach it"
                    );
                }
                failed = true;
                FIRST_REFRESH
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn accept(listener: TcpListener, rota: Arc<Mutex<Rota>>, options: ProxyOptions) {
    let address =
        listener.local_addr().map_or_else(|_| String::new(), |address| address.to_string());
    info!(%address, "v2 proxy started listening on client requests");
    let mut trouble = AcceptTrouble::default();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) => {
                let rota = Arc::clone(&rota);
                connections.spawn(async move {
                    connect(client, &rota, options).await;
                    drop(place);
                });
            }
            Err(error) => trouble.with(&address, &error).await,
        }
    }
}

/// Joins a client with the first member that can be reached; without any the client is hung up.
async fn connect(mut client: TcpStream, rota: &Mutex<Rota>, options: ProxyOptions) {
    let order = rota.lock().order(Instant::now());
    for address in order {
        let dial = tokio::time::timeout(options.dial_timeout, TcpStream::connect(&address)).await;
        let error = match dial {
            Ok(Ok(mut member)) => {
                rota.lock().set_out(&address, None);
                // Small requests must not wait for more bytes to come.
                let _ = client.set_nodelay(true).and_then(|()| member.set_nodelay(true));
                if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut member).await {
                    debug!(member = address, error = %error, "connection ended");
                }
                return;
            }
            Ok(Err(error)) => error,
            Err(_) => io::Error::from(io::ErrorKind::TimedOut),
        };
        rota.lock().set_out(&address, Some(Instant::now() + options.failure_wait));
        warn!(member = address, error = %error, "marked endpoint unavailable");
    }
    debug!("no member can be reached; the client is hung up");
}

fn address(url: &PeerUrl) -> String {
    if url.host().contains(':') {
        format!("[{}]:{}", url.host(), url.port())
    } else {
        format!("{}:{}", url.host(), url.port())
    }
}

fn join(urls: &[PeerUrl]) -> String {
    urls.iter().map(PeerUrl::as_str).collect::<Vec<_>>().join(",")
}

/// The peer URLs in `<data-dir>/proxy/cluster`; `None` when this is no data directory of a proxy.
pub(super) fn read_state(data_dir: &Path) -> io::Result<Option<Vec<PeerUrl>>> {
    let bytes = match fs::read(data_dir.join("proxy/cluster")) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let state: State = serde_json::from_slice(&bytes)?;
    let urls = state.peer_urls.iter().map(|url| PeerUrl::parse(url)).collect::<Result<_, _>>();
    urls.map(Some).map_err(io::Error::other)
}

/// Keeps the peer URLs, in etcd's form.
pub(super) fn write_state(data_dir: &Path, peer_urls: &[PeerUrl]) -> io::Result<()> {
    let directory = data_dir.join("proxy");
    make_private(&directory)?;
    let state = State { peer_urls: peer_urls.iter().map(ToString::to_string).collect() };
    durable::replace(&directory.join("cluster"), &serde_json::to_vec(&state)?, 0o644)
}

#[cfg(test)]
mod tests;
