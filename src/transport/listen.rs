use std::convert::Infallible;
use std::fmt::Display;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use super::activity::Activity;
use super::authority::Tolerant;
use super::bound::{Bound, Stream};
use super::gathered::{Gathered, Paced};
use super::pings::Policed;
use super::tls::{PeerIdentity, Rejected, TlsServer};
use super::unread::Unread;
use super::{Network, forwarded};

/// How long open requests may finish after shutdown began.
const DRAIN: Duration = Duration::from_secs(3);
/// Pause after the listener itself failed, usually for want of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// How often the log says that accepting fails.
const ACCEPT_TOLD: Duration = Duration::from_secs(60);

/// The type of the first record of TLS.
const HANDSHAKE: u8 = 22;

/// What clients of a listener may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Connections at a time. Further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// How long a client may take to send a request's head, or be silent between two requests of
    /// HTTP/1.1.
    pub head_timeout: Duration,
    /// The most bytes of a request's head.
    pub max_head_bytes: usize,
    /// A connection without an open request is closed after this time; `None` for never.
    pub idle_timeout: Option<Duration>,
    /// Requests at a time on one HTTP/2 connection; `None` for no limit.
    pub max_concurrent_streams: Option<u32>,
    /// Requests on one HTTP/2 connection that the client may take back before they were looked at;
    /// one more ends the connection (CVE-2023-44487).
    pub max_resets: usize,
    /// Silence on an HTTP/2 connection after which it is probed; `None` for never.
    pub keepalive_interval: Option<Duration>,
    /// How long a probe may stay unanswered.
    pub keepalive_timeout: Duration,
    /// The shortest interval at which a client of HTTP/2 may probe; one that does it more often is told to calm
    /// down, and its connection ends. `None` for any.
    pub ping_floor: Option<Duration>,
    /// Write `Content-Type` and not `content-type` in HTTP/1.1, for readers that compare text.
    pub title_case_headers: bool,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether messages are answered, so that answers of one connection may wait for each other; not so between members,
    /// whose streams go one way.
    pub answers: bool,
    /// The words of the log line about a failed handshake.
    pub rejected: &'static str,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            head_timeout: Duration::from_secs(60),
            max_head_bytes: 32 << 10,
            idle_timeout: None,
            max_concurrent_streams: None,
            max_resets: 1024,
            keepalive_interval: Some(Duration::from_secs(60)),
            keepalive_timeout: Duration::from_secs(20),
            ping_floor: None,
            title_case_headers: true,
            trusted_proxies: Vec::new(),
            answers: true,
            rejected: "rejected connection",
        }
    }
}

impl Http {
    fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .title_case_headers(self.title_case_headers)
            .header_read_timeout(self.head_timeout)
            .max_buf_size(self.max_head_bytes);
        builder
    }

    fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .max_header_list_size(u32::try_from(self.max_head_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(self.max_concurrent_streams)
            .max_pending_accept_reset_streams(self.max_resets)
            .max_local_error_reset_streams(self.max_resets)
            .keep_alive_interval(self.keepalive_interval)
            .keep_alive_timeout(self.keepalive_timeout);
        builder
    }
}

/// What all connections of a listener share.
struct Shared {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    router: Router,
    options: Http,
    tls: Option<TlsServer>,
    /// Whether connections without TLS are served as well.
    mixed: bool,
}

/// In the extensions of a request that came over TLS.
#[derive(Debug, Clone, Copy)]
pub struct OverTls;

/// The place of a connection among those that its listener may have at a time. A request that asks for another
/// protocol carries it; whoever goes on with the connection behind HTTP keeps it for as long.
#[derive(Debug, Clone)]
pub struct Place(
    #[expect(dead_code, reason = "given back when the last of the connection is gone")]
    Arc<OwnedSemaphorePermit>,
);

/// Where a connection comes from.
struct Origin {
    address: SocketAddr,
    place: Place,
    over_tls: bool,
}

