use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::discovery_v3::{self, BOTH_DISCOVERIES, is_v3};
use super::go::{no_duration, parse_duration};
use super::leeway::is_below_zero;
use super::values::Values;
use super::{Note, Problem};
use crate::discovery::{Request, SrvRequest, TokenRequest, Way};
use crate::membership::{InitialCluster, PeerUrl};
use crate::node::{AutoCompaction, TokenOptions, parse_options};
use crate::transport::chain;

/// An election must outlast this many heartbeats.
const HEARTBEATS_PER_ELECTION: u64 = 5;
/// Longest election timeout, in milliseconds.
const MAX_ELECTION_MS: u64 = 50_000;
/// Costs that bcrypt knows.
pub(super) const BCRYPT_COSTS: RangeInclusive<u32> = 4..=31;
/// The cost when none of these was given; `bcrypt.DefaultCost`.
pub(super) const DEFAULT_BCRYPT_COST: u32 = 10;
/// Settings that say how to find a cluster that is not known yet.
const BOOTSTRAP: [&str; 8] = [
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "discovery",
    "discovery-srv",
    "discovery-srv-name",
    "discovery-token",
    "discovery-endpoints",
];

/// Checks the URLs to listen on and to advertise.
pub(super) fn urls(values: &Values, problems: &mut Vec<Problem>) {
    for name in
        ["listen-peer-urls", "listen-client-urls", "listen-client-http-urls", "listen-metrics-urls"]
    {
        for url in values.urls(name) {
            let is_address = url.host() == "localhost" || url.host().parse::<IpAddr>().is_ok();
            if url.socket().is_none() && !is_address {
                problems
                    .push(Problem::of(&[name], format!("expected IP in URL for binding ({url})")));
            }
        }
        if matches!(name, "listen-peer-urls" | "listen-client-urls") && values.urls(name).is_empty()
        {
            problems.push(Problem::of(&[name], format!("--{name} must not be empty")));
        }
    }
    let certificate = values.is_set("cert-file") || values.bool("auto-tls");
    let metrics_need_one = values.urls("listen-metrics-urls").iter().any(PeerUrl::is_https);
    if metrics_need_one && !certificate {
        problems.push(Problem::of(
            &["listen-metrics-urls"],
            "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url",
        ));
    }
    if values.urls("initial-advertise-peer-urls").is_empty() {
        problems.push(Problem::of(
            &["initial-advertise-peer-urls"],
            "--initial-advertise-peer-urls must not be empty",
        ));
    }
    let may_become_proxy =
        values.is_set("discovery") && values.text("discovery-fallback") == "proxy";
    if values.is_set("listen-client-urls")
        && !values.is_set("advertise-client-urls")
        && !values.is_from_file()
        && !may_become_proxy
    {
        problems.push(Problem::of(
            &["advertise-client-urls", "listen-client-urls"],
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ));
    }
}

/// Checks heartbeat against election.
pub(super) fn timing(values: &Values, problems: &mut Vec<Problem>) {
    let heartbeat = values.uint("heartbeat-interval");
    let election = values.uint("election-timeout");
    for (name, milliseconds) in [("heartbeat-interval", heartbeat), ("election-timeout", election)]
    {
        if milliseconds == 0 {
            problems.push(Problem::of(&[name], format!("--{name} must be >0 (set to 0ms)")));
        }
    }
    if election < heartbeat.saturating_mul(HEARTBEATS_PER_ELECTION) {
        problems.push(Problem::of(
            &["election-timeout", "heartbeat-interval"],
            format!(
                "--election-timeout[{election}ms] should be at least as 5 times as \
             --heartbeat-interval[{heartbeat}ms]"
            ),
        ));
    }
    if election > MAX_ELECTION_MS {
        problems.push(Problem::of(
            &["election-timeout"],
            format!(
                "--election-timeout[{election}ms] is too long, and should be set less than 50000ms"
            ),
        ));
    }
}

/// Checks settings whose words etcd reads by hand.
pub(super) fn words(values: &Values, problems: &mut Vec<Problem>) {
    if let Err(problem) = resolver(values) {
        problems.push(Problem::of(&["discovery-resolver"], problem));
    }
    let logger = values.text("logger");
    if !matches!(logger.as_str(), "zap" | "capnslog") {
        problems.push(Problem::of(&["logger"], format!("unknown logger option \"{logger}\"")));
    }
    if let Err(problem) = auto_compaction(values) {
        problems.push(Problem::of(&["auto-compaction-retention", "auto-compaction-mode"], problem));
    }
}

