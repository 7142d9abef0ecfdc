//! `quorate serve`: what the operator typed, and what the program needs.
//!
//! A setting comes from its flag, else from `QUORATE_` + the flag in upper case, else from the file
//! named by `--config-file` (TOML, the flag's name as key), else it has its default. All values are
//! read as text first, so that a wrong one is reported together with all the others and with the
//! place it came from.

mod flags;
mod problems;
mod sources;
mod store;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

pub use flags::Flags;
pub use problems::{Problem, Problems};
pub use sources::unknown_variables;
pub use store::{StoreAccess, StoreUrl};
pub use values::PublicUrl;

use crate::admission::{Limits, Ttl};
use crate::discovery_server::{Rate, WaiterLimits};
use crate::dns_server::{DEFAULT_RATE_LIMIT, Network};
use crate::telemetry::Format;
use crate::transport::Http;
use crate::transport::tls::Pair;
use sources::Sources;

/// The checked configuration of `quorate serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub data_dir: PathBuf,
    /// The cluster that keeps the registry instead of the data directory.
    pub store: Option<StoreUrl>,
    pub store_access: StoreAccess,
    /// Empty when HTTP is off.
    pub http_addresses: Vec<SocketAddr>,
    /// Empty when DNS is off.
    pub dns_addresses: Vec<SocketAddr>,
    /// Where DNS is served over TLS.
    pub dot_addresses: Vec<SocketAddr>,
    /// Without it, URLs start with the address that HTTP is bound to first.
    pub public_url: Option<PublicUrl>,
    pub zones_dir: PathBuf,
    /// Whether somebody asked for that directory; the default may be missing.
    pub zones_dir_is_given: bool,
    /// Hosts files, the first that names an address wins.
    pub hosts: Vec<PathBuf>,
    /// Configuration files of dnsmasq.
    pub dnsmasq_conf: Vec<PathBuf>,
    /// DNS servers for names that are not known here.
    pub upstream: Vec<SocketAddr>,
    /// A file that names such servers.
    pub resolv_conf: Option<PathBuf>,
    /// Clients for whom other servers are asked.
    pub recursion_allow: Vec<Network>,
    /// Servers that may have whole zones.
    pub dns_transfer_allow: Vec<Network>,
    /// The keys that sign transfers.
    pub dns_transfer_key: Option<PathBuf>,
    /// Servers that are told of changed zones.
    pub dns_notify: Vec<SocketAddr>,
    /// What this DNS server calls itself.
    pub dns_nsid: Option<String>,
    /// Answers per second and network of clients; none is no limit.
    pub dns_rate_limit: Option<u32>,
    /// The file that gets a line for each DNS answer.
    pub dns_query_log: Option<PathBuf>,
    /// The zone in which clusters are published, without a dot at the end.
    pub cluster_domain: Option<String>,
    /// Whether client ports of published clusters are tried.
    pub dns_check: bool,
    /// Names the users of v3 discovery.
    pub discovery_users: Option<PathBuf>,
    pub max_size: u32,
    /// How long a token waits for its founders.
    pub token_ttl: Ttl,
    /// How long a full token is kept.
    pub sealed_ttl: Ttl,
    /// Certificate and key of the HTTP port.
    pub tls: Option<Pair>,
    /// The authority of client certificates.
    pub tls_client_ca: Option<PathBuf>,
    /// What clients of the HTTP port may do.
    pub http: Http,
    pub max_body_bytes: usize,
    pub body_timeout: Duration,
    /// Without it, the keys of operators are in the data directory.
    pub admin_key_file: Option<PathBuf>,
    /// Keys that everybody but loopback needs to make tokens.
    pub new_key_file: Option<PathBuf>,
    /// How often one address or one key may make a token.
    pub new_rate: Option<Rate>,
    /// How often one token may be asked for.
    pub token_rate: Option<Rate>,
    /// What a registration may be at most.
    pub limits: Limits,
    pub waiters: WaiterLimits,
    pub log_level: LevelFilter,
    pub log_format: Format,
}

