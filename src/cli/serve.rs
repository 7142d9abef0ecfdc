use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::CommandFactory as _;
use tokio::runtime::Handle;
use tokio::sync::watch as watched;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::files::{ADMIN_KEY_FILE, Files};
use super::health::Health;
use super::publish::Publisher;
use super::reload::Settled;
use super::{Failure, Quorate, environment, running};
use crate::config::serve::{Config, Flags, Problems, PublicUrl, unknown_variables};
use crate::discovery_server::{Secrets, SecretsError};
use crate::dns_server::{self, Bound, Catalog, Cookies, QueryLog, Settings};
use crate::registry::{self, Registry};
use crate::transport::tls::{Expiry, TlsClient, TlsServer, watch};
use crate::transport::{self, Dialer, ListenError};
use crate::{discovery_server, shutdown, telemetry};

/// How often expired tokens are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// How often the whole database is read and checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(3600);

/// What stops the service, or keeps it from starting.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(
        "address already in use: another program listens on {0}; stop it or choose another --http-addr"
    )]
    Occupied(SocketAddr),
    #[error("--http-addr")]
    Listen(#[source] ListenError),
    #[error(
        "--http-addr {0}: ports below 1024 need root or CAP_NET_BIND_SERVICE; take a higher one"
    )]
    Privileged(SocketAddr),
    #[error("{task} ended unexpectedly")]
    Ended { task: &'static str },
    #[error("--dns-query-log `{}` cannot be opened", .0.display())]
    QueryLog(PathBuf, #[source] std::io::Error),
}

/// A part of the service, by the name that messages use.
type Task = (&'static str, Result<(), Failure>);

/// Reads the settings and all files they name, for a start. Whoever starts says how lines are logged
/// once the settings are known to be right.
fn load<T>(
    flags: &Flags,
    begin: impl FnOnce(&Config) -> Result<T, Failure>,
) -> Result<(Config, Files, T), Failure> {
    let (config, mut problems) = Config::read(flags, |name| std::env::var(name).ok());
    let begun = problems.is_empty().then(|| begin(&config)).transpose()?;
    let files = Files::read(&config, &mut problems);
    match (files, begun) {
        (Some(files), Some(begun)) => Ok((config, files, begun)),
        _ => Err(Failure::Configuration(problems.into())),
    }
}

/// Everything that is wrong with the settings and with the files they name.
pub(super) fn problems(flags: &Flags) -> Problems {
    let (config, mut problems) = Config::read(flags, |name| std::env::var(name).ok());
    // What the files hold is for a start.
    drop(Files::read(&config, &mut problems));
    problems
}

/// Runs the service until a signal ends it.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let (config, files, level) = load(flags, |config| {
        let lines = telemetry::Options {
            level: config.log_level,
            format: config.log_format,
            ..telemetry::Options::default()
        };
        telemetry::init(&lines).map_err(running)
    })?;
    let strange = strange_variables();
    if !strange.is_empty() {
        warn!(variables = strange.join("; "), "the environment has variables that mean nothing");
    }
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        // A waiting node then costs a few KiB more.
        debug!(%error, "the system keeps its huge pages");
    }
    let settings = Settled { flags: flags.clone(), in_use: config.clone(), level };
    super::run(serve(config, files, settings))
}

/// Variables that look like ours and are not.
pub(super) fn strange_variables() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    unknown_variables(names, &environment::names(&Quorate::command()))
}

async fn serve(config: Config, files: Files, settled: Settled) -> Result<(), Failure> {
    let Files { catalog, accounts, tls, dns_tls, store_tls, new_keys } = files;
    let registry_config = registry::Config {
        data_dir: config.data_dir.clone(),
        cluster: cluster(&config, store_tls),
        token_ttl: config.token_ttl,
        sealed_ttl: config.sealed_ttl,
        max_surplus: config.limits.surplus,
    };
    let (registry, writer) = Registry::open(registry_config).await.map_err(running)?;
    let listeners = bind(&config.http_addresses, tls.as_ref()).await?;
    let admin_keys = admin_keys(&config)?;
    let sockets = dns_sockets(&config, dns_tls.as_ref())?;
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
        let http = discovery_server::Config {
            accounts,
            new_keys,
            admin_keys: Some(admin_keys),
            ..http_config(&config, &public_url, metrics)
        };
        let http = discovery_server::serve(listeners, http, registry, stop.clone());
        tasks.spawn(named("HTTP", http));
    } else {
        // The writer ends with the last handle.
        drop(registry);
    }
    supervise(tasks, &stop).await
}

/// The sockets of DNS.
fn dns_sockets(config: &Config, tls: Option<&TlsServer>) -> Result<Vec<Bound>, Failure> {
    let sockets: Result<Vec<Bound>, _> =
        config.dns_addresses.iter().map(|address| Bound::bind(*address)).collect();
    let mut sockets = sockets.map_err(running)?;
    for (address, tls) in config.dot_addresses.iter().zip(tls.into_iter().cycle()) {
        sockets.push(Bound::bind_tls(*address, tls.clone()).map_err(running)?);
    }
    Ok(sockets)
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
fn cluster(config: &Config, tls: Option<TlsClient>) -> Option<registry::etcd::Config> {
    let store = config.store.as_ref()?;
    let dialer = Dialer::default().secured(tls);
    let channel = |url| dialer.connect_lazy(std::slice::from_ref(url));
    let members = store.members.iter().filter_map(channel).collect();
    let (url, prefix) = (store.text.clone(), store.prefix.clone());
    let login = config.store_access.login.clone();
    Some(registry::etcd::Config { members, url, prefix, login })
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
                ListenError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                    Error::Privileged(address)
                }
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

/// The keys of operators; one is made where there is none.
fn admin_keys(config: &Config) -> Result<Arc<Secrets>, Failure> {
    let path = config.admin_key_file.clone();
    let path = path.unwrap_or_else(|| config.data_dir.join(ADMIN_KEY_FILE));
    let keys = Secrets::open_or_create(&path);
    keys.map(Arc::new).map_err(|error: SecretsError| Failure::Configuration(error.into()))
}

/// How HTTP is answered, but for the keys and accounts, which are read again while it is.
fn http_config(
    config: &Config,
    public_url: &PublicUrl,
    metrics: prometheus::Registry,
) -> discovery_server::Config {
    discovery_server::Config {
        public_url: public_url.as_str().to_owned(),
        max_size: config.max_size,
        limits: config.limits,
        http: config.http.clone(),
        max_body_bytes: config.max_body_bytes,
        body_timeout: config.body_timeout,
        new_rate: config.new_rate,
        token_rate: config.token_rate,
        waiters: config.waiters,
        new_keys: None,
        admin_keys: None,
        admin_certificates: config.tls_client_ca.is_some(),
        accounts: None,
        metrics,
    }
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
