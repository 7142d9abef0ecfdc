use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, Socket as Socket2, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

use super::tls::TlsServer;

/// Connections that may wait to be accepted. A client that finds no room tries again a second later,
/// which a herd of nodes that start at once would all wait for.
const BACKLOG: i32 = 4096;
const ANY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
/// What clients of a Unix socket count as coming from: this machine.
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A listening socket, bound but not yet served.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    address: SocketAddr,
    tls: Option<TlsServer>,
    /// Whether connections without TLS are taken where it is spoken.
    mixed: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A socket's name in the file system, which goes with the socket.
#[derive(Debug)]
struct SocketFile(PathBuf);

/// One accepted connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("listen tcp {address}: bind: address already in use")]
    InUse { address: String },
    #[error("listen tcp {address}")]
    Io { address: String, source: std::io::Error },
    #[error("listen unix {address}")]
    Unix { address: String, source: std::io::Error },
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
        Ok(Self { socket: Socket::Tcp(listener), address, tls: None, mixed: false })
    }

    /// Binds a Unix socket. One that an earlier process left behind is replaced, as etcd does.
    pub fn bind_unix(path: &Path) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Unix { address: path.display().to_string(), source };
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(failed(error));
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let socket = Socket::Unix(listener, SocketFile(path.to_owned()));
        Ok(Self { socket, address: LOCAL, tls: None, mixed: false })
    }

    /// Takes connections over TLS only.
    pub fn secured(self, tls: TlsServer) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Takes connections without TLS as well; a Unix socket does not.
    pub fn mixed(self) -> Self {
        Self { mixed: true, ..self }
    }

    /// Whether a client may come without TLS.
    pub fn takes_plain(&self) -> bool {
        self.tls.is_none() || self.mixed
    }

    /// Where it listens, with the port the kernel chose; loopback for a Unix socket.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, for people.
    pub fn place(&self) -> String {
        match &self.socket {
            Socket::Tcp(_) => self.address.to_string(),
            Socket::Unix(_, file) => file.0.display().to_string(),
        }
    }

    /// The certificates of the listener, if it speaks TLS.
    pub fn tls(&self) -> Option<&TlsServer> {
        self.tls.as_ref()
    }

    /// The next connection, once there is room for it.
    pub(super) async fn next(
        &self,
        room: &Arc<Semaphore>,
    ) -> std::io::Result<(Stream, SocketAddr, OwnedSemaphorePermit)> {
        let permit = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
        match &self.socket {
            Socket::Unix(listener, _) => {
                let (stream, _unnamed) = listener.accept().await?;
                Ok((Stream::Unix(stream), LOCAL, permit))
            }
            Socket::Tcp(listener) => {
                let (stream, client) = listener.accept().await?;
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(client.address = %client, error = %error, "TCP_NODELAY refused");
                }
                let client = SocketAddr::new(client.ip().to_canonical(), client.port());
                Ok((Stream::Tcp(stream), client, permit))
            }
        }
    }

    /// The socket, for traffic that is not HTTP; `None` for a Unix socket.
    pub fn into_listener(self) -> Option<TcpListener> {
        match self.socket {
            Socket::Tcp(listener) => Some(listener),
            Socket::Unix(..) => None,
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Listens on the first address of a name that can be had.
async fn listen(address: &str) -> std::io::Result<TcpListener> {
    let mut refused = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host(address).await? {
        // 0.0.0.0 is every address of the machine, as in all Go programs and so in etcd.
        if address.ip() == Ipv4Addr::UNSPECIFIED
            && let Ok(listener) = listen_on(SocketAddr::new(ANY.into(), address.port()))
        {
            return Ok(listener);
        }
        match listen_on(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn listen_on(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket2::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.ip() == ANY {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    // Connections of an earlier process may linger on the port.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
