use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::future::select_ok;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use parking_lot::Mutex;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::Network;
use super::files::Stamp;
use super::packet_cache::PacketCache;
use super::stale::Stale;
use crate::local::resolv;
use crate::zone::Answer;

/// For each try. The resolver tries again as often as [`ATTEMPTS`] says.
const TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// Clients go after some five seconds; what is said later is said to nobody.
const PATIENCE: Duration = Duration::from_secs(4);
/// Whoever has an old answer waits so long for a new one (RFC 8767 §5).
const REFRESH: Duration = Duration::from_millis(1800);
/// Answers that are kept; the oldest go.
const CACHE: u64 = 10_000;
const DNS_PORT: u16 = 53;
/// Names below these say something about private addresses, which the Internet does not know
/// (RFC 6303 §4); a server that does has to be named for them.
const PRIVATE_REVERSE: [&str; 4] =
    ["10.in-addr.arpa.", "168.192.in-addr.arpa.", "254.169.in-addr.arpa.", "d.f.ip6.arpa."];

/// Who is asked about names that nobody here knows, and for whom.
#[derive(Debug, Clone, Default)]
pub struct Upstreams {
    pub servers: Vec<SocketAddr>,
    /// Their name servers are asked too. Followed when they change.
    pub resolv_files: Vec<PathBuf>,
    /// Servers that single domains have of their own, one list for each. The catalog fills it.
    pub of_domains: Vec<Vec<SocketAddr>>,
    /// Clients for whom others are asked.
    pub allow: Vec<Network>,
    /// Where this server itself listens.
    pub own: Vec<SocketAddr>,
}

/// An upstream that is this server itself: questions would go in a circle.
#[derive(Debug, thiserror::Error)]
#[error("upstream `{0}` is this server itself; name another one or another --dns-addr")]
pub struct LoopError(SocketAddr);

/// Asks other servers and keeps what they say.
#[derive(Debug)]
pub(super) struct Forwarder {
    upstreams: Upstreams,
    default: ArcSwapOption<Upstream>,
    of_domains: BTreeMap<Vec<SocketAddr>, Upstream>,
    files: Mutex<BTreeMap<PathBuf, File>>,
    stale: Stale,
    packet_cache: PacketCache,
}

/// A set of servers with one cache.
struct Upstream {
    all: TokioResolver,
    /// Of several servers each by itself: who refuses or fails is the end of a question to all.
    each: Vec<TokioResolver>,
}

#[derive(Debug, Default)]
struct File {
    read: Option<Option<Stamp>>,
    servers: Vec<SocketAddr>,
}

impl Forwarder {
    pub(super) fn new(upstreams: Upstreams) -> Result<Self, LoopError> {
        let explicit = upstreams.servers.iter().chain(upstreams.of_domains.iter().flatten());
        if let Some(server) = explicit.clone().find(|server| is_own(**server, &upstreams.own)) {
            return Err(LoopError(*server));
        }
        let of_domains = upstreams.of_domains.iter();
        let of_domains = of_domains.map(|list| (list.clone(), Upstream::new(list))).collect();
        let forwarder = Self {
            default: ArcSwapOption::empty(),
            of_domains,
            files: Mutex::new(BTreeMap::new()),
            stale: Stale::default(),
            packet_cache: PacketCache::default(),
            upstreams,
        };
        forwarder.refresh();
        forwarder.set_default();
        Ok(forwarder)
    }

    /// Whether others are asked for this client.
    pub(super) fn allows(&self, client: IpAddr) -> bool {
        self.upstreams.allow.iter().any(|network| network.contains(client))
    }

    /// What others said before to questions of the usual shape.
    pub(super) fn packet_cache(&self) -> &PacketCache {
        &self.packet_cache
    }