/// What `--auto-compaction-mode` and `--auto-compaction-retention` ask for, as etcd reads them: a plain
/// number is hours or revisions, anything else a duration, which as a number of revisions counts
/// its nanoseconds (etcd `server/embed/etcd.go`, `parseCompactionRetention`).
///
/// With one below zero etcd ends in a panic (3.4, 3.5, 3.6) or keeps no history at all (3.7).
pub(super) fn auto_compaction(values: &Values) -> Result<AutoCompaction, String> {
    const HOUR: u64 = 3600;
    let mode = values.text("auto-compaction-mode");
    if !matches!(mode.as_str(), "" | "periodic" | "revision") {
        return Err(format!("unknown auto-compaction-mode \"{mode}\""));
    }
    let retention = values.text("auto-compaction-retention");
    let number = retention.parse::<u64>().ok();
    let duration = parse_duration(&retention);
    match (mode.as_str(), number, duration) {
        (_, Some(0), _) => Ok(AutoCompaction::Off),
        (_, None, Some(none)) if none.is_zero() => Ok(AutoCompaction::Off),
        ("", ..) => Err("--auto-compaction-mode is undefined".to_owned()),
        ("revision", Some(revisions), _) => {
            Ok(AutoCompaction::Revision(i64::try_from(revisions).unwrap_or(i64::MAX)))
        }
        ("revision", None, Some(duration)) => {
            let revisions = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
            Ok(AutoCompaction::Revision(revisions))
        }
        (_, Some(hours), _) => {
            Ok(AutoCompaction::Periodic(Duration::from_secs(hours.saturating_mul(HOUR))))
        }
        (_, None, Some(duration)) => Ok(AutoCompaction::Periodic(duration)),
        (_, None, None) if retention.is_empty() => Ok(AutoCompaction::Off),
        (_, None, None) if is_below_zero(&retention) => Err(format!(
            "--auto-compaction-retention must not be below zero (set to {retention}); 0 keeps all history"
        )),
        (_, None, None) => {
            Err(format!("error parsing CompactionRetention: {}", no_duration(&retention)))
        }
    }
}

/// Checks the settings of authentication and reads the keys they name.
pub(super) fn auth(values: &Values, problems: &mut Vec<Problem>) -> TokenOptions {
    let simple_ttl = Duration::from_secs(values.uint("auth-token-ttl"));
    let options = parse_options(&values.text("auth-token"), simple_ttl, parse_duration);
    options.unwrap_or_else(|error| {
        problems.push(Problem::of(&["auth-token"], chain(&error)));
        TokenOptions::default()
    })
}

/// The cost of a password hash: as in etcd, the default if bcrypt does not know the one that was given.
pub(super) fn bcrypt_cost(values: &Values, notes: &mut Vec<Note>) -> u32 {
    let given = values.uint("bcrypt-cost");
    match u32::try_from(given) {
        Ok(cost) if BCRYPT_COSTS.contains(&cost) => cost,
        _ => {
            notes.push(Note::BcryptCost { given });
            DEFAULT_BCRYPT_COST
        }
    }
}

/// The bootstrap settings that were given.
pub(super) fn bootstrap_flags(values: &Values) -> Vec<&'static str> {
    BOOTSTRAP.into_iter().filter(|name| values.is_set(name)).collect()
}

