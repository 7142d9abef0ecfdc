//! `quorate render` and `quorate lint`: what one prints, the other passes and a cluster starts with.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Client, Flavor, Process, free_port, scratch, tools, wait};

const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");

/// Runs `quorate` and gives its exit code and what it printed on both outputs.
fn quorate(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(QUORATE).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[track_caller]
fn render(arguments: &[&str]) -> String {
    let output = Command::new(QUORATE).arg("render").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Writes a file and looks at it as a user would.
#[track_caller]
fn lint(dir: &Path, name: &str, text: &str, release: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    let (code, found) = quorate(&["lint", "--strict", "--etcd", release, path.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{found}\n{text}");
    path
}

struct Described {
    list: String,
    client_ports: Vec<u16>,
}

/// Three members on loopback addresses of their own, so that each has the client port of its own.
fn described() -> Described {
    let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
    let pair = |((peer, _), n): (&(u16, u16), i32)| format!("n{n}=http://127.0.0.{n}:{peer}");
    let list = ports.iter().zip(1..).map(pair).collect::<Vec<_>>().join(",");
    Described { list, client_ports: ports.iter().map(|(_, client)| *client).collect() }
}

fn release(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Ours => "quorate-node",
        Flavor::Etcd34 => "3.4",
        Flavor::Etcd35 => "3.5",
    }
}

/// All members serve, and what one was given another one has.
fn check(described: &Described) {
    let url = |n: usize| format!("http://127.0.0.{}:{}", n + 1, described.client_ports[n]);
    let put = || Client::connect(&url(0)).put("k", "v").ok();
    wait("a put", put);
    for n in 0..3 {
        let get = || Client::connect(&url(n)).get("k").ok().flatten().filter(|value| value == "v");
        wait("the value", get);
    }
}

fn starts_from(flavor: Flavor, format: &str) {
    let Some(program) = flavor.program() else { return };
    let dir = scratch();
    let described = described();
    let release = release(flavor);
    let mut processes = Vec::new();
    for (n, port) in (1..).zip(&described.client_ports) {
        let name = format!("n{n}");
        let data = dir.path().join(format!("{name}.data")).display().to_string();
        let text = render(&[
            format,
            "--initial-cluster",
            &described.list,
            "--initial-cluster-token",
            "rendered",
            "--name",
            &name,
            "--client-port",
            &port.to_string(),
            "--etcd",
            release,
            "--data-dir",
            &data,
        ]);
        // The directory of a test is below /tmp, which is a warning of its own.
        let path = dir.path().join(format!("{name}.{format}"));
        std::fs::write(&path, &text).unwrap();
        let (code, found) = quorate(&["lint", "--etcd", release, path.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{found}\n{text}");
        let (flags, environment) = match format {
            "yaml" => (vec![format!("--config-file={}", path.display())], Vec::new()),
            _ => (Vec::new(), variables(&text)),
        };
        let environment: Vec<(&str, String)> =
            environment.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        processes.push(Process::start(&name, &program, &flags, &environment, dir.path()));
    }
    check(&described);
}

/// The variables of an environment file, as a shell reads it.
fn variables(text: &str) -> Vec<(String, String)> {
    let script = format!("set -a\n{text}\nenv -0");
    let output = Command::new("sh").args(["-c", &script]).env_clear().output().unwrap();
    let read = String::from_utf8(output.stdout).unwrap();
    let pairs = read.split('\0').filter_map(|line| line.split_once('='));
    let settings = pairs.filter(|(name, _)| name.starts_with("ETCD_"));
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn members_start_from_environment_files() {
    starts_from(Flavor::Ours, "env");
    starts_from(Flavor::Etcd34, "env");
}

#[test]
fn members_start_from_yaml() {
    starts_from(Flavor::Ours, "yaml");
    starts_from(Flavor::Etcd34, "yaml");
}

/// A free port behind another free one: members listen for clients on the port before their own.
fn port_with_one_before() -> u16 {
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", port - 1)).is_ok();
    wait("two free ports", || Some(free_port()).filter(is_free))
}

#[test]
fn members_start_from_a_procfile() {
    for flavor in [Flavor::Ours, Flavor::Etcd34] {
        let Some(program) = flavor.program() else { continue };
        let dir = scratch();
        let peers: Vec<u16> = (0..3).map(|_| port_with_one_before()).collect();
        let pair = |(peer, n): (&u16, i32)| format!("n{n}=http://127.0.0.1:{peer}");
        let list = peers.iter().zip(1..).map(pair).collect::<Vec<_>>().join(",");
        let program = program.display().to_string();
        let text = render(&[
            "procfile",
            "--initial-cluster",
            &list,
            "--etcd",
            release(flavor),
            "--program",
            &program,
        ]);
        lint(dir.path(), "Procfile", &text, release(flavor));
        let start = |line: &str| {
            let (name, command) = line.split_once(": ").unwrap();
            let command = format!("exec {command}");
            Process::start(name, Path::new("/bin/sh"), &["-c", &command], &[], dir.path())
        };
        let _processes: Vec<Process> = text.lines().map(start).collect();
        for peer in peers {
            let url = format!("http://127.0.0.1:{}", peer - 1);
            wait("a put", || Client::connect(&url).put("k", "v").ok());
        }
    }
}

#[test]
fn units_are_understood_by_systemd() {
    let systemd = Path::new("/usr/bin/systemd-analyze");
    if !systemd.is_file() {
        tools::missing("systemd-analyze");
        return;
    }
    let dir = scratch();
    let node = env!("CARGO_BIN_EXE_quorate-node");
    for more in [&["--initial-cluster-token", "a b"][..], &["--data-dir", "/srv/etcd"]] {
        let list = "n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,n3=http://10.0.0.3:2380";
        let arguments = ["systemd", "--initial-cluster", list, "--name", "n1", "--program", node];
        let text = render(&[&arguments, more].concat());
        let path = lint(dir.path(), "quorate-n1.service", &text, "quorate-node");
        let output = Command::new(systemd).arg("verify").arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !said.contains("quorate-n1.service"), "{said}\n{text}");
    }
}

/// Findings have a line and a code, in both forms, and the exit code tells of errors.
#[test]
fn lint_tells_where_and_what() {
    let dir = scratch();
    let path = dir.path().join("n1.env");
    std::fs::write(&path, "ETCD_NAME=n1\nETCD_INITIAL_CLUSTER=n2=http://10.0.0.2:2380\n").unwrap();
    let file = path.display().to_string();
    let (code, text) = quorate(&["lint", &file]);
    assert_eq!(code, Some(1), "{text}");
    let line = format!("{file}:2: error [name-not-listed]: ETCD_INITIAL_CLUSTER names n2");
    assert!(text.contains(&line) && text.contains("quorate: 1 error"), "{text}");
    let output = Command::new(QUORATE).args(["lint", "-o", "json", &file]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["findings"][0]["code"], "name-not-listed");
    assert_eq!(json["findings"][0]["line"], 2);
    assert_eq!(json["files"][0]["kind"], "env");
    std::fs::write(&path, "ETCD_NAME=n1\nETCD_DATA_DIR=data\n").unwrap();
    assert_eq!(quorate(&["lint", &file]).0, Some(0));
    assert_eq!(quorate(&["lint", "--strict", &file]).0, Some(1));
    assert_eq!(quorate(&["lint", "/nonexistent"]).0, Some(2));
    assert_eq!(quorate(&["lint"]).0, Some(2));
}
