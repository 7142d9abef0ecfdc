use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::files::{Pair, Revoked, Stamp, Trusted, not_after, stamp};
use super::verify::Clients;
use super::{PeerIdentity, Policy, TlsError, address, words};
use crate::admission::UnixMillis;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Whose certificates are taken, beyond being signed by an authority.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Allowed {
    #[default]
    Anyone,
    /// Only those with one of these common names; with none of them nobody.
    CommonNames(Vec<String>),
    /// Only those for one of these hosts; with none of them nobody.
    Hosts(Vec<String>),
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    None,
    /// They may; one that is shown has to be good.
    Optional,
    Required,
}

/// What is spoken inside, which clients may ask for in the handshake (RFC 7301).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/2 or HTTP/1.1.
    #[default]
    Http,
    /// DNS (RFC 7858).
    Dns,
}

impl Spoken {
    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Self::Dns => vec![b"dot".to_vec()],
        }
    }
}

/// What a listener is to show and to ask for.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    pub pair: Pair,
    pub client_auth: ClientAuth,
    /// Whether handlers are told whom a certificate names, and not only that it is a good one.
    pub tells_names: bool,
    /// Authorities of the clients; without a file those of the system.
    pub client_ca: Option<PathBuf>,
    /// Revoked certificates.
    pub crl: Option<PathBuf>,
    pub allowed: Allowed,
    /// A certificate with names has to belong to the address the client comes from.
    pub check_addresses: bool,
    pub policy: Policy,
    pub spoken: Spoken,
}

/// The TLS of listeners. Copies share what was loaded.
#[derive(Clone)]
pub struct TlsServer(Arc<Inner>);

struct Inner {
    options: ServerOptions,
    loaded: ArcSwap<Loaded>,
    seen: Mutex<Stamp>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    revoked: Revoked,
    not_after: i64,
    /// Whether the certificate is for no name and no address.
    is_nameless: bool,
}

/// A handshake that came to nothing.
#[derive(Debug)]
pub struct Rejected {
    /// The name the client asked for, when it got that far.
    pub server_name: String,
    /// Why, in etcd's words.
    pub reason: String,
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").field("pair", &self.0.options.pair).finish_non_exhaustive()
    }
}

impl TlsServer {
    /// Reads the files.
    pub fn load(options: ServerOptions) -> Result<Self, TlsError> {
        let seen = Mutex::new(stamp(files(&options)));
        let loaded = ArcSwap::from_pointee(Loaded::new(&options)?);
        Ok(Self(Arc::new(Inner { options, loaded, seen })))
    }

    /// Reads the files again; what cannot be used changes nothing.
    pub fn reload(&self) -> Result<(), TlsError> {
        // The stamp comes first: a change during the reading is seen the next time.
        *self.0.seen.lock() = stamp(files(&self.0.options));
        self.0.loaded.store(Arc::new(Loaded::new(&self.0.options)?));
        Ok(())
    }

    /// The certificate and its key.
    pub fn pair(&self) -> &Pair {
        &self.0.options.pair
    }

    /// When the certificate in use ends, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.0.loaded.load().not_after
    }

    /// The same, for people.
    pub(super) fn ends(&self) -> UnixMillis {
        UnixMillis(u64::try_from(self.not_after()).unwrap_or(0).saturating_mul(1000))
    }

    /// Whether the certificate in use is for no name and no address, so that no client takes it.
    pub(super) fn is_nameless(&self) -> bool {
        self.0.loaded.load().is_nameless
    }

    /// Whether a file is no longer the one that was read.
    pub(super) fn is_stale(&self) -> bool {
        *self.0.seen.lock() != stamp(files(&self.0.options))
    }

    /// Shakes hands; says whom the client's certificate names, if it showed one.
    pub async fn accept<S>(
        &self,
        stream: S,
        client: SocketAddr,
    ) -> Result<(TlsStream<S>, Option<PeerIdentity>), Rejected>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut server_name = String::new();
        let shaken = tokio::time::timeout(HANDSHAKE, self.shake(stream, client, &mut server_name));
        match shaken.await {
            Ok(Ok(accepted)) => Ok(accepted),
            Ok(Err(reason)) => Err(Rejected { server_name, reason }),
            Err(_elapsed) => Err(Rejected { server_name, reason: "i/o timeout".to_owned() }),
        }
    }

    async fn shake<S>(
        &self,
        stream: S,
        client: SocketAddr,
        server_name: &mut String,
    ) -> Result<(TlsStream<S>, Option<PeerIdentity>), String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let failed = |error: io::Error| words(&error);
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(failed)?;
        hello.client_hello().server_name().unwrap_or_default().clone_into(server_name);
        let loaded = self.0.loaded.load_full();
        let stream = hello.into_stream(Arc::clone(&loaded.config)).await.map_err(failed)?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let Some(first) = chain.first() else { return Ok((stream, None)) };
        let identity = PeerIdentity::of(first).ok_or("x509: malformed certificate")?;
        if self.0.options.check_addresses {
            address::check(&identity, client.ip()).await?;
        }
        if let Some(serial) = loaded.revoked.find(chain) {
            return Err(format!("transport: certificate serial {serial} revoked"));
        }
        Ok((stream, self.0.options.tells_names.then_some(identity)))
    }
}

impl Loaded {
    fn new(options: &ServerOptions) -> Result<Self, TlsError> {
        let provider = options.policy.provider();
        let pair = options.pair.load(&provider)?;
        let not_after = not_after(&pair);
        let named = pair.cert.first().and_then(|certificate| PeerIdentity::of(certificate));
        let is_nameless =
            named.is_some_and(|it| it.dns_names.is_empty() && it.addresses.is_empty());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(options.policy.versions())?;
        let builder = match options.client_auth {
            ClientAuth::None => builder.with_no_client_auth(),
            auth => {
                let trusted = Trusted::load(options.client_ca.as_deref())?;
                let mandatory = auth == ClientAuth::Required;
                let clients = Clients::new(trusted, options.allowed.clone(), mandatory, &provider)?;
                builder.with_client_cert_verifier(Arc::new(clients))
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = options.spoken.protocols();
        let revoked = options.crl.as_deref().map(Revoked::load).transpose()?.unwrap_or_default();
        Ok(Self { config: Arc::new(config), revoked, not_after, is_nameless })
    }
}

fn files(options: &ServerOptions) -> impl Iterator<Item = &Path> {
    let pair = [options.pair.cert.as_path(), options.pair.key.as_path()];
    let others = options.client_ca.as_deref().into_iter().chain(options.crl.as_deref());
    pair.into_iter().chain(others)
}
