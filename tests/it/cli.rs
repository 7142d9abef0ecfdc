//! The command lines: help, wrong flags, and the lab.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{Process, Service, etcdctl, http, scratch, tools, wait};

const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");
const NODE: &str = env!("CARGO_BIN_EXE_quorate-node");

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn versions_are_what_tools_parse() {
    let own = run(QUORATE, &["--version"]);
    assert_eq!(
        String::from_utf8_lossy(&own.stdout).trim(),
        concat!("quorate ", env!("CARGO_PKG_VERSION"))
    );
    let node = String::from_utf8(run(NODE, &["--version"]).stdout).unwrap();
    assert!(node.lines().any(|line| line.starts_with("etcd Version: 3.")), "{node}");
    let inside = String::from_utf8(run(QUORATE, &["node", "--version"]).stdout).unwrap();
    assert_eq!(inside, node, "`quorate node` is quorate-node");
}

#[test]
fn shells_complete_and_man_has_pages() {
    for (shell, part) in [("bash", "_quorate()"), ("zsh", "#compdef quorate"), ("fish", "quorate")]
    {
        let script = run(QUORATE, &["completions", shell]);
        let text = String::from_utf8(script.stdout).unwrap();
        assert!(script.status.success() && text.contains(part) && text.contains("client-port"));
    }
    let page = run(QUORATE, &["man", "serve"]);
    let text = String::from_utf8(page.stdout).unwrap();
    assert!(page.status.success() && text.contains("public\\-url"), "{text}");
    assert_eq!(run(QUORATE, &["man", "nothing"]).status.code(), Some(2));
    assert_eq!(run(QUORATE, &["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn help_goes_to_stdout_and_survives_a_closed_pipe() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["lab", "up", "--help"]] {
        let help = run(QUORATE, arguments);
        assert!(help.status.success() && !help.stdout.is_empty(), "{arguments:?}");
    }
    let mut child = Command::new(NODE)
        .arg("--help")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}

/// All problems at once, each with its flag and its value, before anything is bound or created.
#[test]
fn a_wrong_service_configuration_is_reported_whole() {
    let dir = scratch();
    let data = dir.path().join("data");
    let data_flag = format!("--data-dir={}", data.display());
    let output = run(
        QUORATE,
        &[
            "serve",
            &data_flag,
            "--http-addr=localhost:99999",
            "--dns-addr=53",
            "--public-url=ftp://x",
            "--max-size=0",
            "--token-ttl=soon",
        ],
    );
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    for named in ["localhost:99999", "`53`", "ftp://x", "max-size", "soon"] {
        assert!(text.contains(named), "{named} is not named: {text}");
    }
    assert!(!data.exists(), "nothing is created for a wrong configuration");
    let unknown = run(QUORATE, &["serve", "--htp-addr=x"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("--htp-addr"), "{}", stderr(&unknown));
}

#[test]
fn a_service_says_what_it_cannot_have() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let zones = format!("--zones-dir={}", dir.path().join("zones").display());
    let other = format!("--data-dir={}", dir.path().join("other").display());
    let taken = format!("--http-addr=127.0.0.1:{}", service.http_port);
    let output = run(QUORATE, &["serve", &other, &zones, &taken, "--dns-addr=off"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("127.0.0.1:{}", service.http_port)), "{text}");
    assert!(text.contains("in use"), "{text}");

    let same = format!("--data-dir={}", dir.path().join("quorate.data").display());
    let output =
        run(QUORATE, &["serve", &same, &zones, "--http-addr=127.0.0.1:0", "--dns-addr=off"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("quorate.data"), "{text}");
}

fn lab_once(more: &[&str]) {
    let mut arguments = vec!["lab", "up", "--once"];
    arguments.extend(more);
    let output = run(QUORATE, &arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{more:?}: {text}{}", stderr(&output));
    for shown in ["one cluster", "ready", "nothing is left behind"] {
        assert!(text.contains(shown), "{shown} is not shown: {text}");
    }
    assert!(!text.contains("Paste"), "what is over cannot be asked: {text}");
}

#[test]
fn lab_by_token() {
    lab_once(&[]);
}

#[test]
fn lab_by_static_list() {
    lab_once(&["--mode=static", "--size=1"]);
}

#[test]
fn lab_by_srv() {
    lab_once(&["--mode=srv"]);
}

#[test]
fn lab_with_real_etcd() {
    let Some(etcd) = tools::etcd34() else { return };
    let flag = format!("--etcd={}", etcd.display());
    lab_once(&[&flag]);
    let refused = run(QUORATE, &["lab", "up", "--once", "--mode=srv", &flag]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("resolv.conf"), "{}", stderr(&refused));
}

/// The lines it prints work, Ctrl-C ends it, and nothing outlives it.
#[test]
fn lab_until_interrupted() {
    let dir = scratch();
    let temp = [("TMPDIR", dir.path().display().to_string())];
    let mut lab =
        Process::start("lab", Path::new(QUORATE), &["lab", "up", "--size=1"], &temp, dir.path());
    lab.wait_for_log("Ctrl-C stops everything");
    let log = lab.log();
    let word = |before: &str| {
        let (_, rest) = log.split_once(before).unwrap_or_else(|| panic!("{before}: {log}"));
        rest.split(char::is_whitespace).next().unwrap().to_owned()
    };
    let endpoint = word("ETCDCTL_ENDPOINTS=");
    if let Some(put) = etcdctl(&endpoint, &["put", "k", "v"]) {
        assert_eq!(String::from_utf8_lossy(&put.stdout), "OK\n");
    }
    let new = word("curl '").trim_end_matches('\'').to_owned();
    assert_eq!(http("GET", &new, None).unwrap().status, 200);
    lab.signal(rustix::process::Signal::INT);
    assert_eq!(lab.wait_for_end().code(), Some(0));
    assert!(http("GET", &format!("{endpoint}/health"), None).is_err(), "the node lives on");
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left, [dir.path().join("lab.log")]);
}

/// Killed with -9 the lab cannot clean up, but its children go with it.
#[test]
fn lab_that_is_killed_takes_its_children_along() {
    let dir = scratch();
    let temp = [("TMPDIR", dir.path().display().to_string())];
    let mut lab =
        Process::start("lab", Path::new(QUORATE), &["lab", "up", "--size=1"], &temp, dir.path());
    lab.wait_for_log("Ctrl-C stops everything");
    let log = lab.log();
    let (_, rest) = log.split_once("ETCDCTL_ENDPOINTS=").unwrap();
    let endpoint = rest.split(char::is_whitespace).next().unwrap().to_owned();
    lab.kill();
    wait("the node to go", || {
        http("GET", &format!("{endpoint}/health"), None).is_err().then_some(())
    });
}

#[test]
fn lab_shows_the_log_of_a_child_that_fails() {
    let dir = scratch();
    let output = run(QUORATE, &["lab", "up", "--once", "--size=1", "--etcd=/bin/false"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
    assert!(text.contains("infra1 ended with exit status: 1"), "{text}");
    assert!(text.contains("The last lines of infra1") && text.contains("Hint:"), "{text}");
    let kept = format!("--keep={}", dir.path().display());
    std::fs::write(dir.path().join("file"), "").unwrap();
    let refused = run(QUORATE, &["lab", "up", "--once", &kept]);
    assert_eq!(refused.status.code(), Some(2));
}

/// The demo of the README, line by line.
#[test]
fn readme_demo() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("<!-- demo -->\n```sh\n").expect("the README has a demo");
    let (demo, _) = rest.split_once("```").unwrap();
    let script = demo.replace("cargo run --release --", QUORATE);
    let Some(_) = tools::etcdctl() else { return };
    let dir = scratch();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(dir.path())
        .env("PATH", path_with(Path::new(NODE).parent().unwrap()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{script}\n{output:?}");
}

fn path_with(dir: &Path) -> std::ffi::OsString {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(dir.to_owned()).chain(std::env::split_paths(&old));
    std::env::join_paths(all).unwrap()
}