    /// Reads resolver files that have changed; whether others are asked since.
    pub(super) fn refresh(&self) -> bool {
        let mut files = self.files.lock();
        let mut changed = false;
        for path in &self.upstreams.resolv_files {
            let held = files.entry(path.clone()).or_default();
            let stamp = std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
            if held.read == Some(stamp) {
                continue;
            }
            held.read = Some(stamp);
            let file = path.display();
            let text = match std::fs::read(path) {
                Ok(text) => text,
                Err(error) => {
                    warn!(dns.resolv_conf = %file, error = %error, "resolver file cannot be read");
                    continue;
                }
            };
            let (servers, findings) = resolv::read(&String::from_utf8_lossy(&text));
            for finding in findings {
                warn!("resolver file `{file}`, {finding}");
            }
            held.servers.clear();
            for server in servers.into_iter().map(|address| SocketAddr::new(address, DNS_PORT)) {
                if is_own(server, &self.upstreams.own) {
                    warn!(
                        "resolver file `{file}` names this server itself, `{server}` is left out"
                    );
                } else {
                    held.servers.push(server);
                }
            }
            info!(dns.resolv_conf = %file, servers = held.servers.len(), "resolver file loaded");
            changed = true;
        }
        drop(files);
        if changed {
            self.set_default();
        }
        changed
    }

    fn set_default(&self) {
        let files = self.files.lock();
        let mut servers = self.upstreams.servers.clone();
        servers.extend(files.values().flat_map(|file| &file.servers));
        let upstream = (!servers.is_empty()).then(|| Upstream::new(&servers).into());
        self.default.store(upstream);
    }

    /// What others say. `servers` are those of the name's domain, if it has some of its own.
    ///
    /// With `state`, that of our own data, it is all that there is to say, and kept for the next
    /// who asks.
    pub(super) async fn ask(
        &self,
        name: &Name,
        kind: RecordType,
        servers: Option<&[SocketAddr]>,
        state: Option<u64>,
    ) -> Answer<'static> {
        let default = self.default.load_full();
        let upstream = match servers.and_then(|servers| self.of_domains.get(servers)) {
            Some(upstream) => upstream,
            None if stays_here(name, kind) => return Answer::bare(ResponseCode::NXDomain),
            None => match default.as_deref() {
                Some(upstream) => upstream,
                None => return Answer::bare(ResponseCode::Refused),
            },
        };
        let mut name = name.clone();
        name.set_fqdn(true);
        let failed = || Answer::bare(ResponseCode::ServFail);
        let old = || self.stale.recall(&name, kind, Instant::now());
        if self.stale.failed_lately(&name, kind, Instant::now()) {
            return old().unwrap_or_else(failed);
        }
        let answer = match self.said(upstream, &name, kind).await {
            Some(Ok(lookup)) => Answer {
                answers: lookup.answers().iter().cloned().map(Cow::Owned).collect(),
                ..Answer::bare(lookup.message().response_code)
            },
            Some(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => negative(none),
            Some(Err(error)) => {
                debug!(dns.name = %name, error = %error, "upstream does not answer");
                failed()
            }
            None => {
                debug!(dns.name = %name, "upstream is silent");
                failed()
            }
        };
        // A server that refuses or fails is as good as silent.
        if !matches!(answer.code, ResponseCode::NoError | ResponseCode::NXDomain) {
            self.stale.fail(&name, kind, Instant::now());
            return old().unwrap_or(answer);
        }
        let now = Instant::now();
        self.stale.keep(&name, kind, &answer, now);
        if let Some(state) = state {
            self.packet_cache.keep(&name, kind, &answer, state, now);
        }
        answer
    }

    /// What the upstream says while there is still somebody to tell it to.
    async fn said(
        &self,
        upstream: &Upstream,
        name: &Name,
        kind: RecordType,
    ) -> Option<Result<Lookup, NetError>> {
        let mut lookup = pin!(upstream.lookup(name, kind));
        if let Ok(said) = timeout(REFRESH, &mut lookup).await {
            return Some(said);
        }
        if self.stale.recall(name, kind, Instant::now()).is_some() {
            return None;
        }
        timeout(PATIENCE.saturating_sub(REFRESH), lookup).await.ok()
    }
}

