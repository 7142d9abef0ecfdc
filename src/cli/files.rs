//! What `quorate serve` reads before it opens anything. `quorate config check` reads the same and throws it
//! away, so that both find the same problems.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hickory_proto::rr::Name;
use tracing::{info, warn};

use crate::config::serve::{Config, Problems, StoreAccess, StoreUrl};
use crate::discovery_server::{Accounts, Secrets};
use crate::dns_server::{
    self, Catalog, Dnsmasq, DnsmasqError, DomainError, FileError, LocalSources, LoopError,
    Transfers, Upstreams,
};
use crate::transport::chain;
use crate::transport::tls::{
    Allowed, ClientAuth, ClientOptions, Pair, Policy, ServerOptions, Spoken, TlsClient, TlsError,
    TlsServer,
};

/// Where the keys of operators are unless somebody says otherwise.
pub(super) const ADMIN_KEY_FILE: &str = "admin.key";

/// Everything that the files of a configuration say.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) catalog: Arc<Catalog>,
    /// The users of v3 discovery, if there are any.
    pub(super) accounts: Option<Accounts>,
    /// The TLS of the ports, if there is to be one.
    pub(super) tls: Option<TlsServer>,
    pub(super) dns_tls: Option<TlsServer>,
    /// How the store is asked.
    pub(super) store_tls: Option<TlsClient>,
    /// The keys to make tokens with.
    pub(super) new_keys: Option<Arc<Secrets>>,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("--zones-dir `{}` is no directory", .0.display())]
    ZonesDir(PathBuf),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "))]
    Zones(Vec<FileError>),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "))]
    Dnsmasq(Vec<DnsmasqError>),
    #[error("--dns-transfer-key `{}`: {reason}", file.display())]
    TransferKey { file: PathBuf, reason: String },
    #[error(transparent)]
    Loop(#[from] LoopError),
    #[error("--discovery-users `{}`: {problem}", path.display())]
    Users { path: PathBuf, problem: String },
    #[error("--cluster-domain")]
    Domain(#[from] DomainError),
    #[error("--tls-cert, --tls-key, --tls-client-ca")]
    Tls(#[source] TlsError),
    #[error("--store-cacert, --store-cert, --store-key")]
    StoreTls(#[source] TlsError),
}

impl Files {
    /// Reads all of them and adds what is wrong to the other problems. Creates nothing.
    pub(super) fn read(config: &Config, problems: &mut Problems) -> Option<Self> {
        let before = problems.iter().count();
        let catalog = noted(catalog(config), problems);
        let accounts = noted(accounts(config), problems);
        let (tls, dns_tls) = ports(config, problems);
        let store_tls = store(config, problems);
        let new_keys = config.new_key_file.as_deref().map(Secrets::open).transpose();
        let new_keys = noted(new_keys, problems);
        places(config, problems);
        if problems.iter().count() > before {
            return None;
        }
        let (catalog, accounts, new_keys) = (catalog?, accounts?, new_keys?.map(Arc::new));
        Some(Self { catalog, accounts, tls, dns_tls, store_tls, new_keys })
    }
}

fn noted<T, E: std::error::Error + 'static>(
    read: Result<T, E>,
    problems: &mut Problems,
) -> Option<T> {
    read.map_err(|error| problems.add(chain(&error))).ok()
}

/// The files and directories that a start makes, or opens later.
fn places(config: &Config, problems: &mut Problems) {
    let data_dir = &config.data_dir;
    if data_dir.exists() && !data_dir.is_dir() {
        problems.add(format!("--data-dir `{}` is no directory", data_dir.display()));
    }
    let keys = config.admin_key_file.clone().unwrap_or_else(|| data_dir.join(ADMIN_KEY_FILE));
    if keys.exists() {
        noted(Secrets::open(&keys), problems);
    }
    // The data directory is made, others are not.
    let made =
        [("admin-key-file", &config.admin_key_file), ("dns-query-log", &config.dns_query_log)];
    for (flag, path) in made {
        let Some(path) = path else { continue };
        let above = path.parent().filter(|above| !above.as_os_str().is_empty());
        let above = above.unwrap_or_else(|| Path::new("."));
        if !above.is_dir() && above != data_dir {
            let (path, above) = (path.display(), above.display());
            problems.add(format!("--{flag} `{path}`: there is no directory `{above}`; make it"));
        }
    }
}

/// Whether all these files can be opened; each that cannot is a problem.
fn readable(files: &[(&str, Option<&PathBuf>)], problems: &mut Problems) -> bool {
    let mut all = true;
    for (flag, path) in files {
        let Some(path) = path else { continue };
        let opened = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
            true => Err(io::ErrorKind::IsADirectory.into()),
            false => Ok(()),
        });
        if let Err(error) = opened {
            problems.add(format!("--{flag} `{}` cannot be read: {error}", path.display()));
            all = false;
        }
    }
    all
}

