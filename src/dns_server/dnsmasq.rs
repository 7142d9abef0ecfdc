use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hickory_proto::rr::{Name, RData};

use super::local::{HOSTS_TTL, LocalSources};
use crate::local::dnsmasq::{self, Policy, Setting};
use crate::local::{Fault, Names, Suffixes};

/// Answers are not kept by clients unless `local-ttl` says so, as dnsmasq has it.
const TTL: u32 = 0;
/// Files that name each other in a circle end here.
const DEEPEST: usize = 16;
const SYSTEM_RESOLV_CONF: &str = "/etc/resolv.conf";
const SYSTEM_HOSTS: &str = "/etc/hosts";

/// What dnsmasq's configuration files say.
#[derive(Debug)]
pub struct Dnsmasq {
    pub sources: LocalSources,
    /// Servers for names that are not known here.
    pub servers: Vec<SocketAddr>,
    /// Files that name such servers.
    pub resolv_files: Vec<PathBuf>,
    /// What is said about whole domains, in the order of the lines.
    pub domains: Vec<(Name, Policy)>,
    /// Lines that do nothing here.
    pub unsupported: Vec<Unsupported>,
}

/// A place in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: PathBuf,
    pub line: u32,
}

/// A line that does nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    pub place: Place,
    pub option: String,
}

/// A file that cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum DnsmasqError {
    #[error("{place}: {fault}")]
    Line { place: Place, fault: Fault },
    #[error("dnsmasq file `{}` cannot be read: {error}", file.display())]
    Read { file: PathBuf, error: std::io::Error },
    #[error("{place}: `conf-file` and `conf-dir` lead deeper than {DEEPEST} files")]
    Deep { place: Place },
}

impl Dnsmasq {
    /// Reads the files and those that they include; all errors are reported.
    pub fn load(files: &[PathBuf]) -> Result<Self, Vec<DnsmasqError>> {
        let mut reading = Reading::default();
        for file in files {
            reading.file(file, 0);
        }
        if reading.errors.is_empty() { Ok(reading.finish()) } else { Err(reading.errors) }
    }
}

impl Default for Dnsmasq {
    /// As if there was no dnsmasq: nothing is known, and clients may keep what comes from hosts files.
    fn default() -> Self {
        let sources = LocalSources {
            names: Names::new(HOSTS_TTL),
            hosts: Vec::new(),
            hosts_dirs: Vec::new(),
            expand: Suffixes::default(),
        };
        let (servers, resolv_files, domains) = (Vec::new(), Vec::new(), Vec::new());
        Self { sources, servers, resolv_files, domains, unsupported: Vec::new() }
    }
}

#[derive(Debug, Default)]
struct Reading {
    settings: Vec<Setting>,
    unsupported: Vec<Unsupported>,
    errors: Vec<DnsmasqError>,
}

impl Reading {
    fn file(&mut self, file: &Path, depth: usize) {
        let text = match std::fs::read(file) {
            Ok(text) => text,
            Err(error) => {
                self.errors.push(DnsmasqError::Read { file: file.to_owned(), error });
                return;
            }
        };
        let (settings, findings) = dnsmasq::read(&String::from_utf8_lossy(&text));
        let place = |line| Place { file: file.to_owned(), line };
        for finding in findings {
            let (place, fault) = (place(finding.line), finding.fault);
            self.errors.push(DnsmasqError::Line { place, fault });
        }
        for (line, setting) in settings {
            let included = match setting {
                Setting::ConfFile(path) => vec![PathBuf::from(path)],
                Setting::ConfDir { path, only, except } => {
                    self.directory(Path::new(&path), &only, &except)
                }
                setting => {
                    match unsupported(&setting) {
                        None => self.settings.push(setting),
                        Some(option) => {
                            self.unsupported.push(Unsupported { place: place(line), option });
                        }
                    }
                    continue;
                }
            };
            if depth == DEEPEST {
                self.errors.push(DnsmasqError::Deep { place: place(line) });
                return;
            }
            for path in included {
                self.file(&path, depth + 1);
            }
        }
    }