/// What all requests of a connection share.
struct Caller {
    router: Router,
    origin: Origin,
    identity: Option<PeerIdentity>,
    trusted_proxies: Vec<Network>,
    /// Counted only where idle connections are closed.
    activity: Option<Arc<Activity>>,
}

/// Serves HTTP/1.1 and HTTP/2 (by prior knowledge, or ALPN) until `stop`, then lets open requests
/// finish.
///
/// Handlers find the client's address with [`super::client_address`], and in the extensions of a request
/// [`OverTls`], and whom the client's certificate names as [`PeerIdentity`].
pub async fn serve(bound: Bound, router: Router, options: Http, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(options.max_connections));
    let (tls, mixed) = (bound.tls().cloned(), bound.takes_plain());
    let (http1, http2) = (options.http1(), options.http2());
    let shared = Arc::new(Shared { http1, http2, router, options, tls, mixed });
    let mut connections = JoinSet::new();
    let mut trouble = AcceptTrouble::default();
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
                trouble.with(bound.place(), &error).await;
                continue;
            }
        };
        // A token of its own: connections do not contend for the one above when they look at it.
        let (shared, stop) = (Arc::clone(&shared), stop.child_token());
        let over_tls = shared.tls.is_some();
        let mut origin = Origin { address: client, place: Place(Arc::new(permit)), over_tls };
        connections.spawn(async move {
            match stream {
                Stream::Tcp(stream) => {
                    if over_tls && shared.mixed {
                        origin.over_tls = Box::pin(shared.begins_tls(&stream, &stop)).await;
                    }
                    shared.meet(stream, origin, &stop).await;
                }
                Stream::Unix(stream) => Box::pin(shared.meet(stream, origin, &stop)).await,
            }
        });
    }
    let place = bound.place();
    drop(bound);
    let draining = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, draining).await.is_err() {
        debug!(listener.address = place, "open requests were cut off");
    }
}

/// Connections that cannot be accepted, which is seldom the matter of one alone.
#[derive(Debug, Default)]
pub struct AcceptTrouble {
    told: Option<Instant>,
}

impl AcceptTrouble {
    /// Says so, once in a while, and waits a little.
    pub async fn with(&mut self, place: impl Display, error: &std::io::Error) {
        if self.told.is_none_or(|told| told.elapsed() >= ACCEPT_TOLD) {
            self.told = Some(Instant::now());
            warn!(
                listener.address = %place,
                error = %error,
                "accept failed; where files are too many, raise their limit (`ulimit -n`, systemd: LimitNOFILE)"
            );
        }
        tokio::time::sleep(ACCEPT_BACKOFF).await;
    }
}

impl Shared {
    /// Whether the first byte is that of a handshake (RFC 8446 §5.1), which no HTTP begins with.
    async fn begins_tls(&self, stream: &TcpStream, stop: &CancellationToken) -> bool {
        let mut first = [0];
        let seen = tokio::select! {
            () = stop.cancelled() => return false,
            seen = tokio::time::timeout(self.options.head_timeout, stream.peek(&mut first)) => seen,
        };
        matches!(seen, Ok(Ok(1))) && first == [HANDSHAKE]
    }

    /// Shakes hands with a client that speaks TLS, then talks.
    async fn meet<S>(&self, stream: S, origin: Origin, stop: &CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(tls) = self.tls.as_ref().filter(|_| origin.over_tls) else {
            return self.talk(stream, origin, None, stop).await;
        };
        // What is rarer and larger is kept apart: each of ten thousand connections that wait has room
        // for all that stands in this future.
        Box::pin(self.meet_secured(tls, stream, origin, stop)).await;
    }

