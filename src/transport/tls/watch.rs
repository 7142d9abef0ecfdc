use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{TlsClient, TlsServer};
use crate::transport::chain;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Takes over changed files until `stop`. A set that cannot be used is named once, and the old one
/// stays.
pub async fn watch(servers: Vec<TlsServer>, clients: Vec<TlsClient>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        for server in servers.iter().filter(|server| server.is_stale()) {
            let file = server.pair().cert.display();
            match server.reload() {
                Ok(()) => info!(
                    tls.cert = %file,
                    tls.not_after = server.not_after(),
                    "certificate reloaded"
                ),
                Err(error) => warn!(
                    tls.cert = %file,
                    error = chain(&error),
                    "certificate reload failed, the old one stays in use"
                ),
            }
        }
        for client in clients.iter().filter(|client| client.is_stale()) {
            let file = client.pair().map(|pair| pair.cert.display().to_string());
            if let Err(error) = client.reload() {
                warn!(
                    tls.cert = file,
                    error = chain(&error),
                    "certificate reload failed, the old one stays in use"
                );
            }
        }
    }
}
