//! The same JSON calls to our node and to etcd 3.5: see `tests/differential/README.md`.
//!
//! The gateway passes code and text of every refusal on, so this is also where the error rows of the
//! gRPC services are compared.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocket};

use crate::differential::subject;
use crate::harness::{DEADLINE, Flavor, Node, scratch};

#[test]
fn keys() {
    check("gateway_keys");
}

#[test]
fn refusals() {
    check("gateway_refusals");
}

#[test]
fn streams() {
    check("gateway_streams");
}

#[test]
fn recipes() {
    check("gateway_recipes");
}

#[test]
fn sockets() {
    check("gateway_sockets");
}

#[test]
fn the_gateway_can_be_turned_off() {
    let dir = scratch();
    let mut node = Node::new(Flavor::Ours, "n1", dir.path()).unwrap();
    node.bootstrap = vec![
        format!("--initial-cluster=n1={}", node.peer_url()),
        "--enable-grpc-gateway=false".to_owned(),
    ];
    node.start();
    node.wait_until_healthy();
    let answer = call(&node, 0, "POST", "/v3/kv/range", r#"{"key":"Zm9v"}"#);
    assert_eq!(answer, "404 text/plain; charset=utf-8\n404 page not found\n");
}

/// Runs one script on a fresh node and compares, or records with `UPDATE_GOLDENFILES`.
fn check(name: &str) {
    let flavor = subject(Flavor::Etcd35);
    let dir = scratch();
    let Some(mut node) = Node::new(flavor, "n1", dir.path()) else { return };
    node.bootstrap = vec![format!("--initial-cluster=n1={}", node.peer_url())];
    node.start();
    node.wait_until_healthy();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/differential/{name}.txt"));
    let recorded = fs::read_to_string(&file).unwrap();
    let mut answered = String::new();
    let mut sockets = Sockets::new();
    for line in recorded.lines() {
        if line.starts_with(['#', '~']) {
            answered += &format!("{line}\n");
        }
        let Some(command) = line.strip_prefix("> ") else { continue };
        if let Some(said) = talk(&node, &mut sockets, command) {
            answered += &format!("{line}\n{said}");
            continue;
        }
        let (options, command) = match command.strip_prefix('(') {
            Some(rest) => rest.split_once(") ").unwrap(),
            None => ("", command),
        };
        let header = options.strip_prefix("with ").and_then(|pair| pair.split_once('='));
        let lines = options.strip_suffix(" lines").map_or(0, |count| count.parse().unwrap());
        let (method, rest) = command.split_once(' ').unwrap();
        let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
        answered += &format!("{line}\n{}", call_with(&node, header, lines, method, path, body));
    }
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        assert_eq!(flavor, Flavor::Etcd35, "only SUBJECT=etcd says what is right");
        fs::write(&file, answered).unwrap();
        return;
    }
    let blocks = |text: &str| -> Vec<String> {
        format!("\n{text}").split("\n> ").skip(1).map(str::to_owned).collect()
    };
    let mut differences = String::new();
    for (block, seen) in blocks(&recorded).iter().zip(blocks(&answered)) {
        let (wanted, seen) = (wanted(block, flavor), plain(&seen));
        if wanted != seen {
            differences += &format!("recorded: {wanted}\n{flavor:?}: {seen}\n");
        }
    }
    assert!(differences.is_empty(), "{name}:\n{differences}");
}

/// A call and its answer: of ours with `~` as these lines say.
fn wanted(block: &str, flavor: Flavor) -> String {
    let ours: Vec<&str> = block.lines().filter_map(|line| line.strip_prefix("~ ")).collect();
    let call = block.lines().next().unwrap_or_default();
    if flavor != Flavor::Ours || ours.is_empty() {
        return plain(block);
    }
    [&[call][..], &ours].concat().join("\n")
}

/// The same without comments and `~` lines.
fn plain(block: &str) -> String {
    let lines: Vec<&str> = block.lines().filter(|line| !line.starts_with(['#', '~'])).collect();
    lines.join("\n").trim_end().to_owned()
}

/// Open sockets by name.
type Sockets = HashMap<String, WebSocket<TcpStream>>;

