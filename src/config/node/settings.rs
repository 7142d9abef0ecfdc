use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::values::Values;
use super::{Note, Problem, Tls, check, clash, gates, rotation, tls};
use crate::api::Cors;
use crate::discovery::Request;
use crate::membership::PeerUrl;
use crate::node::{self, AutoCompaction, proxy::ProxyOptions};
use crate::telemetry;

/// The store may grow to this size when nothing else is said.
const DEFAULT_QUOTA_BYTES: i64 = 2 << 30;
/// Progress of an idle watch is announced at this interval when nothing else is said.
const DEFAULT_PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
/// The shortest interval of client pings when 0 was said: gRPC's own, `defaultKeepalivePolicyMinTime`.
const GRPC_PING_FLOOR: Duration = Duration::from_secs(300);
/// Applied entries after which the log may be cut when 0 was said.
const DEFAULT_SNAPSHOT_COUNT: u64 = 10_000;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For the running node; `founding` is left to the bootstrap, and `tls`, here and in `bootstrap`,
    /// to whoever loads the certificates.
    pub node: node::Config,
    pub bootstrap: Request,
    /// The bootstrap settings that were given, for the line that says they are ignored.
    pub bootstrap_flags: Vec<&'static str>,
    /// Become a proxy when the cluster of the token is full.
    pub proxy_when_full: bool,
    pub proxy: ProxyOptions,
    pub listen_peer_urls: Vec<PeerUrl>,
    /// Includes the listeners for clients that speak HTTP only.
    pub listen_client_urls: Vec<PeerUrl>,
    pub listen_metrics_urls: Vec<PeerUrl>,
    /// Nothing was said about the quota.
    pub default_quota: bool,
    pub cors: Cors,
    /// Whether the calls can be made as JSON too.
    pub grpc_gateway: bool,
    /// Whether the time that calls take is measured, per method.
    pub extensive_metrics: bool,
    /// Calls that take longer are logged.
    pub warning_unary_duration: Option<Duration>,
    /// Wait for the cluster before clients are served without it.
    pub ready_timeout: Duration,
    /// `Host` headers that are answered without TLS; empty for all.
    pub host_whitelist: Vec<String>,
    pub tls: Tls,
    /// Interval of the probes of client connections; `None` for none.
    pub keepalive_interval: Option<Duration>,
    pub keepalive_timeout: Duration,
    /// The shortest interval at which clients may probe.
    pub keepalive_floor: Duration,
    pub log: telemetry::Options,
    /// To be logged as soon as there is a log.
    pub notes: Vec<Note>,
}

/// Composes the settings; what is wrong goes to `problems`.
pub(super) fn settle(
    values: &Values,
    mut notes: Vec<Note>,
    problems: &mut Vec<Problem>,
) -> Settings {
    check::urls(values, problems);
    check::timing(values, problems);
    check::words(values, problems);
    clash::features(values, problems);
    clash::numbers(values, problems);
    notes.extend(gates::notes(&values.text("feature-gates")));
    let mut listen_client_urls = values.urls("listen-client-urls");
    listen_client_urls.extend(values.urls("listen-client-http-urls"));
    let milliseconds = |name: &str| Duration::from_millis(values.uint(name));
    Settings {
        bootstrap: check::bootstrap(values, problems),
        bootstrap_flags: check::bootstrap_flags(values),
        // As in etcd, a full cluster of v3 discovery has no use for proxies.
        proxy_when_full: values.text("discovery-fallback") == "proxy"
            && !values.is_set("discovery-endpoints"),
        proxy: ProxyOptions {
            failure_wait: milliseconds("proxy-failure-wait"),
            refresh_interval: milliseconds("proxy-refresh-interval"),
            dial_timeout: milliseconds("proxy-dial-timeout"),
        },
        listen_peer_urls: values.urls("listen-peer-urls"),
        listen_client_urls,
        listen_metrics_urls: values.urls("listen-metrics-urls"),
        default_quota: values.int("quota-backend-bytes") == 0,
        cors: cors(&values.text("cors")),
        grpc_gateway: values.bool("enable-grpc-gateway"),
        extensive_metrics: values.text("metrics") == "extensive",
        warning_unary_duration: Some(values.duration("warning-unary-request-duration"))
            .filter(|limit| !limit.is_zero()),
        ready_timeout: values.duration("wait-cluster-ready-timeout"),
        host_whitelist: host_whitelist(&values.text("host-whitelist")),
        tls: tls::settle(values, &mut notes, problems),
        keepalive_interval: Some(values.duration("grpc-keepalive-interval"))
            .filter(|interval| !interval.is_zero())
            .filter(|_| !values.duration("grpc-keepalive-timeout").is_zero()),
        keepalive_timeout: values.duration("grpc-keepalive-timeout"),
        keepalive_floor: match values.duration("grpc-keepalive-min-time") {
            Duration::ZERO => GRPC_PING_FLOOR,
            floor => floor,
        },
        log: logging(values, &mut notes, problems),
        node: node::Config {
            bcrypt_cost: check::bcrypt_cost(values, &mut notes),
            ..node_config(values, check::auth(values, problems))
        },
        notes,
    }
}