    async fn meet_secured<S>(
        &self,
        tls: &TlsServer,
        stream: S,
        origin: Origin,
        stop: &CancellationToken,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let client = origin.address;
        let rejected = self.options.rejected;
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = Box::pin(tls.accept(stream, client)) => accepted,
        };
        match accepted {
            Ok((stream, identity)) => self.talk(stream, origin, identity, stop).await,
            // Whoever looks whether the port is open comes and goes like this, every few seconds.
            Err(Rejected { reason, .. }) if reason == "EOF" => {
                debug!(remote_addr = %client, error = reason, "{rejected}");
            }
            Err(Rejected { server_name, reason }) => {
                warn!(remote_addr = %client, server_name, error = reason, "{rejected}");
            }
        }
    }

    async fn talk<S>(
        &self,
        stream: S,
        origin: Origin,
        identity: Option<PeerIdentity>,
        stop: &CancellationToken,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let client = origin.address;
        let mut stream = Tolerant::new(Policed::new(stream, self.options.ping_floor));
        // The library would wait for ever to see which version it is.
        let known = tokio::select! {
            () = stop.cancelled() => return,
            known = tokio::time::timeout(self.options.head_timeout, stream.recognized()) => known,
        };
        if !matches!(known, Ok(Ok(()))) {
            debug!(client.address = %client, "connection ended before a request");
            return;
        }
        let activity = self.options.idle_timeout.map(|_| Arc::default());
        let caller = Arc::new(Caller {
            router: self.router.clone(),
            origin,
            identity,
            trusted_proxies: self.options.trusted_proxies.clone(),
            activity: activity.clone(),
        });
        let service = service_fn(move |request| Arc::clone(&caller).answer(request));
        let ended = if stream.is_http2() {
            let stream = Gathered::new(stream);
            let connection = self.http2.serve_connection(TokioIo::new(stream.clone()), service);
            let connection = Paced::new(connection, stream, self.options.answers);
            let farewell = |it: Pin<&mut Paced<_, _>>| {
                http2::Connection::graceful_shutdown(it.get_mut().connection());
            };
            Box::pin(self.converse(connection, farewell, activity, stop)).await
        } else {
            let connection = self.http1.serve_connection(TokioIo::new(stream), service);
            let connection = connection.with_upgrades();
            let farewell = http1::UpgradeableConnection::graceful_shutdown;
            self.converse(connection, farewell, activity, stop).await
        };
        if let Err(error) = ended {
            debug!(client.address = %client, error = %error, "connection ended");
        }
    }

    /// Answers requests until the client leaves, was idle for too long, or the service stops.
    async fn converse<C: Future<Output = Result<(), hyper::Error>>>(
        &self,
        connection: C,
        farewell: impl Fn(Pin<&mut C>),
        activity: Option<Arc<Activity>>,
        stop: &CancellationToken,
    ) -> Result<(), hyper::Error> {
        let mut connection = pin!(connection);
        let idle = async {
            match (&activity, self.options.idle_timeout) {
                (Some(activity), Some(limit)) => activity.idle(limit).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            () = stop.cancelled() => {
                farewell(connection.as_mut());
                return connection.await;
            }
            () = idle => farewell(connection.as_mut()),
        }
        // A client that does not answer the farewell has had its time.
        tokio::time::timeout(DRAIN, connection).await.unwrap_or(Ok(()))
    }
}

impl Caller {
    async fn answer(
        self: Arc<Self>,
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let open = self.activity.as_ref().map(Activity::begin);
        let client = if self.trusted_proxies.is_empty() {
            self.origin.address
        } else {
            forwarded::client(self.origin.address, request.headers(), &self.trusted_proxies)
        };
        request.extensions_mut().insert(ConnectInfo(client));
        if self.origin.over_tls {
            request.extensions_mut().insert(OverTls);
        }
        if let Some(identity) = &self.identity {
            request.extensions_mut().insert(identity.clone());
        }
        if request.headers().contains_key(header::UPGRADE) {
            request.extensions_mut().insert(self.origin.place.clone());
        }
        let request = if Unread::matters(&request) {
            request.map(|body| Body::new(Unread::of(body)))
        } else {
            request.map(Body::new)
        };
        let response = self.router.clone().oneshot(request).await?;
        Ok(match open {
            Some(open) => response.map(|body| open.until_sent(body)),
            None => response,
        })
    }
}

#[cfg(test)]
mod tests;
