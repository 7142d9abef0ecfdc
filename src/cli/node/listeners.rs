use tracing::info;

use crate::config::node::Settings;
use crate::membership::PeerUrl;
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
    pub(super) async fn bind(settings: &Settings) -> Result<Self, ListenError> {
        info!(listen_peer_urls = join(&settings.listen_peer_urls), "configuring peer listeners");
        let peer = bind(&settings.listen_peer_urls).await?;
        info!(
            listen_client_urls = join(&settings.listen_client_urls),
            "configuring client listeners"
        );
        let client = bind(&settings.listen_client_urls).await?;
        let metrics = bind(&settings.listen_metrics_urls).await?;
        Ok(Self { peer, client, metrics })
    }

    /// The addresses of one kind, with the ports that the kernel chose.
    pub(super) fn addresses(bound: &[Bound]) -> String {
        let addresses: Vec<String> =
            bound.iter().map(|bound| bound.address().to_string()).collect();
        addresses.join(",")
    }
}

async fn bind(urls: &[PeerUrl]) -> Result<Vec<Bound>, ListenError> {
    let mut bound = Vec::new();
    for url in urls {
        bound.push(Bound::bind(&authority(url)).await?);
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
