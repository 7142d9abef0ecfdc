use tracing::level_filters::LevelFilter;

use super::*;
use crate::discovery::Way;
use crate::node::AutoCompaction;

fn instead(settings: &Settings) -> usize {
    settings.notes.iter().filter(|note| matches!(note, Note::Instead { .. })).count()
}

/// etcd starts with all of them.
#[test]
fn durations_below_zero_mean_what_they_mean_in_etcd() {
    let read = |line: &str| {
        let settings = settings(line, &[]);
        assert_eq!(instead(&settings), 1, "{line}");
        settings
    };
    let minutes = |n: u64| Duration::from_secs(n * 60);
    assert_eq!(read("--grpc-keepalive-min-time=-1s").keepalive_floor, minutes(5));
    assert_eq!(read("--grpc-keepalive-min-time=0").keepalive_floor, minutes(5));
    assert_eq!(read("--grpc-keepalive-timeout=-5s").keepalive_interval, None);
    assert_eq!(read("--grpc-keepalive-interval=-5s").keepalive_interval, None);
    let progress = read("--experimental-watch-progress-notify-interval=-1s");
    assert_eq!(progress.node.limits.watch_progress_interval, minutes(10));
    let upkeep = |line| read(line).node.upkeep;
    assert_eq!(upkeep("--warning-apply-duration=-1s").warning_apply_duration, Duration::ZERO);
    assert_eq!(upkeep("--experimental-corrupt-check-time=-1s").corrupt_check_time, Duration::ZERO);
    assert_eq!(upkeep("--compaction-sleep-interval=-1s").compaction_pause, Duration::ZERO);
    // Nothing reads these.
    assert_eq!(settings("--raft-write-timeout=-1s --backend-batch-interval=-1h", &[]).notes, []);
    assert!(problems("--grpc-keepalive-min-time=--1s", &[])[0].contains("parse error"));
}

/// Discovery waits no shorter for it.
#[test]
fn no_time_for_discovery_means_the_usual_time() {
    let way = |line: &str, notes: usize| {
        let line = format!("--discovery-token=t --discovery-endpoints=127.0.0.1:1 {line}");
        let settings = settings(&line, &[]);
        assert_eq!(instead(&settings), notes, "{line}");
        let Way::TokenV3(way) = settings.bootstrap.way else { panic!("{line}") };
        way
    };
    let seconds = Duration::from_secs;
    assert_eq!(way("--discovery-request-timeout=-1s", 1).request_timeout, seconds(5));
    assert_eq!(way("--discovery-request-timeout=0", 1).request_timeout, seconds(5));
    assert_eq!(way("--discovery-dial-timeout=-1s", 1).dial_timeout, seconds(5));
    let none = way("--discovery-dial-timeout=0 --discovery-request-timeout=7s", 0);
    assert_eq!(none.dial_timeout, seconds(7));
    assert_eq!(way("--discovery-keepalive-time=-1s", 1).keepalive_time, Duration::ZERO);
    assert_eq!(way("--discovery-keepalive-timeout=-1s", 1).keepalive_timeout, seconds(20));
}

/// etcd panics, or compacts everything at once.
#[test]
fn history_is_not_kept_for_less_than_no_time() {
    for (line, problem) in [
        (
            "-1h",
            "--auto-compaction-retention must not be below zero (set to -1h); 0 keeps all history",
        ),
        ("-1", "error parsing CompactionRetention: time: missing unit in duration \"-1\""),
        ("7d", "error parsing CompactionRetention: time: unknown unit \"d\" in duration \"7d\""),
    ] {
        for mode in ["periodic", "revision"] {
            let line = format!("--auto-compaction-mode={mode} --auto-compaction-retention={line}");
            assert_eq!(problems(&line, &[]), [problem], "{line}");
        }
    }
}

#[test]
fn words_that_nobody_knows_mean_the_default() {
    let words = settings("--metrics=zz --backend-bbolt-freelist-type=zz", &[]);
    assert!(!words.extensive_metrics);
    assert_eq!(instead(&words), 2);
    for (level, filter) in
        [("WARN", LevelFilter::WARN), ("Debug", LevelFilter::DEBUG), ("", LevelFilter::INFO)]
    {
        assert_eq!(settings(&format!("--log-level={level}"), &[]).log.level, filter, "{level}");
    }
    assert!(problems("--log-level=zz", &[])[0].starts_with("invalid value \"zz\""));
    let retention = settings("--auto-compaction-retention=", &[]);
    assert_eq!(retention.node.upkeep.auto_compaction, AutoCompaction::Off);
    for (given, cost, notes) in [(3, 10, 1), (32, 10, 1), (4, 4, 0), (31, 31, 0)] {
        let settings = settings(&format!("--bcrypt-cost={given}"), &[]);
        assert_eq!((settings.node.bcrypt_cost, settings.notes.len()), (cost, notes), "{given}");
    }
}

#[test]
fn urls_that_stand_twice_are_listened_on_once() {
    let url = "http://127.0.0.1:1";
    let settings = settings(
        &format!(
            "--listen-client-urls={url},{url} --advertise-client-urls={url} --listen-peer-urls={url},{url}"
        ),
        &[],
    );
    assert_eq!((settings.listen_client_urls.len(), settings.listen_peer_urls.len()), (1, 1));
}

#[test]
fn certificates_without_tls_are_not_judged() {
    for (line, notes) in [
        ("--cert-file=/c", 1),
        ("--key-file=/k", 1),
        ("--peer-cert-allowed-cn=a --peer-cert-allowed-hostname=b", 1),
    ] {
        let settings = settings(line, &[]);
        assert_eq!(settings.notes.len(), notes, "{line}: {:?}", settings.notes);
    }
    let dialed =
        "--peer-cert-allowed-cn=a --peer-cert-allowed-hostname=b --peer-trusted-ca-file=/ca";
    assert!(problems(dialed, &[])[0].starts_with("AllowedCNs and AllowedHostnames"));
}

#[test]
fn an_empty_name_of_a_file_is_none() {
    settings("--config-file=", &[]);
    let variable = [("ETCD_CONFIG_FILE", "/nope")];
    assert_eq!(problems("--config-file=", &variable), ["open /nope: no such file or directory"]);
}

/// Images set it to tell what they hold.
#[test]
fn a_version_in_the_environment_is_told_of() {
    let variables = [("ETCD_VERSION", "v3.5.0"), ("ETCD_VERSION_GIT_SHA", "x")];
    let settings = settings("", &variables);
    let [Note::SpecialVariable { variable, text }, Note::UnknownVariable { variable: other }] =
        &settings.notes[..]
    else {
        panic!("{:?}", settings.notes)
    };
    assert_eq!((variable.as_str(), text.as_str()), ("ETCD_VERSION", "v3.5.0"));
    assert_eq!(other, "ETCD_VERSION_GIT_SHA");
}
