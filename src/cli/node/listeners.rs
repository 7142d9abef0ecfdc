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
        let client = bind_clients(&settings.listen_client_urls, tls.client.as_ref()).await?;
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
        bound.push(bind_one(url, tls).await?);
    }
    Ok(bound)
}

/// As [`bind`], but an address that stands more than once is one socket; with TLS and without, if its URLs are of
/// both kinds, as in etcd.
async fn bind_clients(
    urls: &[PeerUrl],
    tls: Option<&TlsServer>,
) -> Result<Vec<Bound>, ListenError> {
    let mut bound = Vec::new();
    for (at, url) in urls.iter().enumerate() {
        let same = |other: &&PeerUrl| url.socket().is_none() && authority(other) == authority(url);
        if urls[..at].iter().any(|other| same(&other)) {
            continue;
        }
        let mut alike = urls[at..].iter().filter(same);
        let mixed = alike.clone().any(|other| other.is_https() != url.is_https());
        let secure = alike.find(|other| other.is_https()).unwrap_or(url);
        let one = bind_one(secure, tls).await?;
        bound.push(if mixed { one.mixed() } else { one });
    }
    Ok(bound)
}

async fn bind_one(url: &PeerUrl, tls: Option<&TlsServer>) -> Result<Bound, ListenError> {
    let one = match url.socket() {
        Some(path) => Bound::bind_unix(path)?,
        None => Bound::bind(&authority(url)).await?,
    };
    Ok(match tls {
        Some(tls) if url.is_https() => one.secured(tls.clone()),
        _ => one,
    })
}

/// `host:port`, with brackets where the host is an IPv6 address.
pub(in crate::cli) fn authority(url: &PeerUrl) -> String {
    if url.host().contains(':') {
        format!("[{}]:{}", url.host(), url.port())
    } else {
        format!("{}:{}", url.host(), url.port())
    }
}

pub(in crate::cli) fn join(urls: &[PeerUrl]) -> String {
    urls.iter().map(PeerUrl::as_str).collect::<Vec<_>>().join(",")
}
