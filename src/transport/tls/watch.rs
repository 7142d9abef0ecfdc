use std::collections::BTreeSet;
use std::path::Path;
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
    warn_of_nameless(&servers.iter().collect::<Vec<_>>());
    let mut tick = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let mut reloaded = Vec::new();
        for server in servers.iter().filter(|server| server.is_stale()) {
            let file = server.pair().cert.display();
            match server.reload() {
                Ok(()) => {
                    info!(tls.cert = %file, tls.not_after = %server.ends(), "certificate reloaded");
                    reloaded.push(server);
                }
                Err(error) => warn!(
                    tls.cert = %file,
                    error = chain(&error),
                    "certificate reload failed, the old one stays in use"
                ),
            }
        }
        warn_of_nameless(&reloaded);
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

/// Says once of each certificate that nobody will take it.
fn warn_of_nameless(servers: &[&TlsServer]) {
    let nameless = servers.iter().filter(|server| server.is_nameless());
    let files: BTreeSet<&Path> = nameless.map(|server| server.pair().cert.as_path()).collect();
    for file in files {
        warn!(
            tls.cert = %file.display(),
            "the certificate has no subject alternative name, etcd and all clients in Go refuse it; make \
             one for the names and addresses of this machine: `quorate certs node NAME --host HOST`, \
             or openssl with `-addext subjectAltName=DNS:HOST`"
        );
    }
}