/// No such name or no such data, with the zone that says so.
fn negative(none: NoRecords) -> Answer<'static> {
    let authority = none.soa.map(|soa| {
        let ttl = none.negative_ttl.unwrap_or(soa.ttl);
        Cow::Owned(Record::from_rdata(soa.name.clone(), ttl, RData::SOA(soa.data)))
    });
    Answer { authority: authority.into_iter().collect(), ..Answer::bare(none.response_code) }
}

/// A name that means nothing to servers elsewhere: a simple one, or one of a private address.
fn stays_here(name: &Name, kind: RecordType) -> bool {
    let address = matches!(kind, RecordType::A | RecordType::AAAA);
    if address && name.iter().count() == 1 && name.iter().next() != Some(b"localhost") {
        return true;
    }
    let mut text = name.to_ascii().to_ascii_lowercase();
    if !text.ends_with('.') {
        text.push('.');
    }
    let below =
        |zone: &str| text.strip_suffix(zone).is_some_and(|it| it.is_empty() || it.ends_with('.'));
    let shared = || (16..32).any(|n| below(&format!("{n}.172.in-addr.arpa.")));
    text.ends_with(".arpa.") && (PRIVATE_REVERSE.into_iter().any(below) || shared())
}

/// Whether a datagram for `server` would come to one of our own sockets.
fn is_own(server: SocketAddr, own: &[SocketAddr]) -> bool {
    let here = || server.ip().is_loopback() || UdpSocket::bind((server.ip(), 0)).is_ok();
    let same = |bound: &SocketAddr| {
        let any = bound.ip().is_unspecified() && bound.is_ipv4() == server.is_ipv4();
        bound.port() == server.port() && (bound.ip() == server.ip() || (any && here()))
    };
    server.ip().is_unspecified() || own.iter().any(same)
}

impl Upstream {
    fn new(servers: &[SocketAddr]) -> Self {
        let each = if servers.len() > 1 { servers } else { &[] };
        let each = each.iter().map(|server| resolver(&[*server])).collect();
        Self { all: resolver(servers), each }
    }

    /// What the first server says that says something; one that refuses or fails is passed over.
    async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Lookup, NetError> {
        let refused = match self.all.lookup(name.clone(), kind).await {
            Err(NetError::Dns(DnsError::ResponseCode(code))) => code,
            said => return said,
        };
        let failed = || Err(NetError::Dns(DnsError::ResponseCode(refused)));
        if self.each.is_empty() {
            return failed();
        }
        // All at once: one that is silent must not take the time of one that knows.
        let others = self.each.iter().map(|resolver| {
            Box::pin(async {
                match resolver.lookup(name.clone(), kind).await {
                    said @ (Ok(_) | Err(NetError::Dns(DnsError::NoRecordsFound(_)))) => Ok(said),
                    Err(error) => Err(error),
                }
            })
        });
        match timeout(TIMEOUT, select_ok(others)).await {
            Ok(Ok((said, _slower))) => said,
            _ => failed(),
        }
    }
}

fn resolver(servers: &[SocketAddr]) -> TokioResolver {
    let server = |address: &SocketAddr| {
        let port = |mut config: ConnectionConfig| {
            config.port = address.port();
            config
        };
        let connections = vec![port(ConnectionConfig::udp()), port(ConnectionConfig::tcp())];
        NameServerConfig::new(address.ip(), true, connections)
    };
    let servers = servers.iter().map(server).collect();
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options: &mut ResolverOpts = builder.options_mut();
    options.timeout = TIMEOUT;
    options.attempts = ATTEMPTS;
    options.cache_size = CACHE;
    options.edns0 = true;
    options.use_hosts_file = ResolveHosts::Never;
    options.preserve_intermediates = true;
    options.try_tcp_on_error = true;
    // Whoever forges answers has to guess the letter case too.
    options.case_randomization = true;
    builder.build().expect("without TLS and DNSSEC nothing can be missing")
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}
