use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tracing::{info, warn};

use super::files::Stamp;
use crate::local::hosts::{self, Host};
use crate::local::{Finding, Names, Suffixes};

/// How long clients may keep an answer from a hosts file.
pub const HOSTS_TTL: u32 = 60;

/// Where local names come from besides zones.
#[derive(Debug, Clone)]
pub struct LocalSources {
    /// What is known without any file.
    pub names: Names,
    /// Files of addresses and names; the first that names an address wins.
    pub hosts: Vec<PathBuf>,
    /// Every file in them is a hosts file.
    pub hosts_dirs: Vec<PathBuf>,
    /// Added to simple names of hosts files.
    pub expand: Suffixes,
}

/// Local names, and the files they follow.
#[derive(Debug)]
pub(super) struct LocalFiles {
    sources: LocalSources,
    held: BTreeMap<PathBuf, Held>,
    /// Directories that were named in the log because they cannot be read.
    unreadable: BTreeSet<PathBuf>,
}

/// The contents of a file when it could last be read.
#[derive(Debug, Default)]
struct Held {
    seen: Option<Stamp>,
    /// `None` before the first look at it.
    read: Option<Option<Stamp>>,
    hosts: Vec<Host>,
}

impl LocalFiles {
    pub(super) fn new(sources: LocalSources) -> Self {
        Self { sources, held: BTreeMap::new(), unreadable: BTreeSet::new() }
    }

    /// Reads what is new or has changed, and puts the names that follow into service.
    ///
    /// With `settle` a changed file is read only when two looks in a row saw the same.
    pub(super) fn refresh(&mut self, settle: bool, served: &ArcSwap<Names>) {
        let paths = self.paths();
        let before = self.held.len();
        self.held.retain(|path, _| paths.contains(path));
        let mut changed = self.held.len() != before;
        for path in &paths {
            let held = self.held.entry(path.clone()).or_default();
            let stamp = std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
            let settled = std::mem::replace(&mut held.seen, stamp) == stamp;
            if held.read == Some(stamp) || (settle && !settled) {
                continue;
            }
            held.read = Some(stamp);
            changed |= held.load(path);
        }
        if changed {
            let mut names = self.sources.names.clone();
            for host in paths.iter().filter_map(|path| self.held.get(path)).flat_map(|it| &it.hosts)
            {
                names.add_host(host, &self.sources.expand);
            }
            served.store(Arc::new(names));
        }
    }

    fn paths(&mut self) -> Vec<PathBuf> {
        let mut paths = self.sources.hosts.clone();
        for directory in &self.sources.hosts_dirs {
            match files_of(directory) {
                Ok(files) => {
                    self.unreadable.remove(directory);
                    paths.extend(files);
                }
                // It holds none, and may come.
                Err(error) => {
                    if self.unreadable.insert(directory.clone()) {
                        let directory = directory.display();
                        warn!(dns.hostsdir = %directory, error = %error, "hosts directory cannot be read");
                    }
                }
            }
        }
        paths
    }
}

/// The hosts files in a directory, by name.
pub(super) fn files_of(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory)?.flatten();
    let mut files: Vec<_> =
        entries.map(|entry| entry.path()).filter(|path| is_plain(path)).collect();
    files.sort_unstable();
    Ok(files)
}

/// Editors leave `.x`, `x~` and `#x#` beside a file.
fn is_plain(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
    let kept =
        |name: &[u8]| name.starts_with(b".") || name.ends_with(b"~") || name.starts_with(b"#");
    path.is_file() && !kept(name)
}

impl Held {
    /// Whether the file could be read. What was known before stays otherwise.
    fn load(&mut self, path: &Path) -> bool {
        let file = path.display();
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) => {
                warn!(dns.hosts = %file, error = %error, "hosts file cannot be read");
                return false;
            }
        };
        let (hosts, findings) = hosts::read(&String::from_utf8_lossy(&text));
        for Finding { line, fault } in findings {
            warn!("hosts file `{file}`, line {line}: {fault}");
        }
        info!(dns.hosts = %file, lines = hosts.len(), "hosts file loaded");
        self.hosts = hosts;
        true
    }
}