/// Every setting: the flag without its dashes, the key in the file.
const SETTINGS: [&str; 52] = [
    "data-dir",
    "store",
    "store-user",
    "store-cacert",
    "store-cert",
    "store-key",
    "http-addr",
    "dns-addr",
    "dot-addr",
    "public-url",
    "zones-dir",
    "hosts",
    "dnsmasq-conf",
    "upstream",
    "resolv-conf",
    "recursion-allow",
    "dns-transfer-allow",
    "dns-transfer-key",
    "dns-notify",
    "dns-nsid",
    "dns-rate-limit",
    "dns-query-log",
    "cluster-domain",
    "dns-check",
    "discovery-users",
    "max-size",
    "token-ttl",
    "sealed-ttl",
    "tls-cert",
    "tls-key",
    "tls-client-ca",
    "trusted-proxy",
    "max-connections",
    "max-head-bytes",
    "max-body-bytes",
    "head-timeout",
    "body-timeout",
    "idle-timeout",
    "max-streams",
    "max-resets",
    "admin-key-file",
    "new-key-file",
    "new-rate",
    "token-rate",
    "max-value-bytes",
    "max-name-bytes",
    "max-urls",
    "max-surplus",
    "max-waiters",
    "max-waiters-per-token",
    "log-level",
    "log-format",
];

/// Those that may be given several times.
const LISTS: [&str; 10] = [
    "http-addr",
    "dns-addr",
    "dot-addr",
    "hosts",
    "dnsmasq-conf",
    "upstream",
    "recursion-allow",
    "dns-transfer-allow",
    "dns-notify",
    "trusted-proxy",
];

/// Those that are on or off; the flag alone is on.
const SWITCHES: [&str; 1] = ["dns-check"];

const DEFAULT_HTTP: &str = "127.0.0.1:8087";
const DEFAULT_DNS: &str = "127.0.0.1:8053";
/// There is no DNS over TLS unless it is asked for.
const USUAL_DOT: &str = "127.0.0.1:853";
const DEFAULT_DATA_DIR: &str = "quorate.data";
const DEFAULT_ZONES_DIR: &str = "dns-zones";
const DEFAULT_HEAD_BYTES: usize = 16 << 10;
const DEFAULT_BODY_BYTES: usize = 64 << 10;
const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(4);
const DEFAULT_IDLE: Duration = Duration::from_secs(300);
const DEFAULT_STREAMS: u32 = 256;
const DEFAULT_RESETS: usize = 100;
const DEFAULT_MAX_SIZE: u32 = 9;
const DEFAULT_TOKEN_TTL: Ttl = Ttl::from_hours(24);
const DEFAULT_SEALED_TTL: Ttl = Ttl::from_hours(7 * 24);

