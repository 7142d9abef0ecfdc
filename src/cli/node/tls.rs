use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::node::{Certificate, PortTls, Settings};
use crate::membership::PeerUrl;
use crate::transport::tls::{
    self, ClientOptions, Pair, SelfSignedError, ServerOptions, Spoken, TlsClient, TlsError,
    TlsServer,
};

/// The certificates of this member, loaded.
#[derive(Debug, Clone)]
pub(super) struct Secured {
    /// Of the client port, when a URL asks for it.
    pub(super) client: Option<TlsServer>,
    pub(super) peer: Option<TlsServer>,
    /// For the way to other members.
    pub(super) dialer: Option<TlsClient>,
}

/// Why there is no TLS where it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsFailure {
    #[error(transparent)]
    Load(#[from] TlsError),
    #[error("cannot generate cert")]
    SelfSigned(#[from] SelfSignedError),
}

impl Secured {
    /// Reads, and where asked for makes, the certificates that the URLs need.
    pub(super) fn load(settings: &Settings) -> Result<Self, TlsFailure> {
        let client =
            is_secure(&settings.listen_client_urls) || is_secure(&settings.listen_metrics_urls);
        let client = client.then(|| pair(settings, &settings.tls.client, "client")).transpose()?;
        let peer = is_secure(&settings.listen_peer_urls)
            .then(|| pair(settings, &settings.tls.peer, "peer"))
            .transpose()?;
        let listens = |port: &PortTls, pair: Option<&Pair>, name: &str| {
            pair.map(|pair| server(settings, port, pair, name)).transpose()
        };
        if let (Certificate::Files(pair), false) = (&settings.tls.peer.certificate, dials(settings))
        {
            // etcd reads them without an encrypted URL too, and does not start when it cannot.
            pair.check(&settings.tls.policy)?;
        }
        let dialer = dialing(settings, peer.as_ref()).map(TlsClient::load);
        Ok(Self {
            client: listens(&settings.tls.client, client.as_ref(), "client")?,
            peer: listens(&settings.tls.peer, peer.as_ref(), "peer")?,
            dialer: dialer.transpose()?,
        })
    }

    /// Takes over changed files until `stop`.
    pub(super) async fn watch(self, stop: CancellationToken) {
        let servers = self.client.into_iter().chain(self.peer).collect();
        tls::watch(servers, self.dialer.into_iter().collect(), stop).await;
    }
}

fn is_secure(urls: &[PeerUrl]) -> bool {
    urls.iter().any(PeerUrl::is_https)
}

/// Whether this member speaks TLS to others.
fn dials(settings: &Settings) -> bool {
    is_secure(&settings.bootstrap.peer_urls)
        || is_secure(&settings.listen_peer_urls)
        || settings.tls.peer.ca.is_some()
}

/// What this member shows to others and whom it trusts, if it speaks TLS to them. `made` is the
/// certificate of the peer port where none was given.
pub(in crate::cli) fn dialing(settings: &Settings, made: Option<&Pair>) -> Option<ClientOptions> {
    let own = match &settings.tls.peer.certificate {
        Certificate::Files(pair) => Some(pair),
        _ => made,
    };
    dials(settings).then(|| ClientOptions {
        server_name: settings.tls.peer_server_name.clone(),
        ..settings.tls.peer.dialing(own, &settings.tls.policy)
    })
}

/// The certificate of a port that has a URL with TLS.
fn pair(settings: &Settings, port: &PortTls, name: &str) -> Result<Pair, TlsFailure> {
    match &port.certificate {
        Certificate::Files(pair) => Ok(pair.clone()),
        Certificate::SelfSigned { hosts } => {
            let directory = settings.node.data_dir.join("fixtures").join(name);
            Ok(tls::self_signed(&directory, hosts.clone(), settings.tls.self_signed_years)?)
        }
        Certificate::None => unreachable!("the configuration asks for certificates with https"),
    }
}

fn server(
    settings: &Settings,
    port: &PortTls,
    pair: &Pair,
    name: &str,
) -> Result<TlsServer, TlsFailure> {
    let show = |path: Option<&std::path::PathBuf>| {
        path.map(|path| path.display().to_string()).unwrap_or_default()
    };
    let client_pair = port.client_pair.as_ref();
    info!(
        tls_info = format!(
            "cert = {}, key = {}, client-cert={}, client-key={}, trusted-ca = {}, \
             client-cert-auth = {}, crl-file = {}",
            pair.cert.display(),
            pair.key.display(),
            show(client_pair.map(|pair| &pair.cert)),
            show(client_pair.map(|pair| &pair.key)),
            show(port.ca.as_ref()),
            port.names_users,
            show(port.crl.as_ref())
        ),
        "starting with {name} TLS"
    );
    Ok(TlsServer::load(serving(settings, port, pair))?)
}

/// What a port shows and asks for.
pub(in crate::cli) fn serving(settings: &Settings, port: &PortTls, pair: &Pair) -> ServerOptions {
    ServerOptions {
        pair: pair.clone(),
        client_auth: port.client_auth,
        tells_names: port.names_users,
        client_ca: port.ca.clone(),
        crl: port.crl.clone(),
        allowed: port.allowed.clone(),
        check_addresses: port.check_addresses,
        policy: settings.tls.policy.clone(),
        spoken: Spoken::Http,
    }
}
