//! The same JSON calls to our node and to etcd 3.5: see `tests/differential/README.md`.
//!
//! The gateway passes code and text of every refusal on, so this is also where the error rows of the
//! gRPC services are compared.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

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
    let flavor = match std::env::var("SUBJECT").as_deref() {
        Ok("etcd") => Flavor::Etcd35,
        _ => Flavor::Ours,
    };
    let dir = scratch();
    let Some(mut node) = Node::new(flavor, "n1", dir.path()) else { return };
    node.bootstrap = vec![format!("--initial-cluster=n1={}", node.peer_url())];
    node.start();
    node.wait_until_healthy();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/differential/{name}.txt"));
    let recorded = fs::read_to_string(&file).unwrap();
    let mut answered = String::new();
    for line in recorded.lines() {
        let Some(command) = line.strip_prefix("> ") else { continue };
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
    for (wanted, seen) in blocks(&recorded).iter().zip(blocks(&answered)) {
        if wanted.trim_end() != seen.trim_end() {
            differences += &format!("recorded: {wanted}\n{flavor:?}: {seen}\n");
        }
    }
    assert!(differences.is_empty(), "{name}:\n{differences}");
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
