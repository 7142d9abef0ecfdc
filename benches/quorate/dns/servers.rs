use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::super::machine::Usage;
use super::super::subject::{Process, free_port};
use super::client::question;

/// A name server that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Quorate,
    Knot,
    Dnsmasq,
}

/// The same data for all of them: a master file, and dnsmasq's lines.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) origin: &'static str,
    pub(crate) zone: String,
    pub(crate) dnsmasq: String,
}

impl Data {
    /// Clusters of three members each, below labels of their own; one has the domain for itself.
    pub(crate) fn clusters(origin: &'static str, count: usize) -> Self {
        let mut zone = format!(
            "$ORIGIN {origin}.\n$TTL 300\n@ IN SOA ns hostmaster 1 3600 600 604800 60\n\
             @ IN NS ns\nns IN A 127.0.0.1\n"
        );
        let mut dnsmasq = format!("local=/{origin}/\nlocal-ttl=300\n");
        for cluster in 0..count {
            let below = below(cluster, count);
            for member in 1..=3 {
                let address = format!("10.{}.{}.{member}", cluster / 250, cluster % 250);
                let service = format!("_etcd-server._tcp{below}");
                writeln!(zone, "{service} SRV 0 100 2380 n{member}{below}").unwrap();
                writeln!(zone, "n{member}{below} A {address}").unwrap();
                let (service, host) =
                    (format!("{service}.{origin}"), format!("n{member}{below}.{origin}"));
                writeln!(dnsmasq, "srv-host={service},{host},2380,0,100").unwrap();
                writeln!(dnsmasq, "host-record={host},{address}").unwrap();
            }
        }
        Self { origin, zone, dnsmasq }
    }
}

/// The labels of one of `count` clusters, with a dot before.
pub(crate) fn below(cluster: usize, count: usize) -> String {
    if count == 1 { String::new() } else { format!(".c{cluster}") }
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quorate => "quorate",
            Self::Knot => "knot",
            Self::Dnsmasq => "dnsmasq",
        }
    }

    /// Those that are installed here.
    pub(crate) fn all() -> Vec<Self> {
        let kinds = [Self::Quorate, Self::Knot, Self::Dnsmasq];
        kinds.into_iter().filter(|kind| kind.program().is_some()).collect()
    }

    fn program(self) -> Option<PathBuf> {
        match self {
            Self::Quorate => Some(env!("CARGO_BIN_EXE_quorate").into()),
            Self::Knot => installed("knotd"),
            Self::Dnsmasq => installed("dnsmasq"),
        }
    }
}

fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    dirs.map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    pub(crate) http_port: u16,
    process: Process,
    dir: tempfile::TempDir,
}

/// Where a server runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// On the first core alone.
    First,
    /// With the clients on the others.
    Others,
    Anywhere,
}

impl Server {
    /// Starts a server with this data, that asks `upstream` about all else, and waits for its answer.
    pub(crate) fn start(
        kind: Kind,
        data: &Data,
        upstream: Option<SocketAddr>,
        place: Place,
        more: &[String],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let http_port = free_port();
        let path = dir.path();
        std::fs::write(path.join(format!("{}.zone", data.origin)), &data.zone).unwrap();
        let mut flags = match kind {
            Kind::Quorate => quorate(path, address, http_port, upstream),
            Kind::Knot => knot(path, address, data.origin),
            Kind::Dnsmasq => dnsmasq(path, address, upstream, &data.dnsmasq),
        };
        flags.extend_from_slice(more);
        let program = kind.program().expect("only what is installed is started");
        let process = pinned(&program, flags, place, &path.join("log"));
        let server = Self { kind, address, http_port, process, dir };
        server.wait(data.origin);
        server
    }

    pub(crate) fn usage(&self) -> Usage {
        self.process.usage()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn wait(&self, origin: &str) {
        let member = question(7, &format!("n1{}.{origin}", below(0, 2)), 1);
        let alone = question(7, &format!("n1.{origin}"), 1);
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket.connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut reply = [0; 512];
        let mut answers = |packet: &[u8]| {
            // Nobody may be there yet.
            let came = socket.send(packet).and_then(|_| socket.recv(&mut reply));
            came.is_ok_and(|length| length > 12 && reply[7] > 0)
        };
        while !answers(&member) && !answers(&alone) {
            assert!(Instant::now() < deadline, "{} does not answer", self.kind.name());
        }
    }
}

fn quorate(
    dir: &Path,
    address: SocketAddr,
    http: u16,
    upstream: Option<SocketAddr>,
) -> Vec<String> {
    let mut flags = vec![
        "serve".to_owned(),
        "--new-rate=off".to_owned(),
        format!("--data-dir={}", dir.join("data").display()),
        format!("--zones-dir={}", dir.display()),
        format!("--http-addr=127.0.0.1:{http}"),
        format!("--dns-addr={address}"),
        "--log-level=error".to_owned(),
    ];
    flags.extend(upstream.map(|upstream| format!("--upstream={upstream}")));
    flags
}

fn knot(dir: &Path, address: SocketAddr, origin: &str) -> Vec<String> {
    let (place, port) = (dir.display(), address.port());
    let text = format!(
        "server:\n  rundir: {place}\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  \
         tcp-workers: 1\n  background-workers: 1\ndatabase:\n  storage: {place}\n\
         zone:\n  - domain: {origin}\n    storage: {place}\n    file: {origin}.zone\n"
    );
    let config = dir.join("knot.conf");
    std::fs::write(&config, text).unwrap();
    vec!["-c".to_owned(), config.display().to_string()]
}

fn dnsmasq(
    dir: &Path,
    address: SocketAddr,
    upstream: Option<SocketAddr>,
    lines: &str,
) -> Vec<String> {
    let port = address.port();
    let mut text = format!(
        "port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\n\
         user=root\ngroup=root\ncache-size=10000\n"
    );
    if let Some(upstream) = upstream {
        writeln!(text, "server={}#{}", upstream.ip(), upstream.port()).unwrap();
    }
    let config = dir.join("dnsmasq.conf");
    std::fs::write(&config, text + lines).unwrap();
    let config = format!("--conf-file={}", config.display());
    vec!["--keep-in-foreground".to_owned(), "--pid-file=".to_owned(), config]
}

/// Starts a program on some cores, if `taskset` is there to say so.
fn pinned(program: &Path, flags: Vec<String>, place: Place, log: &Path) -> Process {
    match (installed("taskset"), cores(place)) {
        (Some(taskset), Some(cores)) => {
            let before = ["-c".to_owned(), cores, program.display().to_string()];
            let flags: Vec<String> = before.into_iter().chain(flags).collect();
            Process::start(&taskset, &flags, log)
        }
        _ => Process::start(program, &flags, log),
    }
}

fn cores(place: Place) -> Option<String> {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    match place {
        Place::First => Some("0".to_owned()),
        Place::Others if count > 1 => Some(format!("1-{}", count - 1)),
        Place::Others | Place::Anywhere => None,
    }
}

/// Runs `measure` on a thread that leaves the first core to servers.
pub(crate) fn beside<T: Send>(measure: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let measuring = scope.spawn(|| {
            let own = std::fs::read_link("/proc/thread-self").unwrap();
            let own = own.file_name().unwrap().to_string_lossy().into_owned();
            if let (Some(taskset), Some(cores)) = (installed("taskset"), cores(Place::Others)) {
                let moved = Command::new(taskset).args(["-cp", &cores, &own]).output().unwrap();
                assert!(moved.status.success(), "taskset: {moved:?}");
            }
            measure()
        });
        measuring.join().unwrap()
    })
}
