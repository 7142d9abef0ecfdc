//! The three configuration styles of etcd tutorials, unchanged but for the program's name.

use std::path::{Path, PathBuf};

use crate::harness::{Client, Process, free_port, http, scratch, wait};

const NODE: &str = env!("CARGO_BIN_EXE_quorate-node");

/// The Procfile of this repository, whose ports give the ids that the tutorial prints.
#[test]
fn procfile() {
    let dir = scratch();
    let text = include_str!("../../Procfile");
    let mut processes = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("infra")) {
        let (name, command) = line.split_once(": ").unwrap();
        let words = command.split(' ').map(|word| word.trim_matches('\''));
        let arguments: Vec<&str> = words.skip(1).collect();
        processes.push(Process::start(name, Path::new(NODE), &arguments, &[], dir.path()));
    }
    assert_eq!(processes.len(), 3);
    for port in [12379, 22379, 32379] {
        wait_until_healthy(port);
    }
    let (_, members) = Client::connect("http://127.0.0.1:22379").members().unwrap();
    let mut lines: Vec<String> = members
        .iter()
        .map(|m| format!("{:x} {} {} {}", m.id, m.name, m.peer_ur_ls[0], m.client_ur_ls[0]))
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "8211f1d0f64f3269 infra1 http://127.0.0.1:12380 http://127.0.0.1:12379",
            "91bc3c398fb3c146 infra2 http://127.0.0.1:22380 http://127.0.0.1:22379",
            "fd422379fda50e48 infra3 http://127.0.0.1:32380 http://127.0.0.1:32379",
        ]
    );
}

#[test]
fn yaml_file() {
    let dir = scratch();
    let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
    let pairs = ports.iter().zip(1..).map(|((peer, _), n)| format!("e{n}=http://127.0.0.1:{peer}"));
    let cluster = pairs.collect::<Vec<_>>().join(",");
    let start = |((peer, client), n): (&(u16, u16), i32)| {
        let yaml = format!(
            "name: e{n}\ndata-dir: {data}\nlisten-client-urls: http://127.0.0.1:{client}\n\
             advertise-client-urls: http://127.0.0.1:{client}\n\
             listen-peer-urls: http://127.0.0.1:{peer}\n\
             initial-advertise-peer-urls: http://127.0.0.1:{peer}\n\
             initial-cluster: {cluster}\ninitial-cluster-token: etcd-cluster-1\n\
             initial-cluster-state: new\n",
            data = data(dir.path(), n).display()
        );
        let file = dir.path().join(format!("e{n}.yml"));
        std::fs::write(&file, yaml).unwrap();
        let flag = format!("--config-file={}", file.display());
        Process::start(&format!("e{n}"), Path::new(NODE), &[flag], &[], dir.path())
    };
    let _processes: Vec<Process> = ports.iter().zip(1..).map(start).collect();
    check_three(&ports, dir.path());
}

/// The variables of `/etc/etcd/etcd.conf`, quoted as systemd unquotes them, and two flags.
#[test]
fn environment_file() {
    let dir = scratch();
    let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
    let pair = |((peer, _), n): (&(u16, u16), i32)| format!("instance0{n}=http://127.0.0.1:{peer}");
    let cluster = ports.iter().zip(1..).map(pair).collect::<Vec<_>>().join(",");
    let start = |((peer, client), n): (&(u16, u16), i32)| {
        let environment = [
            ("ETCD_NAME", format!("instance0{n}")),
            ("ETCD_DATA_DIR", data(dir.path(), n).display().to_string()),
            (
                "ETCD_LISTEN_CLIENT_URLS",
                format!("http://127.0.0.1:{client},http://127.0.0.2:{client}"),
            ),
            ("ETCD_ADVERTISE_CLIENT_URLS", format!("http://127.0.0.1:{client}")),
            ("ETCD_INITIAL_ADVERTISE_PEER_URLS", format!("http://127.0.0.1:{peer}")),
            ("ETCD_LISTEN_PEER_URLS", format!("http://127.0.0.1:{peer}")),
            ("ETCD_INITIAL_CLUSTER", cluster.clone()),
            ("ETCD_INITIAL_CLUSTER_STATE", "new".to_owned()),
        ];
        let flags = ["--enable-pprof", "--logger=zap", "--log-outputs=stderr"];
        Process::start(&format!("instance0{n}"), Path::new(NODE), &flags, &environment, dir.path())
    };
    let _processes: Vec<Process> = ports.iter().zip(1..).map(start).collect();
    check_three(&ports, dir.path());
    wait("the second client address", || {
        let url = format!("http://127.0.0.2:{}/health", ports[0].1);
        http("GET", &url, None).ok().filter(|answer| answer.status == 200)
    });
}

fn data(dir: &Path, n: i32) -> PathBuf {
    dir.join(format!("data{n}"))
}

fn wait_until_healthy(port: u16) {
    wait(&format!("a healthy node on port {port}"), || {
        let health = http("GET", &format!("http://127.0.0.1:{port}/health"), None).ok()?;
        health.body.contains("true").then_some(())
    });
}

fn check_three(ports: &[(u16, u16)], dir: &Path) {
    for (_, client) in ports {
        wait_until_healthy(*client);
    }
    let clients: Vec<Client> = ports
        .iter()
        .map(|(_, port)| Client::connect(&format!("http://127.0.0.1:{port}")))
        .collect();
    clients[0].put("/mykey", "myvalue").unwrap();
    for client in &clients {
        assert_eq!(client.get("/mykey").unwrap().as_deref(), Some("myvalue"));
    }
    for n in 1..=3 {
        assert!(data(dir, n).join("member").is_dir(), "etcd's directory name inside data-dir");
    }
}
