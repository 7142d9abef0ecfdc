use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use hickory_server::Server;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::catalog::Catalog;
use super::handler::Handler;
use super::metrics::Counters;

/// A TCP connection without a question for so long is closed (RFC 7766 §6.2.3).
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Answers that wait for a client to read them; a connection with more of them is read no further.
const TCP_ANSWERS_WAITING: usize = 128;
/// Two looks must agree before a file is read, so a change is served within a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// With port 0 the free UDP port may be taken for TCP; another one is tried so many times.
const PORT_ATTEMPTS: usize = 16;
const TCP_BACKLOG: i32 = 1024;
/// Questions that arrive at once wait here; the kernel may allow less.
const UDP_RECEIVE_BUFFER: usize = 4 << 20;

/// One address to answer on: a UDP and a TCP socket with the same port.
#[derive(Debug)]
pub struct Bound {
    udp: UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for DNS over {transport} on `{address}`")]
pub struct BindError {
    pub transport: &'static str,
    pub address: SocketAddr,
    #[source]
    pub source: io::Error,
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

    /// The address with the port that was chosen.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    fn try_bind(address: SocketAddr) -> Result<Self, BindError> {
        let fail = |transport| move |source| BindError { transport, address, source };
        let udp: UdpSocket = open(address, Type::DGRAM, Protocol::UDP).map_err(fail("UDP"))?.into();
        let chosen = udp.local_addr().map_err(fail("UDP"))?;
        let tcp = open(chosen, Type::STREAM, Protocol::TCP)
            .and_then(|socket| socket.listen(TCP_BACKLOG).map(|()| socket))
            .map_err(fail("TCP"))?;
        Ok(Self { udp, tcp: tcp.into(), address: chosen })
    }
}

fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // So that `0.0.0.0` and `[::]` can both be listened on.
        socket.set_only_v6(true)?;
    }
    if kind == Type::STREAM {
        // A restarted service does not wait for old connections to time out.
        socket.set_reuse_address(true)?;
    }
    if kind == Type::DGRAM {
        socket.set_recv_buffer_size(UDP_RECEIVE_BUFFER)?;
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Answers on all addresses, and follows the zone files, until `stop`; then closes everything.
///
/// An error means that a socket stopped working.
pub async fn serve(
    bound: Vec<Bound>,
    catalog: Arc<Catalog>,
    counters: Arc<Counters>,
    stop: CancellationToken,
) -> io::Result<()> {
    let stop = stop.child_token();
    let mut server = Server::new(Handler { catalog: Arc::clone(&catalog), counters });
    for Bound { udp, tcp, address } in bound {
        server.register_socket(tokio::net::UdpSocket::from_std(udp)?);
        let tcp = tokio::net::TcpListener::from_std(tcp)?;
        server.register_listener(tcp, TCP_IDLE, TCP_ANSWERS_WAITING);
        info!(dns.address = %address, "answering DNS over UDP and TCP");
    }
    let mut tasks = JoinSet::new();
    tasks.spawn(follow(catalog, stop.clone()));
    let ended = tokio::select! {
        ended = server.block_until_done() => ended.map_err(io::Error::other),
        () = stop.cancelled() => server.shutdown_gracefully().await.map_err(io::Error::other),
    };
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    ended
}

/// Looks for changed zone files until `stop`.
async fn follow(catalog: Arc<Catalog>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let catalog = Arc::clone(&catalog);
        let look = tokio::task::spawn_blocking(move || catalog.refresh());
        if let Err(panic) = look.await {
            error!(error = %panic, "looking for changed zone files failed");
            return;
        }
    }
}