/// Does what concerns a socket: `(w) socket /v3/watch` opens one, `(w) say ...` sends a message and hears one,
/// `(w) hear` hears one more. `None` for other commands.
fn talk(node: &Node, sockets: &mut Sockets, command: &str) -> Option<String> {
    let (name, command) = command.strip_prefix('(')?.split_once(") ").unwrap();
    let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
    let answer = match verb {
        "socket" => {
            let (path, header) = rest.split_once(" with ").unwrap_or((rest, ""));
            let (head, socket) = shake_hands(node, path, &header.replace('=', ": "));
            if head.starts_with("101") {
                sockets.insert(name.to_owned(), socket);
            }
            head
        }
        "say" => {
            let socket = sockets.get_mut(name).unwrap();
            socket.send(Message::text(rest)).unwrap();
            hear(node, socket)
        }
        "hear" => hear(node, sockets.get_mut(name).unwrap()),
        "leave" => {
            let socket = sockets.get_mut(name).unwrap();
            let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            socket.close(Some(frame)).unwrap();
            hear(node, socket)
        }
        _ => return None,
    };
    Some(answer + "\n")
}

/// The next message; how an ended call closes its socket is not compared, since etcd says nothing then.
fn hear(node: &Node, socket: &mut WebSocket<TcpStream>) -> String {
    match socket.read() {
        Ok(Message::Text(text)) => normalize(node, text.as_str()),
        Ok(Message::Close(Some(frame))) if frame.code != CloseCode::Normal => {
            format!("closed: {}", u16::from(frame.code))
        }
        Ok(Message::Close(_)) => "closed".to_owned(),
        Ok(other) => format!("{other:?}"),
        Err(_) => "closed".to_owned(),
    }
}

/// Status and the header lines that concern sockets, and the socket, if it is one.
fn shake_hands(node: &Node, path: &str, header: &str) -> (String, WebSocket<TcpStream>) {
    let host = node.client_url().replace("http://", "");
    let mut stream = TcpStream::connect(&host).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let version = if header.starts_with("Sec-WebSocket-Version") { "" } else { "13" };
    let version = format!("Sec-WebSocket-Version: {version}\r\n");
    let version = if version.contains("13") { &version } else { "" };
    let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{version}{header}\r\n"
    )
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut told = head.split(' ').nth(1).unwrap().to_owned();
    let mut lines: Vec<String> = head
        .lines()
        .map(str::to_lowercase)
        .filter(|line| line.starts_with("sec-websocket") || line.starts_with("upgrade"))
        .collect();
    lines.sort();
    for line in lines {
        told += &format!("\n{line}");
    }
    (told, WebSocket::from_raw_socket(stream, Role::Client, None))
}

fn call(node: &Node, lines: usize, method: &str, path: &str, body: &str) -> String {
    call_with(node, None, lines, method, path, body)
}

/// Status, content type and body, without what differs from cluster to cluster. A stream is read for
/// so many lines.
fn call_with(
    node: &Node,
    header: Option<(&str, &str)>,
    lines: usize,
    method: &str,
    path: &str,
    body: &str,
) -> String {
    let host = node.client_url().replace("http://", "");
    let mut stream = TcpStream::connect(&host).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let length = body.len();
    let header = header.map(|(name, value)| format!("{name}: {value}\r\n")).unwrap_or_default();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {length}\r\n{header}\r\n{body}"
    )
    .unwrap();
    let mut answer = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(answer.read_line(&mut head).unwrap() > 0, "{method} {path}: no answer");
    }
    let status = head.split(' ').nth(1).unwrap();
    let kind = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-type").then_some(value)
    });
    let mut text = String::new();
    if lines == 0 {
        answer.read_to_string(&mut text).unwrap();
    }
    for _ in 0..lines {
        answer.read_line(&mut text).unwrap();
    }
    let text = normalize(node, &text);
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{status} {}\n{text}{end}", kind.unwrap_or("-"))
}

fn normalize(node: &Node, text: &str) -> String {
    let mut text =
        text.replace(&node.client_url(), "http://CLIENT").replace(&node.peer_url(), "http://PEER");
    for mark in
        ["\"cluster_id\":\"", "\"member_id\":\"", "\"raft_term\":\"", "\"members\":[{\"ID\":\""]
    {
        let mut cut = String::new();
        let mut rest = text.as_str();
        while let Some((head, tail)) = rest.split_once(mark) {
            cut += head;
            cut += mark;
            cut.push('N');
            rest = tail.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        cut += rest;
        text = cut;
    }
    text
}
