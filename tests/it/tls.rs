//! TLS on every door: the token service, both ports of the nodes, with stock clients and nodes.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Flavor, Node, Process, etcdctl, free_port, scratch, wait};

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// One member with TLS on both ports.
pub(super) struct Member {
    name: &'static str,
    pub(super) peer: String,
    pub(super) client: String,
    dir: PathBuf,
    process: Option<Process>,
}

impl Member {
    pub(super) fn new(name: &'static str, dir: &Path) -> Self {
        let url = || format!("https://127.0.0.1:{}", free_port());
        Self { name, peer: url(), client: url(), dir: dir.to_owned(), process: None }
    }

    pub(super) fn start(&mut self, flavor: Flavor, bootstrap: &str) -> Option<()> {
        let Self { name, peer, client, dir, .. } = self;
        let file = |name: &str| format!("certs/{name}.pem");
        let (cert, key, ca) = (file(name), file(&format!("{name}-key")), file("ca"));
        let flags = [
            format!("--name={name}"),
            format!("--data-dir={name}.etcd"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--cert-file={cert}"),
            format!("--key-file={key}"),
            format!("--trusted-ca-file={ca}"),
            "--client-cert-auth".to_owned(),
            format!("--peer-cert-file={cert}"),
            format!("--peer-key-file={key}"),
            format!("--peer-trusted-ca-file={ca}"),
            "--peer-client-cert-auth".to_owned(),
            "--logger=zap".to_owned(),
            bootstrap.to_owned(),
        ];
        let trust = [("SSL_CERT_FILE", dir.join(ca).display().to_string())];
        let program = flavor.program()?;
        self.process = Some(Process::start(name, &program, &flags, &trust, dir));
        Some(())
    }

    pub(super) fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }
}