fn node_config(values: &Values, auth_token: node::TokenOptions) -> node::Config {
    let name = values.text("name");
    let data_dir = match values.text("data-dir") {
        dir if dir.is_empty() => PathBuf::from(format!("{name}.etcd")),
        dir => PathBuf::from(dir),
    };
    let client_urls = values.urls("advertise-client-urls");
    let quota_bytes = match values.int("quota-backend-bytes") {
        0 => DEFAULT_QUOTA_BYTES,
        bytes => bytes,
    };
    let streams = values.uint("max-concurrent-streams");
    let count = |name: &str| usize::try_from(values.uint(name)).unwrap_or(usize::MAX);
    node::Config {
        name,
        data_dir,
        wal_dir: values.is_set("wal-dir").then(|| PathBuf::from(values.text("wal-dir"))),
        advertise_client_urls: client_urls.iter().map(ToString::to_string).collect(),
        founding: None,
        // A wrong one has been reported by the checks.
        resolver: check::resolver(values).ok().flatten(),
        tls: None,
        heartbeat: Duration::from_millis(values.uint("heartbeat-interval")),
        election: Duration::from_millis(values.uint("election-timeout")),
        pre_vote: values.bool("pre-vote"),
        initial_election_tick_advance: values.bool("initial-election-tick-advance"),
        snapshot_count: match values.uint("snapshot-count") {
            0 => DEFAULT_SNAPSHOT_COUNT,
            entries => entries,
        },
        catchup_entries: values.uint("snapshot-catchup-entries"),
        force_new_cluster: values.bool("force-new-cluster"),
        unsafe_no_fsync: values.bool("unsafe-no-fsync"),
        strict_reconfig_check: values.bool("strict-reconfig-check"),
        max_learners: usize::try_from(values.int("max-learners")).unwrap_or_default(),
        limits: node::Limits {
            max_request_bytes: count("max-request-bytes"),
            max_txn_ops: count("max-txn-ops"),
            quota_bytes,
            max_concurrent_streams: u32::try_from(streams).ok().filter(|n| *n != u32::MAX),
            watch_progress_interval: match values.duration("watch-progress-notify-interval") {
                Duration::ZERO => DEFAULT_PROGRESS_INTERVAL,
                interval => interval,
            },
        },
        auth_token,
        // Settled with its note.
        bcrypt_cost: check::DEFAULT_BCRYPT_COST,
        upkeep: upkeep(values),
    }
}

fn upkeep(values: &Values) -> node::Upkeep {
    let fallback = node::Upkeep::default();
    let gates = values.text("feature-gates");
    let gate = |name: &str| {
        let older = match name {
            "InitialCorruptCheck" => values.bool("experimental-initial-corrupt-check"),
            "CompactHashCheck" => values.bool("experimental-compact-hash-check-enabled"),
            _ => false,
        };
        older || gates::is_on(&gates, name)
    };
    node::Upkeep {
        // A wrong one has been reported by the checks.
        auto_compaction: check::auto_compaction(values).unwrap_or(AutoCompaction::Off),
        compaction_batch: match values.int("compaction-batch-limit") {
            batch if batch > 0 => usize::try_from(batch).unwrap_or(usize::MAX),
            _ => fallback.compaction_batch,
        },
        compaction_pause: values.duration("compaction-sleep-interval"),
        initial_corrupt_check: gate("InitialCorruptCheck"),
        corrupt_check_time: values.duration("corrupt-check-time"),
        compact_check_time: if gate("CompactHashCheck") {
            values.duration("compact-hash-check-time")
        } else {
            Duration::ZERO
        },
        warning_apply_duration: values.duration("warning-apply-duration"),
        features: gates::features(gate),
    }
}

/// Which browser origins may read answers; `*` anywhere in the list means all.
fn cors(text: &str) -> Cors {
    let origins: Vec<String> = text.split(',').map(|origin| origin.trim().to_owned()).collect();
    if text.is_empty() || origins.iter().any(|origin| origin == "*") {
        return Cors::Any;
    }
    Cors::Origins(origins)
}

/// The hosts that are answered; `*` anywhere in the list means all.
fn host_whitelist(text: &str) -> Vec<String> {
    let hosts: Vec<String> = text.split(',').map(|host| host.trim().to_owned()).collect();
    if text.is_empty() || hosts.iter().any(|host| host == "*") {
        return Vec::new();
    }
    hosts
}

fn logging(
    values: &Values,
    notes: &mut Vec<Note>,
    problems: &mut Vec<Problem>,
) -> telemetry::Options {
    let level = match values.text("log-level").as_str() {
        _ if values.bool("debug") => LevelFilter::DEBUG,
        "debug" => LevelFilter::DEBUG,
        "warn" => LevelFilter::WARN,
        "error" | "dpanic" | "panic" | "fatal" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    };
    let text = values.text("log-format") != "json" || values.text("logger") == "capnslog";
    let mut outputs = Vec::new();
    for output in values.text("log-outputs").split(',').map(str::trim) {
        let output = match output {
            "" => continue,
            "default" | "stderr" => telemetry::Output::Stderr,
            "stdout" => telemetry::Output::Stdout,
            "systemd/journal" => {
                notes.push(Note::WithoutEffect {
                    setting: "log-outputs=systemd/journal".to_owned(),
                    meaning: "the log goes to stderr, which systemd puts into the journal"
                        .to_owned(),
                });
                telemetry::Output::Stderr
            }
            file => telemetry::Output::File(PathBuf::from(file)),
        };
        if !outputs.contains(&output) {
            outputs.push(output);
        }
    }
    if outputs.is_empty() {
        outputs.push(telemetry::Output::Stderr);
    }
    let format = if text { telemetry::Format::Text } else { telemetry::Format::Json };
    let rotation = rotation::settle(values, &outputs, notes, problems);
    telemetry::Options { level, format, outputs, rotation }
}