    /// The files of a directory that count, in the order of their names.
    fn directory(&mut self, path: &Path, only: &[String], except: &[String]) -> Vec<PathBuf> {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => {
                self.errors.push(DnsmasqError::Read { file: path.to_owned(), error });
                return Vec::new();
            }
        };
        let counts = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            let ends = |endings: &[String]| endings.iter().any(|it| name.ends_with(it.as_str()));
            let left = name.starts_with('.') || name.ends_with('~') || name.starts_with('#');
            path.is_file() && !left && !ends(except) && (only.is_empty() || ends(only))
        };
        let mut files: Vec<_> =
            entries.flatten().map(|entry| entry.path()).filter(counts).collect();
        files.sort_unstable();
        files
    }

    fn finish(self) -> Dnsmasq {
        let ttl = self.settings.iter().rev().find_map(|setting| match setting {
            Setting::LocalTtl(ttl) => Some(*ttl),
            _ => None,
        });
        let domain = self.settings.iter().rev().find_map(|setting| match setting {
            Setting::Domain(domain) => Some(domain.clone()),
            _ => None,
        });
        let ranges = self.settings.iter().filter_map(|setting| match setting {
            Setting::DomainOf { name, range } => Some((range.clone(), name.clone())),
            _ => None,
        });
        let suffixes = Suffixes { usual: domain.clone(), ranges: ranges.collect() };
        let has = |wanted: &Setting| self.settings.contains(wanted);
        let system = (!has(&Setting::NoHosts)).then(|| PathBuf::from(SYSTEM_HOSTS));
        let mut sources = LocalSources {
            names: Names::new(ttl.unwrap_or(TTL)),
            hosts: system.into_iter().collect(),
            hosts_dirs: Vec::new(),
            expand: if has(&Setting::ExpandHosts) { suffixes } else { Suffixes::default() },
        };
        let (mut servers, mut resolv_files) = (Vec::new(), Vec::new());
        let mut domains = Vec::new();
        for setting in &self.settings {
            match setting {
                Setting::Domains { names, policy } => {
                    domains.extend(names.iter().map(|name| (name.clone(), *policy)));
                }
                Setting::Server(server) => servers.push(*server),
                Setting::ResolvFile(path) => resolv_files.push(PathBuf::from(path)),
                _ => {}
            }
        }
        if has(&Setting::NoResolv) {
            resolv_files.clear();
        } else if resolv_files.is_empty() {
            resolv_files.push(PathBuf::from(SYSTEM_RESOLV_CONF));
        }
        // Explicit pointers come before those that follow from addresses.
        let (records, others): (Vec<_>, Vec<_>) = self
            .settings
            .into_iter()
            .partition(|setting| matches!(setting, Setting::Record { .. }));
        for setting in records.into_iter().chain(others) {
            sources.add(setting, domain.as_ref());
        }
        Dnsmasq { sources, servers, resolv_files, domains, unsupported: self.unsupported }
    }
}

/// What to call a line that does nothing here.
fn unsupported(setting: &Setting) -> Option<String> {
    match setting {
        Setting::Unsupported(option) => Some(option.clone()),
        _ => None,
    }
}

impl LocalSources {
    fn add(&mut self, setting: Setting, domain: Option<&Name>) {
        let names = &mut self.names;
        match setting {
            Setting::Record { name, data, ttl } => names.add(&name, data, ttl),
            Setting::Service { name, data } => {
                let bare = domain.filter(|_| name.iter().count() == 2);
                // Too long together means that nobody can ask for it.
                let long = bare.and_then(|domain| name.clone().append_domain(domain).ok());
                names.add(&long.unwrap_or(name), RData::SRV(data), None);
            }
            Setting::Host { names: owners, addresses, ttl } => {
                for owner in &owners {
                    addresses.iter().for_each(|it| names.add_address(owner, *it, ttl));
                }
            }
            Setting::Domains { names: domains, policy } => {
                domains.iter().for_each(|domain| names.add_policy(domain, policy));
            }
            Setting::AddnHosts(path) if Path::new(&path).is_dir() => {
                self.hosts_dirs.push(path.into());
            }
            Setting::AddnHosts(path) => self.hosts.push(path.into()),
            Setting::HostsDir(path) => self.hosts_dirs.push(path.into()),
            // Looked at as a whole, or while the files were read.
            _ => {}
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dnsmasq file `{}`, line {}", self.file.display(), self.line)
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}` does nothing here", self.place, self.option)
    }
}
