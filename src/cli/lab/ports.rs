//! Free ports on loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Socket, Type};

/// Ports that are held for the lab's children, so that nobody else is given one of them.
///
/// A socket that is bound and does not listen keeps the kernel from choosing its port for anybody, and lets in a server
/// that names the port, as long as both allow the address to be reused (socket(7)); all servers here do. Of
/// UDP sockets there is no such kind.
#[derive(Debug, Default)]
pub(super) struct Ports {
    tcp: Vec<Socket>,
    udp: Vec<UdpSocket>,
}

const ATTEMPTS: usize = 32;

impl Ports {
    /// A TCP port the kernel chose.
    pub(super) fn tcp(&mut self) -> io::Result<u16> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // After the choice: who may share addresses may be given one that another holds like this.
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        socket.set_reuse_address(true)?;
        let chosen = socket.local_addr()?.as_socket();
        self.tcp.push(socket);
        Ok(chosen.map_or(0, |address| address.port()))
    }

    /// A port that is free for both TCP and UDP, as DNS needs it.
    pub(super) fn tcp_and_udp(&mut self) -> io::Result<u16> {
        let mut refused = None;
        for _ in 0..ATTEMPTS {
            let port = self.tcp()?;
            match UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) {
                Ok(socket) => {
                    self.udp.push(socket);
                    return Ok(port);
                }
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.expect("at least one attempt was made"))
    }

    /// Leaves the UDP ports to the children, who could not bind them otherwise.
    pub(super) fn release_udp(&mut self) {
        self.udp.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_held_port_is_for_who_names_it() {
        let mut ports = Ports::default();
        let held = ports.tcp_and_udp().unwrap();
        let others: Vec<TcpListener> =
            (0..500).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        assert!(others.iter().all(|it| it.local_addr().unwrap().port() != held));
        ports.release_udp();
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, held)).unwrap();
        assert_eq!(server.local_addr().unwrap().port(), held);
        UdpSocket::bind((Ipv4Addr::LOCALHOST, held)).unwrap();
    }
}
