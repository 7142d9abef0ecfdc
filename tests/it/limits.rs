//! Every limit of the HTTP port, set by its flag and met from outside.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, Service, http, scratch};

/// Sends these bytes and reads until the service ends the connection.
fn converse(service: &Service, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", service.http_port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(sent).unwrap();
    let mut answer = Vec::new();
    // A connection that is ended with bytes unread is reset.
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_http_port_has_the_limits_of_its_flags() {
    let dir = scratch();
    let flags = [
        "--max-head-bytes=8192",
        "--max-body-bytes=1024",
        "--head-timeout=1s",
        "--body-timeout=1s",
        "--idle-timeout=2s",
        "--max-streams=7",
        "--max-resets=3",
    ];
    let service = Service::start_with(dir.path(), &flags);
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(9000));
    let answer = converse(&service, long.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let fits = format!("value={}", "v".repeat(1018));
    assert_eq!(service.put("/v2/keys/a/b", &fits).status, 404, "1,024 bytes are read");
    assert_eq!(service.put("/v2/keys/a/b", &format!("{fits}v")).status, 413, "one more is not");
    let began = Instant::now();
    assert_eq!(converse(&service, b"GET / HTTP/1.1\r\nHo"), "", "half a head");
    let half = "PUT /v2/keys/a/b HTTP/1.0\r\nHost: h\r\nContent-Length: 9\r\n\r\nvalue";
    let answer = converse(&service, half.as_bytes());
    assert!(answer.starts_with("HTTP/1.0 408 "), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(30), "each within a second or so, not a minute");
    // HTTP/2: settings, then nothing; the connection is idle and is closed.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let answer = raw(&service, preface);
    assert_eq!(setting(&answer, 3), Some(7), "SETTINGS_MAX_CONCURRENT_STREAMS");
    // Requests that are taken back at once: GET http://h/, then RST_STREAM.
    let mut resets = preface.to_vec();
    for id in (1_u32..200).step_by(2) {
        resets.extend([0, 0, 6, 1, 5]);
        resets.extend(id.to_be_bytes());
        resets.extend([0x82, 0x84, 0x86, 0x41, 1, b'h', 0, 0, 4, 3, 0]);
        resets.extend(id.to_be_bytes());
        resets.extend([0, 0, 0, 8]);
    }
    let answer = raw(&service, &resets);
    let goaway = frames(&answer).into_iter().find(|(kind, _)| *kind == 7);
    let (_, payload) = goaway.expect("the service says goodbye");
    assert_eq!(payload[4..8], [0, 0, 0, 11], "ENHANCE_YOUR_CALM");
    assert_eq!(service.get("/health").status, 200, "others are not hurt");
}

fn raw(service: &Service, sent: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", service.http_port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // It may be closed while we write.
    drop(stream.write_all(sent));
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        answer.extend_from_slice(&chunk[..read]);
    }
    answer
}

/// The frames of HTTP/2: kind and payload.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while bytes.len() >= 9 {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        let Some(payload) = bytes.get(9..9 + length) else { break };
        found.push((bytes[3], payload.to_vec()));
        bytes = &bytes[9 + length..];
    }
    found
}

fn setting(bytes: &[u8], wanted: u16) -> Option<u32> {
    let settings = frames(bytes).into_iter().find(|(kind, _)| *kind == 4)?.1;
    let pairs = settings.chunks_exact(6);
    let mut pairs = pairs.map(|six| {
        let value = u32::from_be_bytes([six[2], six[3], six[4], six[5]]);
        (u16::from_be_bytes([six[0], six[1]]), value)
    });
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

#[test]
fn connections_and_waiters_are_counted_over_all_tokens() {
    let dir = scratch();
    let service = Service::start_with(dir.path(), &["--max-connections=2", "--max-waiters=1"]);
    let (one, two) = (service.new_token(3), service.new_token(3));
    let poll = |url: &str| format!("{url}?recursive=true&wait=true");
    let waiting = std::thread::spawn({
        let poll = poll(&one);
        move || http("GET", &poll, None).unwrap()
    });
    service.wait_for_waiters(1);
    // The other connection holds on to the place; the third is served once it ends.
    let mut second = TcpStream::connect(("127.0.0.1", service.http_port)).unwrap();
    let began = Instant::now();
    let third = std::thread::spawn({
        let url = service.url("/health");
        move || (http("GET", &url, None).unwrap(), Instant::now())
    });
    let path = &poll(&two)[service.url("").len()..];
    write!(second, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut refused = String::new();
    second.read_to_string(&mut refused).unwrap();
    assert!(refused.starts_with("HTTP/1.0 503 ") && refused.contains("Q1084"), "{refused}");
    let held = began.elapsed();
    assert!(held >= Duration::from_secs(2), "held back before it was refused: {held:?}");
    let (answer, at) = third.join().unwrap();
    assert_eq!(answer.status, 200);
    assert!(at.duration_since(began) >= Duration::from_secs(2), "it was served beside the two");
    drop(service);
    // It was let go with an empty answer, or cut off.
    drop(waiting.join());
}

#[test]
fn a_token_that_is_asked_for_too_often_is_held_and_then_put_off() {
    let dir = scratch();
    let service = Service::start_with(dir.path(), &["--token-rate=2/h"]);
    let (busy, other) = (service.new_token(3), service.new_token(3));
    for _ in 0..2 {
        assert_eq!(http("GET", &busy, None).unwrap().status, 200);
    }
    let began = Instant::now();
    let late = http("GET", &busy, None).unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2), "held back first");
    assert_eq!(late.status, 503, "{}", late.body);
    assert!(late.body.contains("Q1086"), "{}", late.body);
    let after: u64 = late.header("Retry-After").unwrap().parse().unwrap();
    assert!((1..=1801).contains(&after), "{after}");
    assert_eq!(http("GET", &other, None).unwrap().status, 200, "others are not hurt");
    let metrics = service.get("/metrics").body;
    assert!(metrics.contains("quorate_refusals_total{code=\"Q1086\"} 1"), "{metrics}");
}