fn quorate(dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    let output = command.args(arguments).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// An authority, a certificate for every node and the service, and one for a client.
pub(super) fn certificates(dir: &Path) {
    quorate(dir, &["certs", "ca"]);
    for name in NODES.iter().chain(&["service"]) {
        quorate(dir, &["certs", "node", name, "--host", "127.0.0.1"]);
    }
    quorate(dir, &["certs", "client", "root"]);
}

/// What `etcdctl` prints as that client; `None` when it is missing.
fn ctl(dir: &Path, endpoint: &str, client: Option<&str>, arguments: &[&str]) -> Option<String> {
    let file = |name: &str| dir.join(format!("certs/{name}.pem")).display().to_string();
    let mut all = vec![format!("--cacert={}", file("ca"))];
    if let Some(client) = client {
        all.push(format!("--cert={}", file(client)));
        all.push(format!("--key={}", file(&format!("{client}-key"))));
    }
    all.push("--command-timeout=3s".to_owned());
    all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let output = etcdctl(endpoint, &all)?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Every member reads what every member wrote, and answers what only the leader knows.
fn serves(dir: &Path, members: &[Member]) -> Option<()> {
    for writer in members {
        let key = format!("from-{}", writer.name);
        ctl(dir, &writer.client, Some("root"), &["get", "k"])?;
        wait("a write over TLS", || {
            let put = ctl(dir, &writer.client, Some("root"), &["put", &key, "v"])?;
            put.contains("OK").then_some(())
        });
        for reader in members {
            let read = ctl(dir, &reader.client, Some("root"), &["get", &key])?;
            assert_eq!(read, format!("{key}\nv\n"));
        }
    }
    let granted = ctl(dir, &members[0].client, Some("root"), &["lease", "grant", "100"])?;
    let lease = granted.split(' ').nth(1).unwrap();
    for member in members {
        let left = ctl(dir, &member.client, Some("root"), &["lease", "timetolive", lease])?;
        assert!(left.contains("granted with TTL(100s)"), "{left}");
    }
    Some(())
}

/// As on the way from one to the other. Who speaks TLS is not asked for the name of the host.
#[test]
fn one_port_takes_clients_with_tls_and_without() {
    let dir = scratch();
    let mut node = Node::new(Flavor::Ours, "n1", dir.path()).unwrap();
    let plain = node.client_url();
    let secure = plain.replace("http://127.0.0.1", "https://localhost");
    node.bootstrap = vec![
        format!("--initial-cluster=n1={}", node.peer_url()),
        format!("--listen-client-urls={plain},{}", plain.replace("http:", "https:")),
        "--host-whitelist=127.0.0.1".to_owned(),
        "--auto-tls".to_owned(),
    ];
    node.start().wait_for_log("serving client traffic securely");
    node.process().wait_for_log("serving client traffic insecurely");
    node.wait_until_healthy();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true);
    let client = client.build().unwrap();
    let status = |url: &str| {
        let asked = client.get(format!("{url}/version")).send();
        runtime.block_on(async { asked.await.unwrap().status().as_u16() })
    };
    assert_eq!(status(&plain), 200);
    assert_eq!(status(&secure), 200);
    assert_eq!(status(&secure.replace("https:", "http:")), 421);
}

#[test]
fn a_cluster_speaks_tls_only_and_takes_new_certificates() {
    let dir = scratch();
    let dir = dir.path();
    certificates(dir);
    let mut members = NODES.map(|name| Member::new(name, dir));
    let list = members.iter().map(|member| format!("{}={}", member.name, member.peer));
    let bootstrap = format!("--initial-cluster={}", list.collect::<Vec<_>>().join(","));
    for member in &mut members {
        member.start(Flavor::Ours, &bootstrap).unwrap();
    }
    for member in &mut members {
        member.process().wait_for_log("serving client traffic securely");
    }
    if serves(dir, &members).is_none() {
        return;
    }
    let [first, ..] = &mut members;
    // Without a certificate, and with one of another authority.
    assert_eq!(ctl(dir, &first.client, None, &["get", "k"]).unwrap(), "");
    first.process().wait_for_log("tls: client didn't provide a certificate");
    assert!(first.process().log().contains("rejected connection on client endpoint"));
    // A replaced certificate is taken without a restart.
    for file in ["certs/n1.pem", "certs/n1-key.pem"] {
        std::fs::remove_file(dir.join(file)).unwrap();
    }
    quorate(dir, &["certs", "node", "n1", "--host", "127.0.0.1", "--days", "3"]);
    first.process().wait_for_log("certificate reloaded");
    let client = first.client.clone();
    let put = ctl(dir, &client, Some("root"), &["put", "after", "v"]).unwrap();
    assert_eq!(put, "OK\n");
}

/// As that of a probe which asks for the health of a cluster.
#[test]
fn a_certificate_that_names_no_user_gets_what_needs_no_permission() {
    let dir = scratch();
    let dir = dir.path();
    certificates(dir);
    quorate(dir, &["certs", "client", "probe"]);
    let mut member = Member::new("n1", dir);
    let bootstrap = format!("--initial-cluster=n1={}", member.peer);
    member.start(Flavor::Ours, &bootstrap).unwrap();
    member.process().wait_for_log("serving client traffic securely");
    let endpoint = member.client.clone();
    for arguments in [
        &["user", "add", "root", "--no-password"][..],
        &["user", "grant-role", "root", "root"],
        &["auth", "enable"],
    ] {
        let Some(said) = ctl(dir, &endpoint, Some("root"), arguments) else { return };
        assert_ne!(said, "", "{arguments:?}");
    }
    let said = |client, arguments: &[&str]| ctl(dir, &endpoint, Some(client), arguments).unwrap();
    assert_eq!(said("root", &["put", "k", "v"]), "OK\n");
    assert_eq!(said("probe", &["put", "k", "w"]), "");
    assert_eq!(said("probe", &["get", "k"]), "");
    assert!(said("probe", &["member", "list"]).contains("started, n1"));
    assert!(said("probe", &["lease", "grant", "100"]).contains("granted with TTL(100s)"));
    assert!(said("probe", &["endpoint", "status"]).contains("true"));
    assert_eq!(said("probe", &["user", "list"]), "");
}

/// A service with the certificate that [`certificates`] made for it, and its URL.
pub(super) fn serve_https(dir: &Path, more: &[&str]) -> (Process, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let listen = format!("--http-addr={address}");
    let mut flags = vec!["serve", "--dns-addr=off", "--tls-cert=certs/service.pem"];
    flags.extend(["--tls-key=certs/service-key.pem", &listen]);
    flags.extend(more);
    let program = Path::new(env!("CARGO_BIN_EXE_quorate"));
    let mut service = Process::start("service", program, &flags, &[], dir);
    service.wait_for_log("serving HTTP");
    (service, format!("https://{address}"))
}

#[test]
fn nodes_of_both_kinds_meet_by_a_token_over_https() {
    let dir = scratch();
    let dir = dir.path();
    certificates(dir);
    let (_service, url) = serve_https(dir, &[]);
    let token = quorate(dir, &["new", "--service", &url, "--cacert", "certs/ca.pem"]);
    assert!(token.starts_with(&url), "{token}");
    let untrusted = ["new", "--service", &url];
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    let refused = command.args(untrusted).current_dir(dir).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("x509: certificate signed by unknown authority"), "{said}");
    let bootstrap = format!("--discovery={}", token.trim());
    let mut members = NODES.map(|name| Member::new(name, dir));
    let flavors = [Flavor::Ours, Flavor::Ours, Flavor::Etcd34];
    for (member, flavor) in members.iter_mut().zip(flavors) {
        if member.start(flavor, &bootstrap).is_none() {
            return;
        }
    }
    // They do not speak each other's peer protocol; both have found all three.
    members[0].process().wait_for_log("founding a cluster");
    members[2].process().wait_for_log("found peer");
}

