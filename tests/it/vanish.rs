//! Clients that go away in the middle of what they were saying cost nothing afterwards.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use crate::harness::{DEADLINE, Flavor, Process, Service, http, scratch, static_cluster, wait};

/// How long a process is watched, and what it may use of a core in that time.
const WINDOW: Duration = Duration::from_millis(500);
const IDLE_SHARE: f64 = 0.3;

/// Calls of every shape: one message each way, either side a stream, both.
const CALLS: [&str; 8] = [
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.KV/Put",
    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.KV/DeleteRange",
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/etcdserverpb.Maintenance/Snapshot",
    "/grpc.health.v1.Health/Check",
];

/// Beginnings of the gRPC message `key = "k"`.
const BEGINNINGS: [&[u8]; 4] =
    [&[], &[0, 0], &[0, 0, 0, 0, 3, 0x0a], &[0, 0, 0, 0, 3, 0x0a, 1, b'k']];

#[test]
fn a_node_forgets_those_who_vanish() {
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours], dir.path()).unwrap();
    let port = nodes[0].client_port;
    half_said(port);
    for request in [
        &b"POST /v3/kv/put HTTP/1.1\r\nHost: n\r\nContent-Length: 100\r\n\r\n{\"key\":"[..],
        b"POST /v3/watch HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n24\r\n{\"create_req",
        b"POST /v3/lease/keepalive HTTP/1.1\r\nHost: n\r\nContent-Length: 9\r\n\r\n{\"ID",
        b"GET /v3/watch HTTP/1.1\r\nHost: n\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n\x81\xfe\x00",
        b"GET /health HTTP/1.1\r\nHo",
    ] {
        for gently in [true, false] {
            vanish(connect(port), request, gently);
        }
    }
    assert_idle(nodes[0].process());
    assert!(nodes[0].is_healthy());
}

#[test]
fn the_service_forgets_those_who_vanish() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let token = service.new_token(3);
    let path = token.strip_prefix(&service.url("")).unwrap();
    half_said(service.http_port);
    let polls = format!("GET /{path}?wait=true&recursive=true HTTP/1.1\r\nHost: s\r\n\r\n");
    let registers = format!(
        "PUT /{path}/1234 HTTP/1.1\r\nHost: s\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: 40\r\n\r\nvalue=a"
    );
    for request in [polls.as_str(), &registers, "POST /new?size=3 HTTP/1.1\r\nContent-Le"] {
        for gently in [true, false] {
            let stream = connect(service.http_port);
            vanish(stream, request.as_bytes(), gently);
        }
    }
    assert_idle(&service.process);
    wait("those who waited to be forgotten", || (service.waiters() == 0).then_some(()));
    assert_eq!(http("GET", &service.url("/health"), None).unwrap().status, 200);
}

/// Calls by HTTP/2 that end before they were made, after the server has read all that there is of them.
fn half_said(port: u16) {
    for call in CALLS {
        for beginning in BEGINNINGS {
            for gently in [true, false] {
                let mut stream = connect(port);
                stream.write_all(&opened(call, beginning)).unwrap();
                // Answers to pings come in order: everything before it has arrived.
                wait_for_frame(&mut stream, PING, ACK);
                vanish(stream, b"", gently);
            }
        }
    }
}

/// From an address of its own, so that the many ports are none of those that other tests were given.
fn connect(port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    socket.into()
}

/// Says this and is gone, with a farewell of TCP or as a machine that was turned off and came back.
fn vanish(mut stream: TcpStream, last: &[u8], gently: bool) {
    stream.write_all(last).unwrap();
    if gently {
        stream.shutdown(Shutdown::Both).unwrap();
    } else {
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// A connection with one call, which goes on (RFC 9113, section 6), and a ping.
fn opened(path: &str, message: &[u8]) -> Vec<u8> {
    let mut block = vec![0x83, 0x86]; // POST, http
    for (name, value) in [
        (&[0x44][..], path),
        (&[0x41], "n"),
        (&[0x5f], "application/grpc"),
        (b"\x40\x02te", "trailers"),
    ] {
        block.extend(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value.as_bytes());
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        bytes.extend([0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream]);
        bytes.extend(payload);
    };
    frame(SETTINGS, 0, 0, &[]);
    frame(HEADERS, END_HEADERS, 1, &block);
    if !message.is_empty() {
        frame(DATA, 0, 1, message);
    }
    frame(PING, 0, 0, &[0; 8]);
    bytes
}

fn wait_for_frame(stream: &mut TcpStream, kind: u8, flags: u8) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).unwrap();
        if (head[3], head[4]) == (kind, flags) {
            return;
        }
    }
}

/// Waits until a process does next to nothing.
fn assert_idle(process: &Process) {
    let mut since = (Instant::now(), processor_time(process));
    wait("an idle processor", || {
        let passed = since.0.elapsed();
        if passed < WINDOW {
            return None;
        }
        let used = processor_time(process);
        let share = (used - since.1).as_secs_f64() / passed.as_secs_f64();
        since = (Instant::now(), used);
        (share < IDLE_SHARE).then_some(())
    });
}

/// What a process has used so far (proc(5), `utime` and `stime`).
fn processor_time(process: &Process) -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let (_, behind_the_name) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = behind_the_name.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u32>().unwrap();
    TICK * (ticks(11) + ticks(12))
}
