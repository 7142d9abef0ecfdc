use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Process, tools};

/// A network namespace with addresses of its own on loopback, and a resolv.conf that names 127.0.0.1.
#[derive(Debug)]
pub struct Namespace {
    ip: PathBuf,
    name: String,
}

impl Namespace {
    /// `None` when namespaces cannot be made here.
    pub fn new(suffix: &str, addresses: &[&str]) -> Option<Self> {
        let ip = tools::network_namespaces()?;
        let name = format!("quorate-{suffix}-{}", std::process::id());
        let namespace = Self { ip, name };
        namespace.ip(&["netns", "add", &namespace.name]);
        namespace.ip(&["-n", &namespace.name, "link", "set", "lo", "up"]);
        for address in addresses {
            let address = format!("{address}/32");
            namespace.ip(&["-n", &namespace.name, "addr", "add", &address, "dev", "lo"]);
        }
        fs::create_dir_all(namespace.etc()).unwrap();
        let resolv = "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n";
        fs::write(namespace.etc().join("resolv.conf"), resolv).unwrap();
        Some(namespace)
    }

    /// What `ip netns exec` puts over /etc.
    fn etc(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.name)
    }

    /// Puts a file over one of /etc, for the programs inside.
    pub fn write_etc(&self, file: &str, text: &str) {
        fs::write(self.etc().join(file), text).unwrap();
    }

    fn ip(&self, arguments: &[&str]) {
        let output = Command::new(&self.ip).args(arguments).output().unwrap();
        assert!(output.status.success(), "ip {arguments:?}: {output:?}");
    }

    /// Starts a program inside.
    pub fn start(&self, name: &str, program: &Path, flags: &[String], dir: &Path) -> Process {
        let mut arguments: Vec<OsString> =
            ["netns", "exec", &self.name].iter().map(OsString::from).collect();
        arguments.push(program.into());
        arguments.extend(flags.iter().map(OsString::from));
        Process::start(name, &self.ip, &arguments, &[], dir)
    }

    /// Runs a program inside to its end.
    pub fn run(&self, program: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.ip);
        command.args(["netns", "exec", &self.name]).arg(program).args(arguments);
        command.env("ETCDCTL_API", "3").output().unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Whatever is gone already needs no removal.
        let _ = Command::new(&self.ip).args(["netns", "del", &self.name]).output();
        let _ = fs::remove_dir_all(self.etc());
    }
}