impl Config {
    /// Reads the settings from the flags, this environment and the file they name.
    pub fn load(
        flags: &Flags,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Problems> {
        let (config, problems) = Self::read(flags, environment);
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// The same, with the default in the place of what is wrong: so that the files that are named
    /// can be looked at too before all problems are reported.
    pub fn read(flags: &Flags, environment: impl Fn(&str) -> Option<String>) -> (Self, Problems) {
        let mut problems = Problems::default();
        let sources = Sources::collect(flags, environment, &mut problems);
        let listen = |name, usual, problems: &mut Problems| {
            let settings = sources.all(name);
            settings.map(|settings| values::addresses(name, usual, &settings, problems))
        };
        let [http, dns, dot] = [DEFAULT_HTTP, DEFAULT_DNS, USUAL_DOT].map(values::default_address);
        let http_addresses = listen("http-addr", http, &mut problems).unwrap_or_else(|| vec![http]);
        let dns_addresses = listen("dns-addr", dns, &mut problems).unwrap_or_else(|| vec![dns]);
        let dot_addresses = listen("dot-addr", dot, &mut problems).unwrap_or_default();
        let mut check = Check { sources: &sources, problems: &mut problems };
        let config = Self {
            http_addresses,
            dns_addresses,
            dot_addresses,
            data_dir: check.path("data-dir", DEFAULT_DATA_DIR),
            store: check.or("store", None, StoreUrl::parse),
            store_access: StoreAccess {
                login: check.optional("store-user", store::login),
                ca: check.optional("store-cacert", |text| Ok(PathBuf::from(text))),
                cert: check.optional("store-cert", |text| Ok(PathBuf::from(text))),
                key: check.optional("store-key", |text| Ok(PathBuf::from(text))),
            },
            zones_dir: check.path("zones-dir", DEFAULT_ZONES_DIR),
            zones_dir_is_given: sources.all("zones-dir").is_some(),
            hosts: check.paths("hosts"),
            dnsmasq_conf: check.paths("dnsmasq-conf"),
            upstream: check.list("upstream", &[], values::upstream),
            resolv_conf: check.optional("resolv-conf", |text| Ok(PathBuf::from(text))),
            recursion_allow: check.list("recursion-allow", &Network::PRIVATE, values::network),
            dns_transfer_allow: check.list("dns-transfer-allow", &[], values::network),
            dns_transfer_key: check.optional("dns-transfer-key", |text| Ok(PathBuf::from(text))),
            dns_notify: check.list("dns-notify", &[], values::upstream),
            dns_nsid: check.optional("dns-nsid", values::nsid),
            dns_rate_limit: check.or(
                "dns-rate-limit",
                Some(DEFAULT_RATE_LIMIT),
                values::rate_limit,
            ),
            dns_query_log: check.optional("dns-query-log", |text| Ok(PathBuf::from(text))),
            public_url: check.optional("public-url", PublicUrl::parse),
            cluster_domain: check.optional("cluster-domain", values::domain),
            dns_check: check.or("dns-check", false, values::switch),
            discovery_users: check.optional("discovery-users", |text| Ok(PathBuf::from(text))),
            max_size: check.or("max-size", DEFAULT_MAX_SIZE, values::max_size),
            token_ttl: check.or("token-ttl", DEFAULT_TOKEN_TTL, values::ttl),
            sealed_ttl: check.or("sealed-ttl", DEFAULT_SEALED_TTL, values::ttl),
            tls: check.pair(),
            tls_client_ca: check.optional("tls-client-ca", |text| Ok(PathBuf::from(text))),
            http: check.http(),
            max_body_bytes: check.or("max-body-bytes", DEFAULT_BODY_BYTES, values::body_bytes),
            body_timeout: check.or("body-timeout", DEFAULT_BODY_TIMEOUT, values::span),
            admin_key_file: check.optional("admin-key-file", |text| Ok(PathBuf::from(text))),
            new_key_file: check.optional("new-key-file", |text| Ok(PathBuf::from(text))),
            new_rate: check.or("new-rate", Some(Rate::NEW), values::rate),
            token_rate: check.or("token-rate", Some(Rate::TOKEN), values::rate),
            limits: check.limits(),
            waiters: check.waiters(),
            log_level: check.or("log-level", LevelFilter::INFO, values::log_level),
            log_format: check.or("log-format", Format::Text, values::log_format),
        };
        if problems.is_empty() {
            config.check_together(&mut problems);
        }
        (config, problems)
    }

    /// What is right alone and wrong together.
    fn check_together(&self, problems: &mut Problems) {
        let StoreAccess { login, ca, cert, key } = &self.store_access;
        let secure = self.store.as_ref().is_some_and(StoreUrl::is_secure);
        if login.is_some() && self.store.is_none() {
            problems.add("--store-user logs in to a cluster, but --store names none");
        }
        if (ca.is_some() || cert.is_some() || key.is_some()) && !secure {
            problems.add("--store-cacert, --store-cert and --store-key need --store etcds://...");
        }
        if cert.is_some() != key.is_some() {
            problems.add("--store-cert and --store-key belong together, and one is missing");
        }
        if self.http_addresses.is_empty() && self.dns_addresses.is_empty() {
            problems.add("--http-addr and --dns-addr are both `off`: nothing is left to serve");
        }
        if !self.hosts.is_empty() && self.dns_addresses.is_empty() {
            problems.add("--hosts are answered in DNS, but --dns-addr is `off`");
        }
        if !(self.upstream.is_empty() && self.resolv_conf.is_none())
            && self.dns_addresses.is_empty()
        {
            problems.add("--upstream and --resolv-conf serve DNS, but --dns-addr is `off`");
        }
        if !self.dnsmasq_conf.is_empty() && self.dns_addresses.is_empty() {
            problems.add("--dnsmasq-conf is answered in DNS, but --dns-addr is `off`");
        }
        let transfers = !self.dns_transfer_allow.is_empty() || self.dns_transfer_key.is_some();
        if (transfers || !self.dns_notify.is_empty()) && self.dns_addresses.is_empty() {
            problems.add("--dns-transfer-allow, --dns-transfer-key and --dns-notify serve DNS, but --dns-addr is `off`");
        }
        if self.cluster_domain.is_some() && self.dns_addresses.is_empty() {
            problems.add("--cluster-domain publishes clusters in DNS, but --dns-addr is `off`");
        }
        if self.dns_check && self.cluster_domain.is_none() {
            problems.add(
                "--dns-check looks after published clusters, but there is no --cluster-domain",
            );
        }
        if self.tls_client_ca.is_some() && self.tls.is_none() {
            problems.add("--tls-client-ca needs --tls-cert and --tls-key: without TLS nobody shows a certificate");
        }
        if !self.dot_addresses.is_empty() && self.tls.is_none() {
            problems.add(
                "--dot-addr needs --tls-cert and --tls-key: DNS over TLS shows that certificate",
            );
        }
        if !self.dot_addresses.is_empty() && self.dns_addresses.is_empty() {
            problems.add("--dot-addr serves DNS over TLS too, but --dns-addr is `off`");
        }
        if self.tls.is_some() && self.http_addresses.is_empty() && self.dot_addresses.is_empty() {
            problems.add("--tls-cert serves HTTPS and --dot-addr, but --http-addr is `off` and there is no --dot-addr");
        }
        if let Some(url) = &self.public_url
            && self.tls.is_some()
            && url.as_str().starts_with("http://")
        {
            problems.add(format!(
                "--public-url `{url}` says http, but --tls-cert makes the port HTTPS"
            ));
        }
        if self.discovery_users.is_some() && self.http_addresses.is_empty() {
            problems.add("--discovery-users guard the HTTP service, but --http-addr is `off`");
        }
        if self.public_url.is_some() && self.http_addresses.is_empty() {
            problems.add("--public-url names the HTTP service, but --http-addr is `off`");
        }
    }
}

/// Takes one setting after the other and keeps what is wrong with them.
struct Check<'a> {
    sources: &'a Sources,
    problems: &'a mut Problems,
}

impl Check<'_> {
    /// Certificate and key, which go together.
    fn pair(&mut self) -> Option<Pair> {
        let cert = self.optional("tls-cert", |text| Ok(PathBuf::from(text)));
        let key = self.optional("tls-key", |text| Ok(PathBuf::from(text)));
        match (cert, key) {
            (Some(cert), Some(key)) => return Some(Pair { cert, key }),
            (None, None) => {}
            _ => self.problems.add("--tls-cert and --tls-key go together; give both or neither"),
        }
        None
    }

