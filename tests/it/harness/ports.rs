use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Mutex;

use socket2::{Domain, Socket, Type};

/// Bound and not listening: the kernel gives nobody these ports, and servers that name them get them.
static HELD: Mutex<Vec<Socket>> = Mutex::new(Vec::new());

/// A loopback port that is free for TCP and UDP and that nobody else is given for TCP.
pub fn free_port() -> u16 {
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        socket.set_reuse_address(true).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        HELD.lock().unwrap().push(socket);
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
