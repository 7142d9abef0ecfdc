//! What a file is, by its name and by what is in it.

use std::path::Path;

use clap::ValueEnum;

use super::environment;
use super::procfile;
use super::tree::Tree;
use crate::config::node::{self, Flag};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Kind {
    /// Command lines: a shell script, or one line of it
    Flags,
    /// Lines of an environment file, such as `ETCD_NAME=n1`
    Env,
    /// The configuration file of a member, --config-file
    Yaml,
    /// Processes of goreman or foreman
    Procfile,
    /// A unit of systemd, or a part of one
    Systemd,
    /// Services of docker compose
    Compose,
    /// Manifests of Kubernetes
    K8s,
    /// The configuration of dnsmasq, for its srv-host lines
    Dnsmasq,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Flags => "flags",
            Self::Env => "env",
            Self::Yaml => "yaml",
            Self::Procfile => "procfile",
            Self::Systemd => "systemd",
            Self::Compose => "compose",
            Self::K8s => "k8s",
            Self::Dnsmasq => "dnsmasq",
        }
    }

    /// The kind that a file most likely is; `None` if nothing in it is about members.
    pub(super) fn of(file: &str, text: &str) -> Option<Self> {
        let name = Path::new(file).file_name().map(|name| name.to_string_lossy().to_lowercase());
        let name = name.unwrap_or_default();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if name.starts_with("procfile") {
            return Some(Self::Procfile);
        }
        if ends(&[".service"]) || text.lines().any(|line| line.trim() == "[Service]") {
            return Some(Self::Systemd);
        }
        if ends(&[".sh", ".bash"]) || text.starts_with("#!") {
            return Some(Self::Flags);
        }
        if name.starts_with("dnsmasq") || text.lines().any(|line| line.starts_with("srv-host=")) {
            return Some(Self::Dnsmasq);
        }
        if ends(&[".yml", ".yaml", ".json"]) {
            return Some(Self::of_yaml(text).unwrap_or(Self::Yaml));
        }
        if ends(&[".env"]) {
            return Some(Self::Env);
        }
        Self::of_text(text)
    }

    fn of_yaml(text: &str) -> Option<Self> {
        let trees = Tree::read(text).ok()?;
        let has =
            |keys: &[&str]| trees.iter().any(|tree| keys.iter().all(|key| tree.get(key).is_some()));
        if has(&["apiVersion", "kind"]) {
            return Some(Self::K8s);
        }
        if has(&["services"]) {
            return Some(Self::Compose);
        }
        trees.iter().any(has_keys).then_some(Self::Yaml)
    }

    fn of_text(text: &str) -> Option<Self> {
        let lines = || {
            let lines = text.lines().map(str::trim);
            lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
        };
        let is_setting = |line: &str| {
            let line = line.strip_prefix("export ").unwrap_or(line);
            line.split_once('=').is_some_and(|(name, _)| environment::is_name(name))
        };
        let has_setting = text.contains("ETCD_");
        if has_setting && lines().all(is_setting) {
            return Some(Self::Env);
        }
        let starts = |text: &str| ["etcd", "quorate-node"].iter().any(|it| text.contains(it));
        let is_process = |line: &str| {
            procfile::process(line).is_some_and(|(_, it)| starts(it) && it.contains(" -"))
        };
        if lines().any(is_process) && lines().all(|line| procfile::process(line).is_some()) {
            return Some(Self::Procfile);
        }
        if let Some(kind) = Self::of_yaml(text) {
            return Some(kind);
        }
        if has_setting && lines().filter(|line| is_setting(line)).count() * 2 > lines().count() {
            return Some(Self::Env);
        }
        (starts(text) && text.contains('-')).then_some(Self::Flags)
    }
}

/// Whether a document has keys of a member's configuration file.
fn has_keys(tree: &Tree) -> bool {
    let known: Vec<&str> = node::flags().map(Flag::key).collect();
    tree.lines().iter().any(|(key, _)| known.contains(&key.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_name_or_by_what_is_in_it() {
        for (file, text, kind) in [
            ("Procfile", "", Some(Kind::Procfile)),
            ("etcd.service", "", Some(Kind::Systemd)),
            ("10.conf", "# x\n[Service]\nExecStart=etcd\n", Some(Kind::Systemd)),
            ("a/start.sh", "etcd", Some(Kind::Flags)),
            ("start", "#!/bin/sh\netcd --name x", Some(Kind::Flags)),
            ("line", "etcd --name x \\\n --data-dir /d", Some(Kind::Flags)),
            ("-", "# x\nETCD_NAME=x\n", Some(Kind::Env)),
            ("/etc/default/etcd", "ETCD_NAME=x\nDAEMON_ARGS=\"\"\n", Some(Kind::Env)),
            ("etcd.conf", "name: x\ndata-dir: /d\n", Some(Kind::Yaml)),
            ("-", "a: etcd --name a\nb: etcd --name b\n", Some(Kind::Procfile)),
            ("c.yml", "services:\n  a:\n    image: etcd\n", Some(Kind::Compose)),
            ("-", "apiVersion: v1\nkind: Service\n", Some(Kind::K8s)),
            ("d.conf", "srv-host=_etcd-server._tcp.a.b,c.a.b,1\n", Some(Kind::Dnsmasq)),
            ("notes.txt", "nothing of interest\n", None),
        ] {
            assert_eq!(Kind::of(file, text), kind, "{file}");
        }
    }
}
