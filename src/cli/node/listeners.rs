use tracing::info;

use super::tls::Secured;
use crate::config::node::Settings;
use crate::membership::PeerUrl;
use crate::transport::tls::TlsServer;
use crate::transport::{Bound, ListenError};

/// All listening sockets, bound and not yet served.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) peer: Vec<Bound>,
    pub(super) client: Vec<Bound>,
    pub(super) metrics: Vec<Bound>,
}

impl Listeners {
    /// Binds every address of the configuration.
    pub(super) async fn bind(settings: &Settings, tls: &Secured) -> Result<Self, ListenError> {
        info!(listen_peer_urls = join(&settings.listen_peer_urls), "configuring peer listeners");
        let peer = bind(&settings.listen_peer_urls, tls.peer.as_ref()).await?;
        info!(
            listen_client_urls = join(&settings.listen_client_urls),
            "configuring client listeners"
        );
        let client = bind(&settings.listen_client_urls, tls.client.as_ref()).await?;
        let metrics = bind(&settings.listen_metrics_urls, tls.client.as_ref()).await?;
        Ok(Self { peer, client, metrics })
    }

    /// The addresses of one kind, with the ports that the kernel chose.
    pub(super) fn addresses(bound: &[Bound]) -> String {
        let addresses: Vec<String> = bound.iter().map(Bound::place).collect();
        addresses.join(",")
    }
}

async fn bind(urls: &[PeerUrl], tls: Option<&TlsServer>) -> Result<Vec<Bound>, ListenError> {
    let mut bound = Vec::new();
    for url in urls {
        let one = match url.socket() {
            Some(path) => Bound::bind_unix(path)?,
            None => Bound::bind(&authority(url)).await?,
        };
        bound.push(match tls {
            Some(tls) if url.is_https() => one.secured(tls.clone()),
            _ => one,
        });
    }
    Ok(bound)
}

/// `host:port`, with brackets where the host is an IPv6 address.
fn authority(url: &PeerUrl) -> String {
    if url.host().contains(':') {
        format!("[{}]:{}", url.host(), url.port())
    } else {
        format!("{}:{}", url.host(), url.port())
    }
}

pub(super) fn join(urls: &[PeerUrl]) -> String {
    urls.iter().map(PeerUrl::as_str).collect::<Vec<_>>().join(",")
}
