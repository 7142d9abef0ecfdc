use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use super::accept::accept;
use super::catalog::Catalog;
use super::connections::Connections;
use super::datagram::{Worker, tell_asked};
use super::handler::Handler;
use super::limit::Limiter;
use super::notify::Notices;
use super::settings::Settings;
use crate::transport::tls::TlsServer;

/// Two looks must agree before a file is read, so a change is served within a second.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// With port 0 the free UDP port may be taken for TCP; another one is tried so many times.
const PORT_ATTEMPTS: usize = 16;
const TCP_BACKLOG: i32 = 1024;
/// Questions that arrive at once, and answers, wait here; the kernel may allow less.
const UDP_BUFFER: usize = 4 << 20;

/// One address to answer on: UDP sockets, one for each core, and a TCP socket with the same port; or
/// only the latter, for TLS.
#[derive(Debug)]
pub struct Bound {
    udp: Vec<UdpSocket>,
    tcp: TcpListener,
    tls: Option<TlsServer>,
    address: SocketAddr,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for DNS over {transport} on `{address}`{}", way_out(transport, .source.kind()))]
pub struct BindError {
    pub transport: &'static str,
    pub address: SocketAddr,
    #[source]
    pub source: io::Error,
}

/// What can be done about it, in brackets before the words of the system.
fn way_out(transport: &str, kind: io::ErrorKind) -> String {
    let flag = if transport == "TLS" { "--dot-addr" } else { "--dns-addr" };
    match kind {
        io::ErrorKind::AddrInUse => {
            format!(" (`ss -lnp` shows who does; {flag} takes another)")
        }
        io::ErrorKind::PermissionDenied => {
            format!(" (ports below 1024 need root or CAP_NET_BIND_SERVICE; {flag} takes another)")
        }
        io::ErrorKind::AddrNotAvailable => {
            " (`ip addr` shows the addresses of this machine)".to_owned()
        }
        _ => String::new(),
    }
}

impl Bound {
    /// Takes the address, for UDP and TCP. Port 0 lets the kernel choose one for both.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let mut attempt = 1;
        loop {
            match Self::try_bind(address) {
                Err(error)
                    if address.port() == 0
                        && attempt < PORT_ATTEMPTS
                        && error.source.kind() == io::ErrorKind::AddrInUse =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// Takes the address for DNS over TLS (RFC 7858) and nothing else.
    pub fn bind_tls(address: SocketAddr, tls: TlsServer) -> Result<Self, BindError> {
        let fail = |source| BindError { transport: "TLS", address, source };
        let tcp = listen(address).map_err(fail)?;
        let address = tcp.local_addr().map_err(fail)?;
        Ok(Self { udp: Vec::new(), tcp, tls: Some(tls), address })
    }

    /// The address with the port that was chosen.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    fn try_bind(address: SocketAddr) -> Result<Self, BindError> {
        let fail = |transport| move |source| BindError { transport, address, source };
        // Sockets that share a port would share it with another program's too; this one does not.
        let alone: UdpSocket = open(address, false).map_err(fail("UDP"))?.into();
        let chosen = alone.local_addr().map_err(fail("UDP"))?;
        drop(alone);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let udp = (0..cores).map(|_| open(chosen, true).map(UdpSocket::from));
        let udp = udp.collect::<io::Result<Vec<_>>>().map_err(fail("UDP"))?;
        let tcp = listen(chosen).map_err(fail("TCP"))?;
        Ok(Self { udp, tcp, tls: None, address: chosen })
    }
}

fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    if shared {
        // The kernel spreads clients over the sockets.
        setsockopt(&socket, sockopt::ReusePort, &true)?;
    }
    if address.ip().is_unspecified() {
        // Before anything can come: of what came earlier the kernel does not know it any more.
        tell_asked(&socket, address.ip())?;
    }
    socket.set_recv_buffer_size(UDP_BUFFER)?;
    socket.set_send_buffer_size(UDP_BUFFER)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    socket.set_nonblocking(true)?;
    // A restarted service does not wait for old connections to time out.
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(TCP_BACKLOG)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // So that `0.0.0.0` and `[::]` can both be listened on.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Answers on all addresses, and follows the zone files, until `stop`; then closes everything.
///
/// An error means that a socket stopped working.
pub async fn serve(
    bound: Vec<Bound>,
    catalog: Arc<Catalog>,
    settings: Settings,
    stop: CancellationToken,
) -> io::Result<()> {
    let stop = stop.child_token();
    let handler = Arc::new(Handler {
        counters: catalog.counters().clone(),
        limiter: Limiter::new(settings.unlimited.clone(), settings.rate_limit),
        catalog: Arc::clone(&catalog),
        settings,
    });
    let connections = Arc::new(Connections::default());
    let waiting = TaskTracker::new();
    let mut tasks: JoinSet<io::Result<()>> = JoinSet::new();
    for Bound { udp, tcp, tls, address } in bound {
        let over = if tls.is_some() { "TLS" } else { "UDP and TCP" };
        for socket in udp {
            let worker = Worker {
                socket: Arc::new(socket),
                wildcard: address.ip().is_unspecified(),
                handler: Arc::clone(&handler),
                runtime: runtime::Handle::current(),
                waiting: waiting.clone(),
                stop: stop.clone(),
            };
            tasks.spawn(on_thread(worker)?);
        }
        let tcp = tokio::net::TcpListener::from_std(tcp)?;
        let accepting =
            accept(tcp, tls, Arc::clone(&handler), Arc::clone(&connections), stop.clone());
        tasks.spawn(accepting);
        info!(dns.address = %address, "answering DNS over {over}");
    }
    tasks.spawn(follow(Arc::clone(&handler), stop.clone()));
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        // Whichever is first, told to or not: the others end with it.
        stop.cancel();
        let ended = ended.map_err(io::Error::other).and_then(|ended| ended);
        outcome = outcome.and(ended);
    }
    waiting.close();
    waiting.wait().await;
    outcome
}

/// Starts a worker on a thread of its own; what is returned ends with it.
fn on_thread(worker: Worker) -> io::Result<impl Future<Output = io::Result<()>>> {
    let (done, ended) = oneshot::channel();
    std::thread::Builder::new().name("dns".to_owned()).spawn(move || {
        // Nobody waits for it any more when the service was dropped.
        let _ = done.send(worker.run());
    })?;
    Ok(async { ended.await.map_err(io::Error::other)? })
}

/// Looks for changed zone files until `stop`.
async fn follow(handler: Arc<Handler>, stop: CancellationToken) -> io::Result<()> {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut notices = Notices::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return Ok(()),
        }
        if let Some(transfers) = handler.catalog.transfers() {
            notices.send(&handler.catalog.take_untold(), transfers);
        }
        let handler = Arc::clone(&handler);
        let look = tokio::task::spawn_blocking(move || {
            handler.catalog.refresh();
            handler.settings.cookies.refresh();
        });
        if let Err(panic) = look.await {
            error!(error = %panic, "looking for changed zone files failed");
            return Err(io::Error::other(panic));
        }
    }
}
