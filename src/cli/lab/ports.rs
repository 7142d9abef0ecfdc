//! Free ports on loopback.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// Ports that are held until the lab is about to use them, so that no two are the same.
#[derive(Debug, Default)]
pub(super) struct Ports {
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
}

const ATTEMPTS: usize = 32;

impl Ports {
    /// A TCP port the kernel chose.
    pub(super) fn tcp(&mut self) -> io::Result<u16> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        self.tcp.push(listener);
        Ok(port)
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
}
