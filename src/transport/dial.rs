use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tonic::transport::{Channel, Endpoint};

use super::close_reason::{CloseReason, Inspected};
use super::tls::TlsClient;
use crate::membership::PeerUrl;

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Silence after which a connection is probed, and how long the probe may go unanswered.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// Opens HTTP/2 connections to peers.
///
/// A node that found its peers through a DNS server of its own finds their addresses there too.
#[derive(Clone, Default)]
pub struct Dialer {
    /// Without one, the system resolves names.
    resolver: Option<TokioResolver>,
    /// For https:// URLs.
    tls: Option<TlsClient>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let resolver = if self.resolver.is_some() { "own" } else { "system" };
        f.debug_struct("Dialer").field("resolver", &resolver).field("tls", &self.tls).finish()
    }
}

impl Dialer {
    /// Resolves names with that server, or as the system does.
    pub fn new(server: Option<SocketAddr>) -> io::Result<Self> {
        let own = server.map(|server| resolver(Some(server))).transpose();
        Ok(Self { resolver: own.map_err(io::Error::other)?, tls: None })
    }

    /// Speaks TLS to peers whose URLs ask for it.
    pub fn secured(self, tls: Option<TlsClient>) -> Self {
        Self { tls, ..self }
    }

    /// Connects now; why the other end closes the connection goes to `reason`.
    pub(super) async fn connect(
        &self,
        url: &PeerUrl,
        reason: &CloseReason,
    ) -> Result<Channel, tonic::transport::Error> {
        let endpoint = endpoint(url)?;
        let (names, reason) = (self.resolver.clone(), reason.clone());
        if url.is_https() {
            let tls = self.tls.clone();
            let dial = move |to| secure(names.clone(), tls.clone(), reason.clone(), to);
            return endpoint.connect_with_connector(tower::service_fn(dial)).await;
        }
        let dial = move |to| plain(names.clone(), reason.clone(), to);
        endpoint.connect_with_connector(tower::service_fn(dial)).await
    }

    /// Connects when the first request is made, by the first of these URLs that leads somewhere; `None` when HTTP
    /// knows none of them.
    pub fn connect_lazy(&self, urls: &[PeerUrl]) -> Option<Channel> {
        let endpoint = urls.iter().find_map(|url| endpoint(url).ok())?;
        let urls: Vec<Uri> = urls.iter().filter_map(|url| url.as_str().parse().ok()).collect();
        // Of which each attempt has its part.
        let limit = CONNECT_TIMEOUT * u32::try_from(urls.len()).unwrap_or(u32::MAX);
        let dialer = self.clone();
        let dial = move |_: Uri| {
            let (dialer, urls) = (dialer.clone(), urls.clone());
            async move { dialer.first_of(urls).await }
        };
        let endpoint = endpoint.connect_timeout(limit);
        Some(endpoint.connect_with_connector_lazy(tower::service_fn(dial)))
    }

    async fn first_of(&self, urls: Vec<Uri>) -> io::Result<Lazy> {
        let mut refused = io::Error::from(io::ErrorKind::NotFound);
        for url in urls {
            match tokio::time::timeout(CONNECT_TIMEOUT, self.reach(url)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => refused = error,
                Err(elapsed) => refused = elapsed.into(),
            }
        }
        Err(refused)
    }

    async fn reach(&self, url: Uri) -> io::Result<Lazy> {
        let (names, reason) = (self.resolver.clone(), CloseReason::default());
        let stream = if url.scheme_str() == Some("https") {
            Either::Left(secure(names, self.tls.clone(), reason, url).await?.into_inner())
        } else {
            Either::Right(plain(names, reason, url).await?.into_inner())
        };
        Ok(TokioIo::new(stream))
    }
}

/// A connection with TLS or without.
type Lazy = TokioIo<Either<Inspected<TlsStream<TcpStream>>, Inspected<TcpStream>>>;

/// Connects to any endpoint; over TLS when its URL asks for it.
pub async fn connect(
    endpoint: &Endpoint,
    tls: Option<&TlsClient>,
) -> Result<Channel, tonic::transport::Error> {
    if endpoint.uri().scheme_str() != Some("https") {
        return endpoint.connect_with_connector(tower::service_fn(in_clear)).await;
    }
    let tls = tls.cloned();
    let dial = move |to| secure(None, tls.clone(), CloseReason::default(), to);
    endpoint.connect_with_connector(tower::service_fn(dial)).await
}

/// A resolver that asks one server, or follows resolv.conf.
pub fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let Some(address) = server else { return TokioResolver::builder_tokio()?.build() };
    let connection = |mut config: ConnectionConfig| {
        config.port = address.port();
        config
    };
    let connections =
        vec![connection(ConnectionConfig::udp()), connection(ConnectionConfig::tcp())];
    let server = NameServerConfig::new(address.ip(), true, connections);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build()
}

async fn plain(
    names: Option<TokioResolver>,
    reason: CloseReason,
    to: Uri,
) -> io::Result<TokioIo<Inspected<TcpStream>>> {
    tcp(names, &to).await.map(|stream| TokioIo::new(Inspected::new(stream, reason)))
}

async fn in_clear(to: Uri) -> io::Result<TokioIo<Inspected<TcpStream>>> {
    tcp(None, &to).await.map(|stream| TokioIo::new(Inspected::in_clear(stream)))
}

async fn secure(
    names: Option<TokioResolver>,
    tls: Option<TlsClient>,
    reason: CloseReason,
    to: Uri,
) -> io::Result<TokioIo<Inspected<TlsStream<TcpStream>>>> {
    let tls = tls.ok_or_else(|| {
        io::Error::other(format!("{to} asks for TLS, and no certificates were configured"))
    })?;
    let stream = tcp(names, &to).await?;
    let stream = tls.connect(to.host().unwrap_or_default(), stream).await?;
    Ok(TokioIo::new(Inspected::new(stream, reason)))
}

async fn tcp(names: Option<TokioResolver>, to: &Uri) -> io::Result<TcpStream> {
    // IPv6 addresses stand in brackets.
    let host = to.host().unwrap_or_default().trim_matches(['[', ']']);
    let default = if to.scheme_str() == Some("https") { 443 } else { 80 };
    let port = to.port_u16().unwrap_or(default);
    let addresses: Vec<IpAddr> = match names {
        Some(names) => names.lookup_ip(host).await.map_err(io::Error::other)?.iter().collect(),
        None => tokio::net::lookup_host((host, port)).await?.map(|found| found.ip()).collect(),
    };
    let mut refused = io::Error::new(io::ErrorKind::NotFound, format!("no address of {host}"));
    for address in addresses {
        match TcpStream::connect((address, port)).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn endpoint(url: &PeerUrl) -> Result<Endpoint, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(url.to_string())?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20))
}
