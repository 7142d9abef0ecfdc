use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::{debug, warn};

/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long open requests may finish after shutdown began.
const DRAIN: Duration = Duration::from_secs(3);
/// Pause after the listener itself failed, usually for want of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// A listening socket, bound but not yet served.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("listen tcp {address}: bind: address already in use")]
    InUse { address: String },
    #[error("listen tcp {address}")]
    Io { address: String, source: std::io::Error },
}

impl Bound {
    /// Binds `address` (`host:port`; port 0 lets the kernel choose).
    pub async fn bind(address: &str) -> Result<Self, ListenError> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AddrInUse => ListenError::InUse { address: address.to_owned() },
            _ => ListenError::Io { address: address.to_owned(), source },
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens, with the port the kernel chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket, for traffic that is not HTTP.
    pub fn into_listener(self) -> TcpListener {
        self.listener
    }
}

/// Serves HTTP/1.1 and HTTP/2 (prior knowledge) until `stop`, then lets open requests finish.
///
/// Handlers find the client's address as [`ConnectInfo`]`<SocketAddr>`.
pub async fn serve(bound: Bound, router: Router, stop: CancellationToken) {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    http.http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(None);
    let graceful = GracefulShutdown::new();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = bound.listener.accept() => accepted,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(listener.address = %bound.address, error = %error, "accept failed");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            debug!(client.address = %client, error = %error, "TCP_NODELAY refused");
        }
        let service = router.clone().map_request(move |mut request: http::Request<_>| {
            request.extensions_mut().insert(ConnectInfo(client));
            request
        });
        let connection = http
            .serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service))
            .into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                debug!(client.address = %client, error = %error, "connection ended");
            }
        });
    }
    drop(bound.listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        debug!(listener.address = %bound.address, "open requests were cut off");
    }
}
