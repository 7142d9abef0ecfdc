use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::files::{Pair, Stamp, Trusted, stamp};
use super::verify::{Anyone, Servers};
use super::{Allowed, Policy, TlsError, words};

/// How a server's certificate is judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verification {
    /// By its authority, its validity and its names.
    #[default]
    Full,
    /// Not at all: anybody in between can read and change what is said.
    Skipped,
}

/// What a client shows and whom it trusts. The default trusts the authorities of the system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientOptions {
    /// Shown to servers that ask.
    pub pair: Option<Pair>,
    /// Authorities of the servers; without a file those of the system.
    pub ca: Option<PathBuf>,
    /// The name a server's certificate has to carry instead of the host that was dialed.
    pub server_name: Option<String>,
    pub verification: Verification,
    pub allowed: Allowed,
    pub policy: Policy,
}

/// The TLS of connections to others. Copies share what was loaded.
#[derive(Clone)]
pub struct TlsClient(Arc<Inner>);

struct Inner {
    options: ClientOptions,
    config: ArcSwap<ClientConfig>,
    seen: Mutex<Stamp>,
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("options", &self.0.options).finish_non_exhaustive()
    }
}

/// Two are the same when they share what was loaded.
impl PartialEq for TlsClient {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TlsClient {}

impl TlsClient {
    /// Reads the files.
    pub fn load(options: ClientOptions) -> Result<Self, TlsError> {
        let seen = Mutex::new(stamp(files(&options)));
        let config = ArcSwap::from_pointee(config(&options)?);
        Ok(Self(Arc::new(Inner { options, config, seen })))
    }

    /// Reads the files again; what cannot be used changes nothing.
    pub fn reload(&self) -> Result<(), TlsError> {
        *self.0.seen.lock() = stamp(files(&self.0.options));
        self.0.config.store(Arc::new(config(&self.0.options)?));
        Ok(())
    }

    /// For HTTP/1.1 by a client of one's own.
    pub fn http1(&self) -> ClientConfig {
        let mut config = ClientConfig::clone(&self.0.config.load());
        config.alpn_protocols = Vec::new();
        config
    }

    /// Shakes hands with `host`, a name or an address, for HTTP/2.
    pub async fn connect<S>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = self.0.options.server_name.as_deref().unwrap_or(host);
        let name = name.trim_matches(['[', ']']).trim_end_matches('.').to_owned();
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let shaken = TlsConnector::from(self.0.config.load_full()).connect(name, stream).await;
        shaken.map_err(|error| io::Error::new(error.kind(), words(&error)))
    }

    /// Whether a file is no longer the one that was read.
    pub(super) fn is_stale(&self) -> bool {
        *self.0.seen.lock() != stamp(files(&self.0.options))
    }

    /// The certificate that is shown.
    pub(super) fn pair(&self) -> Option<&Pair> {
        self.0.options.pair.as_ref()
    }
}

fn config(options: &ClientOptions) -> Result<ClientConfig, TlsError> {
    let provider = options.policy.provider();
    let allowed = options.allowed.clone();
    let verifier: Arc<dyn ServerCertVerifier> = match options.verification {
        Verification::Skipped => Arc::new(Anyone { provider: Arc::clone(&provider), allowed }),
        Verification::Full => {
            let trusted = Trusted::load(options.ca.as_deref())?;
            Arc::new(Servers::new(trusted, allowed, options.server_name.as_deref(), &provider)?)
        }
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(options.policy.versions())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &options.pair {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let shown = SingleCertAndKey::from(pair.load(&provider)?);
            builder.with_client_cert_resolver(Arc::new(shown))
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn files(options: &ClientOptions) -> impl Iterator<Item = &Path> {
    let pair = options.pair.iter().flat_map(|pair| [pair.cert.as_path(), pair.key.as_path()]);
    pair.chain(options.ca.as_deref())
}