/// Decides which of the three ways is meant.
pub(super) fn bootstrap(values: &Values, problems: &mut Vec<Problem>) -> Request {
    let existing = values.text("initial-cluster-state") == "existing";
    let ways = ["initial-cluster", "discovery", "discovery-endpoints", "discovery-srv"];
    let is_given = |name: &&str| match *name {
        "discovery-endpoints" => is_v3(values),
        name => values.is_set(name),
    };
    let endpoints = ["discovery-token", "discovery-endpoints"];
    if values.is_set("discovery") && is_v3(values) && !endpoints.iter().any(|it| values.is_set(it))
    {
        problems.push(Problem::of(&["discovery", "discovery-cacert"], format!(
            "{BOTH_DISCOVERIES}; the authority of an https:// --discovery is named by the variable \
             SSL_CERT_FILE"
        )));
    } else if ways.iter().filter(|name| is_given(name)).count() > 1 {
        problems.push(Problem::of(
            &ways,
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \
             \"discovery\", \"discovery-endpoints\" or \"discovery-srv\"",
        ));
    }
    let name = values.text("name");
    let mut peer_urls = values.urls("initial-advertise-peer-urls");
    peer_urls.sort();
    let way = if values.is_set("discovery") {
        if existing {
            problems.push(Problem::of(
                &["discovery", "initial-cluster-state"],
                "discovery URL should not be set when joining existing initial cluster",
            ));
        }
        Way::Token(token(values, problems))
    } else if is_v3(values) {
        if existing {
            problems.push(Problem::of(
                &["discovery-endpoints", "initial-cluster-state"],
                "discovery endpoints should not be set when joining existing initial cluster",
            ));
        }
        Way::TokenV3(Box::new(discovery_v3::request(values, problems)))
    } else if values.is_set("discovery-srv") {
        Way::Srv(srv(values))
    } else {
        Way::Static(static_list(values, &name, &peer_urls, problems))
    };
    let cluster_token = values.text("initial-cluster-token");
    Request { name, peer_urls, way, cluster_token, existing, tls: None }
}

fn static_list(
    values: &Values,
    name: &str,
    peer_urls: &[PeerUrl],
    problems: &mut Vec<Problem>,
) -> InitialCluster {
    let mut list = InitialCluster::new();
    // One that was given and is empty names nobody, which the start of a new member says.
    if !values.is_given("initial-cluster") {
        for url in peer_urls {
            list.add(name, url.clone());
        }
        return list;
    }
    match values.text("initial-cluster").parse() {
        Ok(parsed) => list = parsed,
        Err(error) => {
            problems.push(Problem::of(
                &["initial-cluster"],
                format!("error setting up initial cluster: {error}"),
            ));
        }
    }
    list
}

fn token(values: &Values, problems: &mut Vec<Problem>) -> TokenRequest {
    let url = values.text("discovery");
    if let Err(reason) = check_discovery_url(&url) {
        problems.push(Problem::of(
            &["discovery"],
            format!("failed to join discovery cluster ({reason})"),
        ));
    }
    let proxy = values.is_set("discovery-proxy").then(|| values.text("discovery-proxy"));
    let proxy =
        proxy.map(|text| if text.contains("://") { text } else { format!("http://{text}") });
    if let Some(proxy) = &proxy
        && let Err(error) = reqwest::Proxy::all(proxy)
    {
        problems.push(Problem::of(
            &["discovery-proxy"],
            format!("--discovery-proxy `{proxy}`: {error}"),
        ));
    }
    TokenRequest { url, proxy }
}

fn check_discovery_url(text: &str) -> Result<(), String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(if text.contains(':') {
            format!("parse \"{text}\": first path segment in URL cannot contain colon")
        } else {
            format!("`{text}` is no URL; a discovery URL looks like http://host:8087/<token>")
        });
    };
    if !matches!(scheme, "http" | "https") {
        return Err(format!("unsupported protocol scheme \"{scheme}\""));
    }
    if rest.split_once('/').is_none_or(|(_, path)| path.trim_matches('/').is_empty()) {
        return Err(format!("`{text}` names no token; ask the service for one at /new?size=3"));
    }
    url::Url::parse(text).map(drop).map_err(|error| format!("parse \"{text}\": {error}"))
}

/// The DNS server to ask instead of those of the system.
pub(super) fn resolver(values: &Values) -> Result<Option<SocketAddr>, String> {
    let text = values.text("discovery-resolver");
    match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
        _ if text.is_empty() => Ok(None),
        (Ok(address), _) => Ok(Some(address)),
        (_, Ok(ip)) => Ok(Some(SocketAddr::new(ip, 53))),
        _ => Err(format!(
            "--discovery-resolver: `{text}` is no address of a DNS server, such as 192.0.2.1 or \
             127.0.0.1:8053"
        )),
    }
}

fn srv(values: &Values) -> SrvRequest {
    // A wrong one is reported with the other words.
    let resolver = resolver(values).ok().flatten();
    SrvRequest {
        domain: values.text("discovery-srv"),
        suffix: values.text("discovery-srv-name"),
        resolver,
    }
}