/// As etcd 3.5.30 and 3.6.14 read the same file, in which the names are lists.
#[test]
fn a_file_says_which_certificates_are_let_in() {
    let dir = scratch();
    let dir = dir.path();
    certificates(dir);
    quorate(dir, &["certs", "client", "other"]);
    for (rule, let_in) in [
        ("allowed-cn: [root]", &["root"][..]),
        ("allowed-cn: [other, n1]", &["other", "n1"]),
        ("allowed-cn: root", &["root"]),
        ("allowed-hostname: [127.0.0.1]", &["n1"]),
        ("allowed-hostname: [root]", &[]),
    ] {
        let (port, peer) = (free_port(), format!("http://127.0.0.1:{}", free_port()));
        let url = format!("https://127.0.0.1:{port}");
        let file = format!(
            "name: n1\ndata-dir: {port}.etcd\ninitial-cluster: n1={peer}\n\
             listen-peer-urls: {peer}\ninitial-advertise-peer-urls: {peer}\n\
             listen-client-urls: {url}\nadvertise-client-urls: {url}\n\
             client-transport-security:\n  cert-file: certs/n1.pem\n  key-file: certs/n1-key.pem\n  \
             trusted-ca-file: certs/ca.pem\n  client-cert-auth: true\n  {rule}\n"
        );
        std::fs::write(dir.join("node.yml"), file).unwrap();
        let program = Flavor::Ours.program().unwrap();
        let mut node = Process::start("node", &program, &["--config-file=node.yml"], &[], dir);
        node.wait_for_log("ready to serve client requests");
        for client in ["root", "other", "n1"] {
            let Some(put) = ctl(dir, &url, Some(client), &["put", "k", "v"]) else { return };
            assert_eq!(put.contains("OK"), let_in.contains(&client), "{rule}: {client}: {put}");
        }
        std::fs::remove_file(dir.join("node.log")).unwrap();
    }
}

