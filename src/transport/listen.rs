use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use super::authority::Tolerant;

/// How long open requests may finish after shutdown began.
const DRAIN: Duration = Duration::from_secs(3);
/// Connections that may wait to be accepted. A client that finds no room tries again a second later,
/// which a herd of nodes that start at once would all wait for.
const BACKLOG: u32 = 4096;
/// Silence on an HTTP/2 connection after which it is probed.
const KEEPALIVE: Duration = Duration::from_secs(60);
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

/// Listens on the first address of a name that can be had.
async fn listen(address: &str) -> std::io::Result<TcpListener> {
    let mut refused = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host(address).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Connections of an earlier process may linger on the port.
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

impl Bound {
    /// Binds `address` (`host:port`; port 0 lets the kernel choose).
    pub async fn bind(address: &str) -> Result<Self, ListenError> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AddrInUse => ListenError::InUse { address: address.to_owned() },
            _ => ListenError::Io { address: address.to_owned(), source },
        };
        let listener = listen(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens, with the port the kernel chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection, once there is room for it.
    async fn next(
        &self,
        room: &Arc<Semaphore>,
    ) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let permit = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
        let (stream, client) = self.listener.accept().await?;
        if let Err(error) = stream.set_nodelay(true) {
            debug!(client.address = %client, error = %error, "TCP_NODELAY refused");
        }
        Ok((stream, client, permit))
    }

    /// The socket, for traffic that is not HTTP.
    pub fn into_listener(self) -> TcpListener {
        self.listener
    }
}

/// What clients of a listener may do.
#[derive(Debug, Clone, Copy)]
pub struct Http {
    /// Connections at a time. Further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// How long a client may take to send a request's head, or be silent between two requests.
    pub head_timeout: Duration,
    /// The most bytes of a request's head.
    pub max_head_bytes: usize,
    /// Requests at a time on one HTTP/2 connection; `None` for no limit.
    pub max_concurrent_streams: Option<u32>,
    /// Write `Content-Type` and not `content-type` in HTTP/1.1, for readers that compare text.
    pub title_case_headers: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            head_timeout: Duration::from_secs(60),
            max_head_bytes: 32 << 10,
            max_concurrent_streams: None,
            title_case_headers: true,
        }
    }
}

impl Http {
    fn builder(self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .title_case_headers(self.title_case_headers)
            .header_read_timeout(self.head_timeout)
            .max_buf_size(self.max_head_bytes);
        builder
            .http2()
            .timer(TokioTimer::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .max_header_list_size(u32::try_from(self.max_head_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(self.max_concurrent_streams)
            .keep_alive_interval(Some(KEEPALIVE));
        builder
    }
}

/// Serves HTTP/1.1 and HTTP/2 (prior knowledge) until `stop`, then lets open requests finish.
///
/// Handlers find the client's address as [`ConnectInfo`]`<SocketAddr>`.
pub async fn serve(bound: Bound, router: Router, options: Http, stop: CancellationToken) {
    let builder = options.builder();
    let room = Arc::new(Semaphore::new(options.max_connections));
    let draining = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        // Ended connections are collected as they come, so the set does not grow.
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = bound.next(&room) => accepted,
        };
        let (stream, client, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(listener.address = %bound.address, error = %error, "accept failed");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let service = router.clone().map_request(move |mut request: http::Request<_>| {
            request.extensions_mut().insert(ConnectInfo(client));
            request
        });
        let service = TowerToHyperService::new(service);
        let connection = builder
            .serve_connection_with_upgrades(TokioIo::new(Tolerant::new(stream)), service)
            .into_owned();
        let connection = draining.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                debug!(client.address = %client, error = %error, "connection ended");
            }
            drop(permit);
        });
    }
    let address = bound.address;
    drop(bound);
    if tokio::time::timeout(DRAIN, draining.shutdown()).await.is_err() {
        debug!(listener.address = %address, "open requests were cut off");
    }
}