/// The TLS of HTTP, and of DNS where that is spoken over TLS.
fn ports(config: &Config, problems: &mut Problems) -> (Option<TlsServer>, Option<TlsServer>) {
    let Some(pair) = &config.tls else { return (None, None) };
    let files = [
        ("tls-cert", Some(&pair.cert)),
        ("tls-key", Some(&pair.key)),
        ("tls-client-ca", config.tls_client_ca.as_ref()),
    ];
    if !readable(&files, problems) {
        return (None, None);
    }
    let load = |spoken| {
        let client_ca = config.tls_client_ca.clone();
        let client_auth = if client_ca.is_some() { ClientAuth::Optional } else { ClientAuth::None };
        let options = ServerOptions {
            pair: pair.clone(),
            client_auth,
            tells_names: true,
            client_ca,
            crl: None,
            allowed: Allowed::Anyone,
            check_addresses: false,
            policy: Policy::default(),
            spoken,
        };
        TlsServer::load(options).map_err(Error::Tls)
    };
    // What is wrong for one is wrong for the other.
    let Some(http) = noted(load(Spoken::Http), problems) else { return (None, None) };
    let dns = (!config.dot_addresses.is_empty()).then(|| noted(load(Spoken::Dns), problems));
    (Some(http), dns.flatten())
}

/// The TLS of an etcds:// store.
fn store(config: &Config, problems: &mut Problems) -> Option<TlsClient> {
    config.store.as_ref().filter(|store| StoreUrl::is_secure(store))?;
    let StoreAccess { ca, cert, key, .. } = &config.store_access;
    let files =
        [("store-cacert", ca.as_ref()), ("store-cert", cert.as_ref()), ("store-key", key.as_ref())];
    if !readable(&files, problems) {
        return None;
    }
    let pair = cert.clone().zip(key.clone()).map(|(cert, key)| Pair { cert, key });
    let options = ClientOptions { pair, ca: ca.clone(), ..ClientOptions::default() };
    noted(TlsClient::load(options).map_err(Error::StoreTls), problems)
}

/// The zones of the zone files, all of which have to be right at the start, and the one in which
/// clusters are published.
fn catalog(config: &Config) -> Result<Arc<Catalog>, Error> {
    if config.zones_dir_is_given && !config.zones_dir.is_dir() {
        return Err(Error::ZonesDir(config.zones_dir.clone()));
    }
    let (catalog, warnings) = Catalog::load(&config.zones_dir).map_err(Error::Zones)?;
    for warning in warnings {
        warn!(warning = %warning, "zone is odd");
    }
    if let Some(domain) = &config.cluster_domain {
        let name = Name::from_ascii(domain).expect("the configuration checked the name");
        let addresses: Vec<_> = config.dns_addresses.iter().map(SocketAddr::ip).collect();
        catalog.set_cluster_domain(&name, &addresses)?;
        info!(dns.domain = domain, "complete clusters will be published in DNS");
    }
    let (local, upstreams) = names(config)?;
    catalog.set_local(local);
    if let Some(transfers) = transfers(config)? {
        catalog.set_transfers(transfers);
    }
    if !upstreams.servers.is_empty()
        || !upstreams.resolv_files.is_empty()
        || catalog.needs_upstreams()
    {
        catalog.set_upstreams(upstreams)?;
    }
    Ok(Arc::new(catalog))
}

/// Who may have whole zones and who is told of changes; none if nobody is named.
fn transfers(config: &Config) -> Result<Option<Transfers>, Error> {
    let keys = match &config.dns_transfer_key {
        None => Vec::new(),
        Some(file) => {
            let wrong = |reason: String| Error::TransferKey { file: file.clone(), reason };
            let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
            dns_server::read_keys(&text).map_err(|error| wrong(error.to_string()))?
        }
    };
    let (allow, notify) = (config.dns_transfer_allow.clone(), config.dns_notify.clone());
    let named = !(allow.is_empty() && keys.is_empty() && notify.is_empty());
    Ok(named.then_some(Transfers { allow, keys, notify }))
}

/// The names of hosts files and of dnsmasq's configuration, and the servers for all others.
fn names(config: &Config) -> Result<(LocalSources, Upstreams), Error> {
    let mut dnsmasq = if config.dnsmasq_conf.is_empty() {
        Dnsmasq::default()
    } else {
        Dnsmasq::load(&config.dnsmasq_conf).map_err(Error::Dnsmasq)?
    };
    for line in dnsmasq.unsupported {
        warn!("{line}");
    }
    dnsmasq.sources.hosts.splice(..0, config.hosts.iter().cloned());
    let upstreams = Upstreams {
        servers: config.upstream.iter().copied().chain(dnsmasq.servers).collect(),
        resolv_files: config.resolv_conf.iter().cloned().chain(dnsmasq.resolv_files).collect(),
        allow: config.recursion_allow.clone(),
        own: config.dns_addresses.clone(),
        ..Upstreams::default()
    };
    Ok((dnsmasq.sources, upstreams))
}

/// The users of v3 discovery, if there are any.
fn accounts(config: &Config) -> Result<Option<Accounts>, Error> {
    let Some(path) = &config.discovery_users else { return Ok(None) };
    let wrong = |problem| Error::Users { path: path.clone(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    Accounts::parse(&text).map(Some).map_err(wrong)
}
