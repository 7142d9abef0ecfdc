use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::Name;
use tokio::runtime::Handle;
use tokio::sync::watch as watched;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::health::Health;
use super::publish::Publisher;
use super::reload::Settled;
use super::{Failure, running};
use crate::config::serve::{Config, Flags, PublicUrl, StoreAccess};
use crate::discovery_server::{Accounts, Secrets, SecretsError};
use crate::dns_server::{
    self, Bound, Catalog, Cookies, Dnsmasq, DnsmasqError, DomainError, FileError, LocalSources,
    LoopError, QueryLog, Settings, Transfers, Upstreams,
};
use crate::registry::{self, Registry};
use crate::transport::tls::{
    Allowed, ClientAuth, ClientOptions, Expiry, Pair, Policy, ServerOptions, Spoken, TlsClient,
    TlsError, TlsServer, watch,
};
use crate::transport::{self, Dialer, ListenError};
use crate::{discovery_server, shutdown, telemetry};

/// How often expired tokens are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// How often the whole database is read and checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(3600);

/// Where the keys of operators are unless somebody says otherwise.
pub(super) const ADMIN_KEY_FILE: &str = "admin.key";

/// What stops the service, or keeps it from starting.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(
        "address already in use: another program listens on {0}; stop it or choose another --http-addr"
    )]
    Occupied(SocketAddr),
    #[error("--http-addr")]
    Listen(#[source] ListenError),
    #[error("--tls-cert, --tls-key, --tls-client-ca")]
    Tls(#[source] TlsError),
    #[error("{task} ended unexpectedly")]
    Ended { task: &'static str },
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
    #[error("--discovery-users `{}`", path.display())]
    UsersFile { path: PathBuf, source: std::io::Error },
    #[error("--discovery-users `{}`: {problem}", path.display())]
    Users { path: PathBuf, problem: String },
    #[error("--dns-query-log `{}` cannot be opened", .0.display())]
    QueryLog(PathBuf, #[source] std::io::Error),
    #[error("--cluster-domain")]
    Domain(#[from] DomainError),
}

/// A part of the service, by the name that messages use.
type Task = (&'static str, Result<(), Failure>);

/// Runs the service until a signal ends it.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let config = Config::load(flags, |name| std::env::var(name).ok())
        .map_err(|problems| Failure::Configuration(problems.into()))?;
    let lines = telemetry::Options {
        level: config.log_level,
        format: config.log_format,
        ..telemetry::Options::default()
    };
    let level = telemetry::init(&lines).map_err(running)?;
    let settings = Settled { flags: flags.clone(), in_use: config.clone(), level };
    super::run(serve(config, settings))
}

async fn serve(config: Config, settled: Settled) -> Result<(), Failure> {
    let catalog = catalog(&config).map_err(|error| Failure::Configuration(error.into()))?;
    let accounts = accounts(&config).map_err(|error| Failure::Configuration(error.into()))?;
    let registry_config = registry::Config {
        data_dir: config.data_dir.clone(),
        cluster: cluster(&config).map_err(|error| Failure::Configuration(error.into()))?,
        token_ttl: config.token_ttl,
        sealed_ttl: config.sealed_ttl,
        max_surplus: config.limits.surplus,
    };
    let (registry, writer) = Registry::open(registry_config).await.map_err(running)?;
    let tls = secured(&config, Spoken::Http)?;
    let listeners = bind(&config.http_addresses, tls.as_ref()).await?;
    let (admin_keys, new_keys) = keys(&config)?;
    let (sockets, dns_tls) = dns_sockets(&config)?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        data.dir = %config.data_dir.display(),
        registry.index = registry.index(),
        "quorate starts"
    );
    let stop = CancellationToken::new();
    let checking = check(registry.clone(), stop.clone());
    let reloading =
        settled.reload(admin_keys.clone(), new_keys.clone(), accounts.clone(), stop.clone());
    let metrics = prometheus::Registry::new();
    let mut tasks: JoinSet<Task> = JoinSet::new();
    let signals = shutdown::on_signal(stop.clone());
    tasks.spawn(async { ("signal handling", signals.await.map_err(running)) });
    tasks.spawn(async { ("the registry's writer", writer.run().await.map_err(running)) });
    tasks.spawn(async { ("the check of the registry", checking.await.map_err(running)) });
    tasks.spawn(async { ("reloading", reloading.await.map_err(running)) });
    let sweeping = sweep(registry.clone(), stop.clone());
    tasks.spawn(named("the sweep of expired tokens", sweeping));
    if !sockets.is_empty() {
        catalog.counters().register(&metrics).map_err(running)?;
        let settings = answering(&config).map_err(running)?;
        let dns = dns_server::serve(sockets, Arc::clone(&catalog), settings, stop.clone());
        tasks.spawn(async { ("DNS", dns.await.map_err(running)) });
    }
    if config.cluster_domain.is_some() {
        publish(&mut tasks, &config, &registry, catalog, &stop);
    }
    if let Some(tls) = tls {
        let expiry = Expiry::new("quorate_tls_certificate_not_after_seconds", tls.clone());
        metrics.register(Box::new(expiry)).map_err(running)?;
        let servers = std::iter::once(tls).chain(dns_tls).collect();
        tasks.spawn(named("the watch of certificates", watch(servers, vec![], stop.clone())));
    }
    if let Some(first) = listeners.first() {
        let public_url = public_url(&config, first);
        for listener in &listeners {
            let address = listener.address();
            info!(http.address = %address, public.url = %public_url, "serving HTTP");
        }
        let public_url = public_url.as_str().to_owned();
        let config = discovery_server::Config {
            public_url,
            max_size: config.max_size,
            http: config.http,
            max_body_bytes: config.max_body_bytes,
            body_timeout: config.body_timeout,
            limits: config.limits,
            accounts,
            new_rate: config.new_rate,
            token_rate: config.token_rate,
            waiters: config.waiters,
            new_keys,
            admin_keys: Some(admin_keys),
            admin_certificates: config.tls_client_ca.is_some(),
            metrics,
        };
        let http = discovery_server::serve(listeners, config, registry, stop.clone());
        tasks.spawn(named("HTTP", http));
    } else {
        // The writer ends with the last handle.
        drop(registry);
    }
    supervise(tasks, &stop).await
}

/// The sockets of DNS, and the TLS of those that speak it.
fn dns_sockets(config: &Config) -> Result<(Vec<Bound>, Option<TlsServer>), Failure> {
    let sockets: Result<Vec<Bound>, _> =
        config.dns_addresses.iter().map(|address| Bound::bind(*address)).collect();
    let mut sockets = sockets.map_err(running)?;
    if config.dot_addresses.is_empty() {
        return Ok((sockets, None));
    }
    let tls = secured(config, Spoken::Dns)?;
    for (address, tls) in config.dot_addresses.iter().zip(tls.iter().cycle()) {
        sockets.push(Bound::bind_tls(*address, tls.clone()).map_err(running)?);
    }
    Ok((sockets, tls))
}

/// Shows complete clusters in DNS, and leaves closed members out of it where that is wanted.
fn publish(
    tasks: &mut JoinSet<Task>,
    config: &Config,
    registry: &Registry,
    catalog: Arc<Catalog>,
    stop: &CancellationToken,
) {
    let (closed, known_closed) = watched::channel(BTreeSet::new());
    if config.dns_check {
        let checking = Health::default().run(registry.clone(), closed, stop.clone());
        tasks.spawn(named("the check of client ports", checking));
    }
    let publisher = Publisher::new(registry.clone(), catalog, known_closed);
    // On a thread of its own: members wait for it, and it waits for no requests.
    let (runtime, stop) = (Handle::current(), stop.clone());
    tasks.spawn_blocking(move || runtime.block_on(named("publishing in DNS", publisher.run(stop))));
}

/// The cluster that keeps the registry, if one does.
fn cluster(config: &Config) -> Result<Option<registry::etcd::Config>, TlsError> {
    let Some(store) = &config.store else { return Ok(None) };
    let StoreAccess { login, ca, cert, key } = config.store_access.clone();
    let mut dialer = Dialer::default();
    if store.is_secure() {
        let pair = cert.zip(key).map(|(cert, key)| Pair { cert, key });
        let options = ClientOptions { pair, ca, ..Default::default() };
        dialer = dialer.secured(Some(TlsClient::load(options)?));
    }
    let members = store.members.iter().filter_map(|url| dialer.connect_lazy(url)).collect();
    let (url, prefix) = (store.text.clone(), store.prefix.clone());
    Ok(Some(registry::etcd::Config { members, url, prefix, login }))
}

/// A task that cannot fail.
async fn named(task: &'static str, work: impl Future<Output = ()>) -> Task {
    work.await;
    (task, Ok(()))
}

/// Waits for the end of all tasks; the first that fails, or ends before its time, stops the others.
async fn supervise(mut tasks: JoinSet<Task>, stop: &CancellationToken) -> Result<(), Failure> {
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let early = !stop.is_cancelled();
        stop.cancel();
        let ended = match ended {
            Ok((task, Ok(()))) if early => Err(running(Error::Ended { task })),
            Ok((_, ended)) => ended,
            Err(panic) => Err(running(panic)),
        };
        outcome = outcome.and(ended);
    }
    info!("quorate stopped");
    outcome
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

/// How DNS is answered, besides what.
fn answering(config: &Config) -> Result<Settings, Error> {
    let log = |path: &PathBuf| {
        let log = QueryLog::open(path).map_err(|error| Error::QueryLog(path.clone(), error))?;
        Ok::<_, Error>(Arc::new(log))
    };
    Ok(Settings {
        nsid: config.dns_nsid.clone(),
        cookies: Cookies::kept_in(&config.data_dir).unwrap_or_else(|error| {
            let directory = config.data_dir.display();
            warn!(data.dir = %directory, error = %error, "secret of DNS cookies cannot be kept, clients will need new ones after a restart");
            Cookies::ephemeral()
        }),
        rate_limit: config.dns_rate_limit,
        unlimited: config.recursion_allow.clone(),
        query_log: config.dns_query_log.as_ref().map(log).transpose()?,
    })
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

/// The TLS of the ports that speak this, if there is to be one.
fn secured(config: &Config, spoken: Spoken) -> Result<Option<TlsServer>, Failure> {
    let Some(pair) = config.tls.clone() else { return Ok(None) };
    let client_ca = config.tls_client_ca.clone();
    let client_auth = if client_ca.is_some() { ClientAuth::Optional } else { ClientAuth::None };
    let options = ServerOptions {
        pair,
        client_auth,
        client_ca,
        crl: None,
        allowed: Allowed::Anyone,
        check_addresses: false,
        policy: Policy::default(),
        spoken,
    };
    let failed = |error| Failure::Configuration(Error::Tls(error).into());
    TlsServer::load(options).map(Some).map_err(failed)
}

/// The users of v3 discovery, if there are any.
fn accounts(config: &Config) -> Result<Option<Accounts>, Error> {
    let Some(path) = &config.discovery_users else { return Ok(None) };
    let text = std::fs::read_to_string(path)
        .map_err(|source| Error::UsersFile { path: path.clone(), source })?;
    let accounts = Accounts::parse(&text);
    accounts.map(Some).map_err(|problem| Error::Users { path: path.clone(), problem })
}

async fn bind(
    addresses: &[SocketAddr],
    tls: Option<&TlsServer>,
) -> Result<Vec<transport::Bound>, Failure> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for &address in addresses {
        let bound = transport::Bound::bind(&address.to_string()).await;
        let listener = bound.map_err(|error| {
            running(match error {
                ListenError::InUse { .. } => Error::Occupied(address),
                error => Error::Listen(error),
            })
        })?;
        listeners.push(match tls {
            Some(tls) => listener.secured(tls.clone()),
            None => listener,
        });
    }
    Ok(listeners)
}

/// The prefix of discovery URLs: what was configured, else the address that is really bound.
fn public_url(config: &Config, listener: &transport::Bound) -> PublicUrl {
    if let Some(url) = &config.public_url {
        return url.clone();
    }
    let bound = listener.address();
    let scheme = if listener.tls().is_some() { "https" } else { "http" };
    let url = PublicUrl::of_address(scheme, bound);
    if bound.ip().is_unspecified() {
        warn!(
            public.url = %url,
            "discovery URLs will work on this machine only; set --public-url to the address that \
             nodes use"
        );
    }
    url
}

/// The keys of operators, and those to make tokens with.
fn keys(config: &Config) -> Result<(Arc<Secrets>, Option<Arc<Secrets>>), Failure> {
    let wrong = |error: SecretsError| Failure::Configuration(error.into());
    let path = config.admin_key_file.clone();
    let path = path.unwrap_or_else(|| config.data_dir.join(ADMIN_KEY_FILE));
    let admin = Secrets::open_or_create(&path).map_err(wrong)?;
    let new = config.new_key_file.as_deref().map(Secrets::open).transpose().map_err(wrong)?;
    Ok((Arc::new(admin), new.map(Arc::new)))
}

/// Looks at the files that a start would read, and creates nothing.
pub(super) fn check_files(config: &Config) -> Result<(), Failure> {
    let wrong = |error: SecretsError| Failure::Configuration(error.into());
    let files = [config.admin_key_file.as_ref(), config.new_key_file.as_ref()];
    for file in files.into_iter().flatten() {
        let is_made = Some(file) == config.admin_key_file.as_ref() && !file.exists();
        if !is_made {
            Secrets::open(file).map_err(wrong)?;
        }
    }
    catalog(config).map(drop).map_err(|error| Failure::Configuration(error.into()))
}

/// Looks for damage in the database while it is in use. What is damaged is not served.
async fn check(registry: Registry, stop: CancellationToken) -> Result<(), registry::OpenError> {
    let mut tick = tokio::time::interval(CHECK_INTERVAL);
    // The first comes at once, and opening has just looked.
    tick.tick().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = tick.tick() => match registry.check().await {
                Err(damaged @ registry::OpenError::Damaged { .. }) => return Err(damaged),
                Err(error) => warn!(error = %error, "the registry could not be checked"),
                Ok(()) => {}
            }
        }
    }
}

async fn sweep(registry: Registry, stop: CancellationToken) {
    let mut tick = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {
                // A failure is in the log already, and the next round tries again.
                let _ = registry.sweep(registry::now()).await;
            }
        }
    }
}
