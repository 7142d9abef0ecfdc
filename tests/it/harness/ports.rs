use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::Mutex;

use socket2::{Domain, Socket, Type};

/// Bound and not listening: no other test gets these ports, and servers that name them get them.
static HELD: Mutex<Vec<Socket>> = Mutex::new(Vec::new());

/// Below those that the kernel gives to sockets which want any, such as those of resolvers: a port for UDP cannot
/// be held for a server that is not there yet, or no more.
const PORTS: Range<u16> = 16_384..32_768;

/// A loopback port that is free for TCP and UDP, and that no other test is given.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(PORTS);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).is_err() {
            continue;
        }
        socket.set_reuse_address(true).unwrap();
        HELD.lock().unwrap().push(socket);
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
