//! Which releases of etcd have which flags, as their own `--help` and their parsers tell. The flags of
//! this node are those of all of them together.

use std::ops::RangeInclusive;

use super::clash::OLDER;
use super::{Treatment, table};

/// The releases 3.x that are known here.
const KNOWN: RangeInclusive<u8> = 4..=7;

/// Flags that not all of them have, with the first and the last one that has them.
#[rustfmt::skip] // a table reads by its lines
const SOME: [(u8, u8, &[&str]); 6] = [
    (4, 4, &["debug", "log-output", "log-package-levels", "experimental-backend-bbolt-freelist-type"]),
    (4, 5, &["enable-v2", "experimental-enable-v2v3", "proxy", "proxy-failure-wait", "proxy-refresh-interval", "proxy-dial-timeout", "proxy-write-timeout", "proxy-read-timeout"]),
    (4, 6, &["discovery", "discovery-proxy", "experimental-initial-corrupt-check", "experimental-corrupt-check-time", "experimental-enable-lease-checkpoint", "experimental-enable-lease-checkpoint-persist", "experimental-compaction-batch-limit", "experimental-watch-progress-notify-interval", "experimental-warning-apply-duration", "experimental-peer-skip-client-san-verification"]),
    (5, 6, &["experimental-compact-hash-check-enabled", "experimental-compact-hash-check-time", "experimental-compaction-sleep-interval", "experimental-txn-mode-write-with-shared-buffer", "experimental-bootstrap-defrag-threshold-megabytes", "experimental-downgrade-check-time", "experimental-stop-grpc-service-on-defrag", "experimental-snapshot-catchup-entries", "experimental-memory-mlock", "experimental-enable-distributed-tracing", "experimental-distributed-tracing-address", "experimental-distributed-tracing-service-name", "experimental-distributed-tracing-instance-id", "experimental-distributed-tracing-sampling-rate"]),
    (5, 7, &["v2-deprecation", "listen-client-http-urls", "backend-bbolt-freelist-type", "socket-reuse-port", "socket-reuse-address", "raft-read-timeout", "raft-write-timeout", "enable-log-rotation", "log-rotation-config-json", "client-cert-file", "client-key-file", "peer-client-cert-file", "peer-client-key-file", "self-signed-cert-validity", "tls-min-version", "tls-max-version"]),
    (6, 7, &["discovery-token", "discovery-endpoints", "discovery-dial-timeout", "discovery-request-timeout", "discovery-keepalive-time", "discovery-keepalive-timeout", "discovery-insecure-transport", "discovery-insecure-skip-tls-verify", "discovery-cert", "discovery-key", "discovery-cacert", "discovery-user", "discovery-password", "snapshot-catchup-entries", "max-learners", "memory-mlock", "log-format", "warning-unary-request-duration", "enable-distributed-tracing", "distributed-tracing-address", "distributed-tracing-service-name", "distributed-tracing-instance-id", "distributed-tracing-sampling-rate", "peer-skip-client-san-verification", "feature-gates", "corrupt-check-time", "compact-hash-check-time", "compaction-batch-limit", "compaction-sleep-interval", "watch-progress-notify-interval", "warning-apply-duration", "bootstrap-defrag-threshold-megabytes", "downgrade-check-time"]),
];

/// In 3.6 alone.
const ONLY_3_6: [&str; 1] = ["experimental-warning-unary-request-duration"];

/// Flags of this node that no etcd has, though some are keys of its configuration file.
const NO_ETCD: [&str; 5] = [
    "discovery-resolver",
    "client-cert-allowed-cn",
    "wait-cluster-ready-timeout",
    "experimental-wait-cluster-ready-timeout",
    "experimental-max-learners",
];

/// A flag that a release warns of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deprecation {
    /// The first release 3.x that has it no more, where that is known.
    pub gone: u8,
    /// What to write instead, if there is anything.
    pub instead: Option<String>,
}

/// The first and the last release 3.x of etcd that has the flag; `None` if there is none.
pub fn minors(flag: &str) -> Option<RangeInclusive<u8>> {
    if NO_ETCD.contains(&flag) {
        return None;
    }
    if ONLY_3_6.contains(&flag) {
        return Some(6..=6);
    }
    let some = SOME.iter().find(|(.., flags)| flags.contains(&flag));
    Some(some.map_or(KNOWN, |(first, last, _)| *first..=*last))
}

/// Whether etcd 3.`minor`, which has the flag, says that a later one will not.
pub fn deprecation(flag: &str, minor: u8) -> Option<Deprecation> {
    let (since, gone, instead) = match flag {
        "debug" => (4, 5, Some("--log-level=debug".to_owned())),
        "log-package-levels" => (4, 5, Some("--log-level".to_owned())),
        "log-output" => (4, 5, Some("--log-outputs".to_owned())),
        "experimental-backend-bbolt-freelist-type" => {
            (4, 5, Some("--backend-bbolt-freelist-type".to_owned()))
        }
        "enable-v2" | "experimental-enable-v2v3" => (5, 6, None),
        _ if flag == "proxy" || flag.starts_with("proxy-") => (5, 6, None),
        "discovery" => (6, 7, Some("--discovery-token and --discovery-endpoints".to_owned())),
        "discovery-proxy" => (6, 7, None),
        "max-snapshots" | "v2-deprecation" => (6, 8, None),
        _ if flag.starts_with("experimental-") => (6, 7, newer(flag)),
        _ => return None,
    };
    (minor >= since && minor < gone).then_some(Deprecation { gone, instead })
}

/// What etcd 3.6 has instead of a flag whose name begins with `experimental-`.
fn newer(flag: &str) -> Option<String> {
    if let Some((gate, _)) = OLDER.iter().find(|(_, older)| *older == flag) {
        return Some(format!("--feature-gates={gate}=true"));
    }
    match table::find(flag)?.treatment {
        Treatment::Alias(target) => Some(format!("--{target}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_named_here_is_in_the_table_once() {
        let some = SOME.iter().flat_map(|(.., flags)| flags.iter().copied());
        let mut named: Vec<&str> = some.chain(ONLY_3_6).chain(NO_ETCD).collect();
        for flag in &named {
            assert!(table::find(flag).is_some(), "{flag}");
        }
        let count = named.len();
        named.sort_unstable();
        named.dedup();
        assert_eq!(named.len(), count);
    }

    #[test]
    fn a_release_has_what_its_parser_takes() {
        assert_eq!(minors("name"), Some(4..=7));
        assert_eq!(minors("discovery"), Some(4..=6));
        assert_eq!(minors("discovery-token"), Some(6..=7));
        assert_eq!(minors("discovery-resolver"), None);
    }

    #[test]
    fn what_goes_is_told_of_before_it_is_gone() {
        let of = |flag, minor| deprecation(flag, minor).map(|it| (it.gone, it.instead));
        assert_eq!(of("experimental-corrupt-check-time", 5), None);
        assert_eq!(
            of("experimental-corrupt-check-time", 6),
            Some((7, Some("--corrupt-check-time".to_owned())))
        );
        assert_eq!(
            of("experimental-initial-corrupt-check", 6),
            Some((7, Some("--feature-gates=InitialCorruptCheck=true".to_owned())))
        );
        assert_eq!(of("enable-v2", 5), Some((6, None)));
        assert_eq!(of("name", 7), None);
    }
}
