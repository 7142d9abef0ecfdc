use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate::membership::InitialCluster;

use super::{Client, Process, free_port, http, tools, wait};

/// Which program a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    Ours,
    Etcd34,
    Etcd35,
}

impl Flavor {
    /// The program, or `None` when it is not installed and the test is to be skipped.
    pub fn program(self) -> Option<PathBuf> {
        match self {
            Self::Ours => Some(PathBuf::from(env!("CARGO_BIN_EXE_quorate-node"))),
            Self::Etcd34 => tools::etcd34(),
            Self::Etcd35 => tools::etcd35(),
        }
    }
}

/// A member with its own ports and directory, running or not.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    pub peer_port: u16,
    pub client_port: u16,
    /// Where it listens.
    pub host: String,
    /// What starts it: a program and its arguments, before those of the node; nothing for most.
    pub within: Vec<OsString>,
    program: PathBuf,
    dir: PathBuf,
    /// How it finds the others.
    pub bootstrap: Vec<String>,
    process: Option<Process>,
}

impl Node {
    /// A node that has not been started; `None` when its program is missing.
    pub fn new(flavor: Flavor, name: &str, dir: &Path) -> Option<Self> {
        Some(Self {
            name: name.to_owned(),
            peer_port: free_port(),
            client_port: free_port(),
            host: "127.0.0.1".to_owned(),
            within: Vec::new(),
            program: flavor.program()?,
            dir: dir.to_owned(),
            bootstrap: Vec::new(),
            process: None,
        })
    }

    pub fn peer_url(&self) -> String {
        format!("http://{}:{}", self.host, self.peer_port)
    }

    pub fn client_url(&self) -> String {
        format!("http://{}:{}", self.host, self.client_port)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.join(format!("{}.etcd", self.name))
    }

    pub fn flags(&self) -> Vec<String> {
        let mut flags = vec![
            format!("--name={}", self.name),
            format!("--data-dir={}", self.data_dir().display()),
            format!("--listen-peer-urls={}", self.peer_url()),
            format!("--initial-advertise-peer-urls={}", self.peer_url()),
            format!("--listen-client-urls={}", self.client_url()),
            format!("--advertise-client-urls={}", self.client_url()),
            "--logger=zap".to_owned(),
            "--log-outputs=stderr".to_owned(),
        ];
        flags.extend(self.bootstrap.clone());
        flags
    }

    pub fn start(&mut self) -> &mut Process {
        let mut words = self.within.clone();
        words.push(self.program.clone().into());
        words.extend(self.flags().into_iter().map(OsString::from));
        let program = PathBuf::from(words.remove(0));
        let process = Process::start(&self.name, &program, &words, &[], &self.dir);
        self.process.insert(process)
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the test has started this node")
    }

    pub fn log(&self) -> String {
        self.process.as_ref().expect("the test has started this node").log()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process().kill();
    }

    /// Loses everything it ever stored.
    pub fn wipe(&self) {
        std::fs::remove_dir_all(self.data_dir()).unwrap();
    }

    /// Whether it says that it leads.
    pub fn leads(&self) -> bool {
        let status = Client::connect_for(&self.client_url(), Duration::from_secs(1)).status();
        status.is_ok_and(|status| {
            status.leader != 0 && Some(status.leader) == status.header.map(|h| h.member_id)
        })
    }

    pub fn is_healthy(&self) -> bool {
        let health = http("GET", &format!("{}/health", self.client_url()), None);
        health.is_ok_and(|answer| answer.status == 200 && answer.body.contains("true"))
    }

    #[track_caller]
    pub fn wait_until_healthy(&mut self) {
        let what = format!("{} to be healthy", self.name);
        wait(&what, || {
            assert!(self.process().is_running(), "{} ended while it was waited for", self.name);
            self.is_healthy().then_some(())
        });
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.client_url())
    }
}

/// `name=url,...` of these nodes.
pub fn initial_cluster(nodes: &[Node]) -> String {
    let pairs = nodes.iter().map(|node| format!("{}={}", node.name, node.peer_url()));
    pairs.collect::<Vec<_>>().join(",")
}

/// Waits until all hold the same at the same revision; nobody writes any more.
pub fn assert_all_agree(nodes: &[Node]) {
    wait("all nodes to hold the same", || {
        let hashes: Result<Vec<_>, _> = nodes.iter().map(|node| node.client().hash()).collect();
        let hashes = hashes.ok()?;
        hashes.iter().all(|hash| *hash == hashes[0]).then_some(())
    });
}

/// The id that arithmetic gives these nodes under this token.
pub fn cluster_id(nodes: &[Node], token: &str) -> u64 {
    let list: InitialCluster = initial_cluster(nodes).parse().unwrap();
    list.cluster_id(token).0
}

/// Index of the node that leads.
pub fn leader(nodes: &[Node]) -> usize {
    wait("a leader", || nodes.iter().position(Node::leads))
}

fn nodes(flavors: &[Flavor], dir: &Path) -> Option<Vec<Node>> {
    let named =
        flavors.iter().zip(1..).map(|(flavor, n)| Node::new(*flavor, &format!("n{n}"), dir));
    named.collect()
}

/// Nodes with a static list, started and healthy; `None` when a program is missing.
pub fn static_cluster(flavors: &[Flavor], dir: &Path) -> Option<Vec<Node>> {
    static_cluster_with(flavors, dir, &[])
}

/// The same with more flags.
pub fn static_cluster_with(flavors: &[Flavor], dir: &Path, flags: &[&str]) -> Option<Vec<Node>> {
    let mut nodes = nodes(flavors, dir)?;
    let list = initial_cluster(&nodes);
    for node in &mut nodes {
        node.bootstrap = vec![format!("--initial-cluster={list}")];
        node.bootstrap.extend(flags.iter().map(|flag| (*flag).to_owned()));
        node.start();
    }
    nodes.iter_mut().for_each(Node::wait_until_healthy);
    Some(nodes)
}

/// Nodes of ours that are given a token and endpoints of v3 discovery, not started.
pub fn token_v3_cluster(count: usize, token: &str, endpoints: &str, dir: &Path) -> Vec<Node> {
    let mut nodes = nodes(&vec![Flavor::Ours; count], dir).expect("our program is there");
    for node in &mut nodes {
        node.bootstrap = vec![
            format!("--discovery-token={token}"),
            format!("--discovery-endpoints={endpoints}"),
        ];
    }
    nodes
}

/// Nodes that are given a discovery URL, not started; `None` when a program is missing.
pub fn token_cluster(flavors: &[Flavor], url: &str, dir: &Path) -> Option<Vec<Node>> {
    let mut nodes = nodes(flavors, dir)?;
    for node in &mut nodes {
        node.bootstrap = vec![format!("--discovery={url}")];
    }
    Some(nodes)
}
