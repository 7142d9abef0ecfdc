//! Handshakes with what a configuration offers: with itself in memory, and with an endpoint.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::certificate::Described;
use crate::transport::tls::{ClientOptions, TlsClient, TlsServer, Verification, is_tls, words};

/// Room for the messages of a handshake, certificates included.
const ROOM: usize = 64 << 10;
/// How long an endpoint may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What every port of etcd and quorate-node answers, so that a refusal is told from silence: in TLS 1.3 it comes
/// after the client is done.
const QUESTION: &[u8] = b"GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// What is said of an endpoint that answers without TLS.
const NO_TLS: &str = "first record does not look like";

/// Who ended a handshake, and in which words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The client does not take the server's certificate.
    ByClient(String),
    /// The server does not take the client's certificate.
    ByServer(String),
    /// It did not come to a handshake.
    Unreached(String),
}

impl Refusal {
    /// What happened and what to do about it, for a side that shows a certificate or none.
    pub(super) fn told(&self, shows: bool) -> (String, &'static str) {
        match self {
            Self::Unreached(why) => {
                (why.clone(), "check host, port and firewalls; does the node run?")
            }
            Self::ByClient(why) if why.contains(NO_TLS) => {
                (why.clone(), "this port speaks no TLS: write http:// to its clients")
            }
            Self::ByClient(why) => (
                format!("this side refuses its certificate: {why}"),
                "name its authority with --cacert, and a host that its certificate has",
            ),
            Self::ByServer(why) => {
                let cure = match shows {
                    true => {
                        "the certificate has to be signed by --trusted-ca-file of the node, in time, for clients \
                         (clientAuth), with an allowed name and, on a peer port, from an address that it names"
                    }
                    false => "it asks for a certificate: --cert FILE --key FILE",
                };
                (format!("the endpoint refuses this side: {why}"), cure)
            }
        }
    }
}

/// Whether TLS is spoken there.
pub(super) async fn is_tls_spoken(host: &str, port: u16) -> bool {
    let anyone = ClientOptions { verification: Verification::Skipped, ..ClientOptions::default() };
    let Ok(client) = TlsClient::load(anyone) else { return false };
    match with_endpoint(&client, host, port).await {
        Ok(_) | Err(Refusal::ByServer(_)) => true,
        Err(Refusal::ByClient(why)) => !why.contains(NO_TLS),
        Err(Refusal::Unreached(_)) => false,
    }
}

/// Lets a client shake hands with a server that has this host, from that address.
pub(super) async fn rehearse(
    server: &TlsServer,
    client: &TlsClient,
    host: &str,
    from: SocketAddr,
) -> Result<(), Refusal> {
    let (near, far) = tokio::io::duplex(ROOM);
    let asking = async {
        let mut stream = client.connect(host, near).await?;
        stream.write_all(QUESTION).await?;
        stream.flush().await?;
        // However the server ends this, it has said why.
        let _ = stream.read(&mut [0]).await;
        io::Result::Ok(())
    };
    // Dropped with the connection, which lets the client go.
    let serving = async { server.accept(far, from).await.map(drop) };
    let (asked, served) = tokio::join!(asking, serving);
    match (asked, served) {
        (Ok(()), Ok(())) => Ok(()),
        (Err(error), _) if !is_remote(&error) => Err(Refusal::ByClient(error.to_string())),
        (_, Err(rejected)) => Err(Refusal::ByServer(rejected.reason)),
        (Err(error), Ok(())) => Err(Refusal::ByServer(error.to_string())),
    }
}

/// Whether the other side ended the handshake.
fn is_remote(error: &io::Error) -> bool {
    let text = error.to_string();
    text.contains("remote error")
        || matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
        )
}

/// Shakes hands with an endpoint and waits for its first word; what it shows if it takes us.
pub(super) async fn with_endpoint(
    client: &TlsClient,
    host: &str,
    port: u16,
) -> Result<Option<Described>, Refusal> {
    let late = |_| Refusal::Unreached(format!("no answer within {PATIENCE:?}"));
    let unreached = |error: io::Error| Refusal::Unreached(error.to_string());
    let dialed = tokio::time::timeout(PATIENCE, TcpStream::connect((host, port))).await;
    let stream = dialed.map_err(late)?.map_err(unreached)?;
    let refusal = |error: io::Error| {
        let error = io::Error::new(error.kind(), words(&error));
        match is_remote(&error) {
            true => Refusal::ByServer(error.to_string()),
            false => Refusal::ByClient(error.to_string()),
        }
    };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| Refusal::Unreached(format!("`{host}`: {error}")))?;
    // Without the choice of HTTP/2, which members of etcd do not speak to each other.
    let connector = TlsConnector::from(Arc::new(client.http1()));
    let shaken = tokio::time::timeout(PATIENCE, connector.connect(name, stream)).await;
    let mut stream = shaken.map_err(late)?.map_err(refusal)?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let shown = shown.and_then(|first| Described::of(first));
    let mut first = [0];
    let answer = tokio::time::timeout(PATIENCE, async {
        stream.write_all(QUESTION).await?;
        stream.flush().await?;
        stream.read(&mut first).await
    });
    match answer.await {
        Ok(Ok(0)) => Err(Refusal::ByServer("it closes the connection without a word".to_owned())),
        Ok(Err(error)) if is_tls(&error) => Err(Refusal::ByServer(words(&error))),
        Ok(Err(error)) => Err(Refusal::ByServer(error.to_string())),
        // Whoever is silent speaks another protocol inside, and has let us in.
        Ok(Ok(_)) | Err(_) => Ok(shown),
    }
}
