use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Names;
use crate::transport::tls::{self, TlsClient};

/// Limit of a connection attempt.
const CONNECT: Duration = Duration::from_secs(5);
/// Notices a peer that vanished while a long poll waits.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A client that follows no redirect by itself and ignores `HTTP_PROXY`, as etcd's does.
///
/// Certificates are shown and judged as `tls` says, without it by the authorities of the system.
/// Host names are looked up with `names` if given, by the system otherwise.
pub(super) fn client(
    proxy: Option<&str>,
    names: Option<Arc<Names>>,
    tls: Option<&TlsClient>,
) -> reqwest::Result<reqwest::Client> {
    // Someone else in this process may have chosen already; any provider will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .tcp_keepalive(KEEPALIVE)
        .user_agent(concat!("quorate-node/", env!("CARGO_PKG_VERSION")));
    let builder = match tls {
        Some(tls) => builder.tls_backend_preconfigured(tls.http1()),
        None => builder,
    };
    let builder = match names {
        Some(names) => builder.dns_resolver(Arc::new(Lookup(names))),
        None => builder,
    };
    match proxy {
        Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy)?).build(),
        None => builder.build(),
    }
}

struct Lookup(Arc<Names>);

impl reqwest::dns::Resolve for Lookup {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let names = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = names.addresses(name.as_str()).await.map_err(io::Error::other)?;
            let addresses: Vec<SocketAddr> =
                addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// Reads a body of at most `limit` bytes; `None` when it has more.
pub(super) async fn body(
    mut response: reqwest::Response,
    limit: usize,
) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// Why a request failed, in the words of etcd's client where it has some.
pub(super) fn reason(error: &reqwest::Error, address: &str) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            // The beginning is Go's.
            return "malformed HTTP response; a port that speaks TLS answers so to http://: write https://".to_owned();
        }
    }
    let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
    match io {
        Some(io::ErrorKind::ConnectionRefused) => {
            format!("dial tcp {address}: connect: connection refused")
        }
        Some(io::ErrorKind::ConnectionReset) => "connection reset by peer".to_owned(),
        Some(io::ErrorKind::UnexpectedEof) => "unexpected EOF".to_owned(),
        _ if is_tls(cause) => tls_reason(cause),
        _ if error.is_timeout() => "context deadline exceeded".to_owned(),
        _ if error.is_connect() => format!("dial tcp {address}: {cause}"),
        _ if error.is_body() || error.is_decode() => "unexpected EOF".to_owned(),
        _ if cause.to_string().contains("connection closed") => "EOF".to_owned(),
        _ => cause.to_string(),
    }
}

pub(super) fn is_tls(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<rustls::Error>() || cause.downcast_ref::<io::Error>().is_some_and(tls::is_tls)
}

/// Go's words, without the part that only its newer versions say.
fn tls_reason(cause: &(dyn std::error::Error + 'static)) -> String {
    let text = match (cause.downcast_ref::<rustls::Error>(), cause.downcast_ref::<io::Error>()) {
        (Some(error), _) => tls::words(&io::Error::other(error.clone())),
        (_, Some(error)) => tls::words(error),
        _ => cause.to_string(),
    };
    text.trim_start_matches("tls: failed to verify certificate: ").to_owned()
}