    fn http(&mut self) -> Http {
        let usual = Http::default();
        let connections = values::number::<usize>(1, 1 << 20);
        let bytes = values::number::<usize>(8192, 1 << 20);
        Http {
            max_connections: self.or("max-connections", usual.max_connections, connections),
            // Less than this the library does not do.
            max_head_bytes: self.or("max-head-bytes", DEFAULT_HEAD_BYTES, bytes),
            head_timeout: self.or("head-timeout", usual.head_timeout, values::span),
            idle_timeout: Some(self.or("idle-timeout", DEFAULT_IDLE, values::span)),
            max_concurrent_streams: Some(self.or(
                "max-streams",
                DEFAULT_STREAMS,
                values::number(1, 1 << 20),
            )),
            max_resets: self.or("max-resets", DEFAULT_RESETS, values::number(1, 1 << 20)),
            trusted_proxies: self.list("trusted-proxy", &[], values::network),
            ..usual
        }
    }

    fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let settings = self.sources.all(name)?;
        let [one] = settings.as_slice() else {
            self.problems.add(format!("--{name} is given {} times, it takes one", settings.len()));
            return None;
        };
        match parse(&one.text) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.problems.add(format!("{}: {reason}", one.place(name)));
                None
            }
        }
    }

    fn or<T>(
        &mut self,
        name: &'static str,
        default: T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        self.optional(name, parse).unwrap_or(default)
    }

    /// The values of a repeatable setting, or the defaults.
    fn list<T>(
        &mut self,
        name: &'static str,
        default: &[&str],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let Some(settings) = self.sources.all(name) else {
            return default.iter().filter_map(|text| parse(text).ok()).collect();
        };
        let mut values = Vec::new();
        for setting in settings {
            match parse(&setting.text) {
                Ok(value) => values.push(value),
                Err(reason) => self.problems.add(format!("{}: {reason}", setting.place(name))),
            }
        }
        values
    }

    fn limits(&mut self) -> Limits {
        let usual = Limits::default();
        Limits {
            value_bytes: self.or("max-value-bytes", usual.value_bytes, values::count),
            name_bytes: self.or("max-name-bytes", usual.name_bytes, values::count),
            urls: self.or("max-urls", usual.urls, values::count),
            surplus: self.or("max-surplus", usual.surplus, values::count),
        }
    }

    fn waiters(&mut self) -> WaiterLimits {
        let usual = WaiterLimits::default();
        WaiterLimits {
            total: self.or("max-waiters", usual.total, values::count),
            per_token: self.or("max-waiters-per-token", usual.per_token, values::count),
        }
    }

    fn paths(&self, name: &'static str) -> Vec<PathBuf> {
        let settings = self.sources.all(name).unwrap_or_default();
        settings.into_iter().map(|setting| PathBuf::from(setting.text)).collect()
    }

    fn path(&mut self, name: &'static str, default: &str) -> PathBuf {
        self.or(name, PathBuf::from(default), |text| Ok(PathBuf::from(text)))
    }
}

#[cfg(test)]
mod tests;