#[test]
fn operators_show_a_certificate_and_a_key() {
    let dir = scratch();
    let dir = dir.path();
    certificates(dir);
    let (_service, url) = serve_https(dir, &["--tls-client-ca=certs/ca.pem"]);
    let run = |more: &[&str]| {
        let asked = ["token", "ls", "--url", &url];
        let output = Command::new(env!("CARGO_BIN_EXE_quorate"))
            .args(asked)
            .args(more)
            .current_dir(dir)
            .output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let ca = "--cacert=certs/ca.pem";
    let shown = ["--cert=certs/root.pem", "--key=certs/root-key.pem"];
    std::fs::write(dir.join("other.key"), "eve:0123456789abcdef\n").unwrap();
    assert_eq!(run(&[ca, shown[0], shown[1]]), (Some(0), String::new()));
    let (code, said) = run(&[ca]);
    assert_eq!(code, Some(1));
    assert!(said.contains("Q1080: show a client certificate"), "{said}");
    let (code, said) = run(&[ca, shown[0], shown[1], "--admin-key-file=other.key"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("Q1080: send a key"), "{said}");
    let (code, said) = run(&[]);
    assert_eq!(code, Some(6));
    assert!(said.contains("name its authority with --cacert"), "{said}");
    assert_eq!(run(&[ca, shown[0]]).0, Some(2), "a certificate needs its key");
    // Nodes and those who make tokens need no certificate.
    let token = quorate(dir, &["new", "--service", &url, ca]);
    let doctor = quorate(dir, &["doctor", "token", token.trim(), ca]);
    assert!(doctor.contains("ok    size"), "{doctor}");
}

#[test]
fn a_certificate_without_names_is_warned_of_at_the_start_and_when_it_comes() {
    let dir = scratch();
    let dir = dir.path();
    certificates(dir);
    let serve = |name: &'static str, certificate: &str| {
        for file in [".pem", "-key.pem"] {
            let from = dir.join(format!("certs/{certificate}{file}"));
            std::fs::copy(from, dir.join(format!("{name}{file}"))).unwrap();
        }
        let flags = [
            "serve".to_owned(),
            format!("--data-dir={name}"),
            format!("--tls-cert={name}.pem"),
            format!("--tls-key={name}-key.pem"),
            "--http-addr=127.0.0.1:0".to_owned(),
            "--dns-addr=127.0.0.1:0".to_owned(),
            "--dot-addr=127.0.0.1:0".to_owned(),
        ];
        let program = Path::new(env!("CARGO_BIN_EXE_quorate"));
        let mut service = Process::start(name, program, &flags, &[], dir);
        service.wait_for_log("serving HTTP");
        service
    };
    const WARNING: &str = "the certificate has no subject alternative name";
    // That of a client has a common name only.
    let mut begun = serve("begun", "root");
    begun.wait_for_log(WARNING);
    let mut changed = serve("changed", "service");
    assert!(!changed.log().contains(WARNING));
    // The key first: until both are there, the pair is none and the old one stays.
    for file in ["-key.pem", ".pem"] {
        let from = dir.join(format!("certs/root{file}"));
        std::fs::copy(from, dir.join(format!("changed{file}"))).unwrap();
    }
    changed.wait_for_log(WARNING);
    for mut service in [begun, changed] {
        service.stop();
        let log = service.log();
        let warnings: Vec<&str> = log.lines().filter(|line| line.contains(WARNING)).collect();
        assert_eq!(warnings.len(), 1, "both ports show it, and it is said once: {log}");
        assert!(warnings[0].contains("quorate certs node NAME --host HOST"), "{}", warnings[0]);
        for line in log.lines().filter(|line| line.contains("certificate reloaded")) {
            let (_, date) = line.split_once("tls.not-after=").unwrap();
            assert!(date.starts_with("20") && date.trim_end().ends_with('Z'), "{line}");
        }
    }
}
