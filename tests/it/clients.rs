//! Client libraries of others, used as their users use them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Flavor, scratch, static_cluster, tools};

#[cfg(feature = "etcd-client")]
mod crates_io;

#[test]
fn etcd3_of_pypi() {
    session("etcd3", "etcd3_session.py");
}

#[test]
fn etcd3gw_of_pypi() {
    session("etcd3gw", "etcd3gw_session.py");
}

/// Runs a script with the client ports of three members, and kills the first when it asks for that.
fn session(package: &str, script: &str) {
    let Some(python) = tools::python_with(package) else { return };
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours; 3], dir.path()).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients").join(script);
    let mut child = Command::new(python)
        .arg(file)
        .args(nodes.iter().map(|node| node.client_port.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut done = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line == "kill" {
            nodes[0].kill();
            child.stdin.as_mut().unwrap().write_all(b"killed\n").unwrap();
        } else {
            done.push(line);
        }
    }
    let status = child.wait().unwrap();
    assert!(status.success(), "{script} failed after {done:?}");
    assert_eq!(done, ["keys", "transaction", "session", "lock", "election", "watch"]);
}

#[cfg(not(feature = "etcd-client"))]
#[test]
fn etcd_client_of_crates_io() {
    tools::missing("the feature `etcd-client` (its build needs protoc)");
}
