//! What will run where: decided before anything starts.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::Mode;
use super::ports::Ports;
use crate::admission::Protocol;

/// The zone that the lab writes and its service answers.
pub(super) const DOMAIN: &str = "lab.quorate.test";
/// The zone in which the service publishes token clusters by itself.
pub(super) const CLUSTER_DOMAIN: &str = "clusters.quorate.test";

/// Addresses of everything in the lab.
#[derive(Debug, Clone)]
pub(super) struct Sketch {
    pub(super) http_port: u16,
    pub(super) dns_port: u16,
    pub(super) nodes: Vec<Node>,
}

/// One node before it runs.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) peer_url: String,
    pub(super) client_url: String,
    peer_port: u16,
    client_port: u16,
}

impl Sketch {
    /// Takes free ports; `Ports` holds them.
    pub(super) fn draw(mode: Mode, size: u8, ports: &mut Ports) -> io::Result<Self> {
        let nodes = (1..=size).map(|number| Node::draw(mode, number, ports));
        let nodes = nodes.collect::<io::Result<_>>()?;
        Ok(Self { http_port: ports.tcp()?, dns_port: ports.tcp_and_udp()?, nodes })
    }

    pub(super) fn service_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    pub(super) fn endpoints(&self) -> String {
        self.nodes.iter().map(|node| node.client_url.as_str()).collect::<Vec<_>>().join(",")
    }

    /// The flags of `quorate serve`.
    pub(super) fn service_flags(&self, dir: &Path) -> Vec<String> {
        vec![
            "serve".to_owned(),
            format!("--data-dir={}", dir.join("quorate.data").display()),
            format!("--zones-dir={}", dir.join("zones").display()),
            format!("--http-addr=127.0.0.1:{}", self.http_port),
            format!("--dns-addr=127.0.0.1:{}", self.dns_port),
            format!("--cluster-domain={CLUSTER_DOMAIN}"),
        ]
    }

    /// How the nodes find each other; `discovery` is the token's URL, `protocol` how they ask there.
    pub(super) fn way(&self, mode: Mode, discovery: &str, protocol: Protocol) -> Vec<String> {
        match (mode, protocol) {
            (Mode::Token, Protocol::V2) => vec![format!("--discovery={discovery}")],
            (Mode::Token, Protocol::V3) => vec![
                format!("--discovery-token={}", discovery.rsplit('/').next().unwrap_or_default()),
                format!("--discovery-endpoints=127.0.0.1:{}", self.http_port),
            ],
            (Mode::Static, _) => vec![
                format!("--initial-cluster={}", self.initial_cluster()),
                "--initial-cluster-token=quorate-lab".to_owned(),
                "--initial-cluster-state=new".to_owned(),
            ],
            (Mode::Srv, _) => vec![
                format!("--discovery-srv={DOMAIN}"),
                format!("--discovery-resolver=127.0.0.1:{}", self.dns_port),
                "--initial-cluster-token=quorate-lab".to_owned(),
            ],
        }
    }

    fn initial_cluster(&self) -> String {
        let pairs = self.nodes.iter().map(|node| format!("{}={}", node.name, node.peer_url));
        pairs.collect::<Vec<_>>().join(",")
    }

    /// The zone file: one host per node, and the SRV records of the peer and client ports.
    pub(super) fn zone(&self) -> String {
        let mut text = format!(
            "; Written by `quorate lab up`.\n\
             $ORIGIN {DOMAIN}.\n\
             $TTL 60\n\
             @ IN SOA ns.{DOMAIN}. hostmaster.{DOMAIN}. 1 3600 600 86400 60\n\
             @ IN NS ns.{DOMAIN}.\n\
             ns IN A 127.0.0.1\n"
        );
        for node in &self.nodes {
            let (name, peer, client) = (&node.name, node.peer_port, node.client_port);
            writeln!(text, "{name} IN A 127.0.0.1").expect("a String takes all text");
            for (service, port) in [("server", peer), ("client", client)] {
                writeln!(text, "_etcd-{service}._tcp IN SRV 0 100 {port} {name}.{DOMAIN}.")
                    .expect("a String takes all text");
            }
        }
        text
    }
}

impl Node {
    fn draw(mode: Mode, number: u8, ports: &mut Ports) -> io::Result<Self> {
        let name = format!("infra{number}");
        let (peer_port, client_port) = (ports.tcp()?, ports.tcp()?);
        // Members found by SRV are known by the names in the zone.
        let peer_host = match mode {
            Mode::Srv => format!("{name}.{DOMAIN}"),
            Mode::Token | Mode::Static => "127.0.0.1".to_owned(),
        };
        Ok(Self {
            peer_url: format!("http://{peer_host}:{peer_port}"),
            client_url: format!("http://127.0.0.1:{client_port}"),
            name,
            peer_port,
            client_port,
        })
    }

    /// The flags of this node; `way` are those by which it finds the others.
    pub(super) fn flags(&self, way: &[String], dir: &Path) -> Vec<String> {
        let mut flags = vec![
            format!("--name={}", self.name),
            format!("--data-dir={}", dir.join(format!("{}.etcd", self.name)).display()),
            format!("--listen-peer-urls=http://127.0.0.1:{}", self.peer_port),
            format!("--initial-advertise-peer-urls={}", self.peer_url),
            format!("--listen-client-urls=http://127.0.0.1:{}", self.client_port),
            format!("--advertise-client-urls={}", self.client_url),
        ];
        flags.extend_from_slice(way);
        flags
    }
}
