mod clash;
mod fuzz;
mod leeway;
mod security;

use std::ffi::OsString;
use std::time::Duration;

use super::*;
use crate::discovery::Way;
use crate::telemetry::{Format, Output};
use crate::transport::tls::ClientAuth;

/// Splits like a shell would, with single quotes only.
fn words(line: &str) -> Vec<OsString> {
    let quoted = line.split('\'').enumerate();
    quoted
        .flat_map(|(n, part)| match n % 2 {
            1 => vec![OsString::from(part)],
            _ => part.split_whitespace().map(OsString::from).collect(),
        })
        .collect()
}

fn run(line: &str, variables: &[(&str, &str)]) -> Result<Command, Vec<Problem>> {
    let variables = variables.iter().map(|(name, text)| ((*name).into(), (*text).into()));
    load(words(line).into_iter(), variables)
}

fn settings(line: &str, variables: &[(&str, &str)]) -> Settings {
    match run(line, variables) {
        Ok(Command::Run(settings)) => *settings,
        other => panic!("{line}: {other:?}"),
    }
}

fn problems(line: &str, variables: &[(&str, &str)]) -> Vec<String> {
    match run(line, variables) {
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
        Ok(other) => panic!("{line}: {other:?}"),
    }
}

fn static_ids(settings: &Settings) -> Vec<String> {
    let Way::Static(list) = &settings.bootstrap.way else { panic!("{:?}", settings.bootstrap) };
    let roster = list.roster(&settings.bootstrap.cluster_token);
    roster.members.keys().map(ToString::to_string).collect()
}

const PROCFILE: &str = "--name infra1 --listen-client-urls http://127.0.0.1:12379 \
    --advertise-client-urls http://127.0.0.1:12379 --listen-peer-urls http://127.0.0.1:12380 \
    --initial-advertise-peer-urls http://127.0.0.1:12380 --initial-cluster-token etcd-cluster-1 \
    --initial-cluster 'infra1=http://127.0.0.1:12380,infra2=http://127.0.0.1:22380,infra3=http://127.0.0.1:32380' \
    --initial-cluster-state new --enable-pprof --logger=zap --log-outputs=stderr";

#[test]
fn the_procfile_of_the_tutorials() {
    let settings = settings(PROCFILE, &[]);
    assert_eq!(settings.node.name, "infra1");
    assert_eq!(settings.node.data_dir.to_str(), Some("infra1.etcd"));
    assert_eq!(settings.log.format, Format::Json);
    assert_eq!(settings.log.outputs, [Output::Stderr]);
    assert_eq!(static_ids(&settings), ["8211f1d0f64f3269", "91bc3c398fb3c146", "fd422379fda50e48"]);
    assert_eq!(settings.notes.len(), 1, "{:?}", settings.notes);
}

#[test]
fn the_yaml_file_of_the_tutorials() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("etcd.yaml");
    let yaml = "name: etcd\ndata-dir: /tmp/data\nlisten-client-urls: http://127.0.0.1:2379\n\
        advertise-client-urls: http://127.0.0.1:2379\nlisten-peer-urls: http://127.0.0.1:2380\n\
        initial-advertise-peer-urls: http://127.0.0.1:2380\n\
        initial-cluster: etcd=http://127.0.0.1:2380\ninitial-cluster-token: etcd-cluster\n\
        initial-cluster-state: new\nzzz: 1\n";
    std::fs::write(&path, yaml).unwrap();
    let line = format!("--config-file={}", path.display());
    let settings = settings(&line, &[("ETCD_NAME", "other"), ("ETCD_NOPE", "1")]);
    assert_eq!(settings.node.name, "etcd");
    assert_eq!(settings.node.data_dir.to_str(), Some("/tmp/data"));
    assert_eq!(static_ids(&settings).len(), 1);
    let notes = format!("{:?}", settings.notes);
    for note in ["ignored", "UnknownVariable { variable: \"ETCD_NOPE\" }", "key: \"zzz\""] {
        assert!(note == "ignored" || notes.contains(note), "{notes}");
    }
    let silenced = vec!["name".to_owned()];
    assert!(
        settings.notes.iter().any(
            |note| matches!(note, Note::FileSilences { settings, .. } if *settings == silenced)
        )
    );
    // The variable names the file just as well.
    let path = path.display().to_string();
    let same = load(std::iter::empty(), [("ETCD_CONFIG_FILE".into(), path.into())].into_iter());
    assert!(matches!(same, Ok(Command::Run(settings)) if settings.node.name == "etcd"));
}

#[test]
fn the_environment_file_of_the_tutorials() {
    let settings = settings(
        "",
        &[
            ("ETCD_NAME", "instance01"),
            ("ETCD_DATA_DIR", "/usr/local/etcd/data"),
            ("ETCD_LISTEN_CLIENT_URLS", "http://10.143.74.108:2379,http://127.0.0.1:2379"),
            ("ETCD_ADVERTISE_CLIENT_URLS", "http://10.143.74.108:2379"),
            ("ETCD_INITIAL_ADVERTISE_PEER_URLS", "http://10.143.74.108:2380"),
            ("ETCD_LISTEN_PEER_URLS", "http://10.143.74.108:2380"),
            (
                "ETCD_INITIAL_CLUSTER",
                "instance01=http://10.143.74.108:2380,instance02=http://10.202.253.147:2380,\
                 instance03=http://10.202.254.213:2380",
            ),
            ("ETCD_INITIAL_CLUSTER_STATE", "new"),
        ],
    );
    assert_eq!(settings.listen_client_urls.len(), 2);
    assert_eq!(static_ids(&settings).len(), 3);
    assert!(settings.notes.is_empty());
}

#[test]
fn docker_compose_with_certificates_and_http() {
    let settings = settings(
        "--data-dir=/etcd-data --name n --initial-advertise-peer-urls http://10.0.0.1:2380 \
         --listen-peer-urls http://0.0.0.0:2380 --advertise-client-urls http://10.0.0.1:2379 \
         --listen-client-urls http://0.0.0.0:2379,http://0.0.0.0:4001 \
         --initial-cluster n=http://10.0.0.1:2380 --initial-cluster-state new \
         --initial-cluster-token t",
        &[
            ("ETCD_CERT_FILE", "/c.pem"),
            ("ETCD_KEY_FILE", "/k.pem"),
            ("ETCD_TRUSTED_CA_FILE", "/ca.pem"),
            ("ETCD_PEER_CERT_FILE", "/c.pem"),
            ("ETCD_PEER_KEY_FILE", "/k.pem"),
            ("ETCD_PEER_TRUSTED_CA_FILE", "/ca.pem"),
            ("ETCD_CLIENT_CERT_AUTH", "true"),
            ("ETCD_PEER_CLIENT_CERT_AUTH", "true"),
        ],
    );
    // One for each URL that is not encrypted.
    assert_eq!(settings.notes.len(), 3, "{:?}", settings.notes);
}

/// As in etcd, an authority asks for certificates, and the flag takes users from them.
#[test]
fn an_authority_alone_makes_no_users_of_certificates() {
    const HTTPS: &str = "--listen-client-urls https://127.0.0.1:1 --advertise-client-urls https://h:1 \
        --cert-file c.pem --key-file k.pem";
    for (flags, asks, users) in [
        ("", false, false),
        ("--trusted-ca-file ca.pem", true, false),
        ("--client-cert-auth", true, true),
        ("--client-cert-auth --trusted-ca-file ca.pem", true, true),
    ] {
        let client = settings(&format!("{HTTPS} {flags}"), &[]).tls.client;
        let asked = client.client_auth == ClientAuth::Required;
        assert_eq!((asked, client.names_users), (asks, users), "{flags}");
    }
}

#[test]
fn token_and_srv_command_lines_of_the_tutorials() {
    let token = settings(
        "--name etcd1 --initial-advertise-peer-urls http://192.168.202.128:2380 \
         --listen-peer-urls http://192.168.202.128:2380 --data-dir DIR \
         --listen-client-urls http://192.168.202.128:2379,http://127.0.0.1:2379 \
         --advertise-client-urls http://192.168.202.128:2379 \
         --discovery https://discovery.etcd.io/3e86b59982e49066c5d813af1c2e2579cbf573de",
        &[],
    );
    assert!(matches!(&token.bootstrap.way, Way::Token(token)
        if token.url == "https://discovery.etcd.io/3e86b59982e49066c5d813af1c2e2579cbf573de"));
    assert!(token.proxy_when_full);
    let srv = settings(
        "--name etcd1 --discovery-srv blueskykong.com \
         --initial-advertise-peer-urls http://etcd1.blueskykong.com:2380 \
         --initial-cluster-token etcd-cluster-1 --data-dir DIR --initial-cluster-state new \
         --advertise-client-urls http://etcd1.blueskykong.com:2379 \
         --listen-client-urls http://0.0.0.0:2379 --listen-peer-urls http://0.0.0.0:2380 \
         --discovery-resolver 127.0.0.1:8053",
        &[],
    );
    assert!(matches!(&srv.bootstrap.way, Way::Srv(srv)
        if srv.domain == "blueskykong.com" && srv.resolver.is_some()));
    assert_eq!(
        srv.bootstrap_flags,
        ["initial-cluster-state", "initial-cluster-token", "discovery-srv"]
    );
}

#[test]
fn nothing_at_all_is_the_default_cluster() {
    let settings = settings("", &[]);
    assert_eq!(static_ids(&settings), ["8e9e05c52164694d"]);
    assert_eq!(settings.node.limits.quota_bytes, 2 << 30);
    assert_eq!(settings.node.limits.max_concurrent_streams, None);
    assert_eq!(settings.node.limits.watch_progress_interval, Duration::from_secs(600));
    assert!(settings.notes.is_empty() && settings.bootstrap_flags.is_empty());
}

#[test]
fn flags_follow_the_syntax_of_go() {
    let settings =
        settings("-name a --pre-vote=false -heartbeat-interval=200 --snapshot -debug", &[]);
    assert_eq!(settings.node.name, "a");
    assert!(!settings.node.pre_vote);
    assert_eq!(settings.node.heartbeat, Duration::from_millis(200));
    assert_eq!(settings.notes, [Note::Ignored { setting: "snapshot".to_owned() }]);
    assert!(matches!(run("--nope --help", &[]), Ok(Command::Help)));
    assert!(matches!(run("--version", &[]), Ok(Command::Version)));
}

#[test]
fn older_names_reach_the_setting() {
    let watch = settings("--experimental-watch-progress-notify-interval=5s", &[]);
    assert_eq!(watch.node.limits.watch_progress_interval, Duration::from_secs(5));
    assert!(matches!(watch.notes[..], [Note::Deprecated { .. }]));
    let late = "--experimental-max-learners=3 --experimental-wait-cluster-ready-timeout=7s \
                --experimental-warning-unary-request-duration=0";
    let late = settings(late, &[]);
    assert_eq!(late.node.max_learners, 3);
    assert_eq!((late.ready_timeout, late.warning_unary_duration), (Duration::from_secs(7), None));
}

#[test]
fn log_files_are_rotated_as_in_etcd() {
    let rotated = |json: &str| {
        let line = "--enable-log-rotation --log-outputs=stderr,/var/log/node.log";
        let json = [("ETCD_LOG_ROTATION_CONFIG_JSON", json)];
        let settings = settings(line, if json[0].1.is_empty() { &[] } else { &json });
        (settings.log.rotation.unwrap(), settings.notes.len())
    };
    let (usual, notes) = rotated("");
    assert_eq!(
        (usual.max_bytes, usual.max_age, usual.max_backups, notes),
        (100 << 20, None, None, 0)
    );
    let json = r#"{"maxsize":1,"maxage":2,"maxbackups":3,"compress":true,"localtime":true}"#;
    let (other, notes) = rotated(json);
    let two_days = Duration::from_secs(2 * 86_400);
    assert_eq!((other.max_bytes, other.max_backups, notes), (1 << 20, Some(3), 2));
    assert_eq!(other.max_age, Some(two_days));
    let without = settings("--log-outputs=/var/log/node.log", &[]);
    assert_eq!(without.log.rotation, None);
    let one_file =
        "--log-outputs requires a single file path when --log-rotate-config-json is defined";
    assert_eq!(problems("--enable-log-rotation", &[]), [one_file]);
    assert_eq!(problems("--enable-log-rotation --log-outputs=/a,/b", &[]), [one_file]);
    for (json, said) in
        [("{", "improperly formatted"), ("7", "invalid"), ("{\"maxage\":\"x\"}", "invalid")]
    {
        let wrong = [("ETCD_LOG_ROTATION_CONFIG_JSON", json)];
        let wrong = problems("--enable-log-rotation --log-outputs=/a", &wrong);
        assert!(wrong[0].starts_with(&format!("{said} log rotation config: ")), "{wrong:?}");
    }
}

/// Each URL that is not encrypted is named, and what is ignored there.
#[test]
fn urls_without_tls_are_told_of_one_by_one() {
    let urls = "--listen-client-urls https://127.0.0.1:1,http://127.0.0.1:2,http://127.0.0.1:3 \
                --advertise-client-urls https://127.0.0.1:1";
    let notes = |more: &str| settings(&format!("{urls} {more}"), &[]).notes;
    let plain: Vec<(String, bool)> = notes("--cert-file c --key-file k --client-cert-auth")
        .into_iter()
        .filter_map(|note| match note {
            Note::NothingEncrypted { url, client_auth, .. } => Some((url, client_auth)),
            _ => None,
        })
        .collect();
    let url = |n: u8| (format!("http://127.0.0.1:{n}"), false);
    assert_eq!(plain, [url(2), url(3)]);
    assert!(matches!(
        &settings("--client-cert-auth", &[]).notes[..],
        [Note::NothingEncrypted { client_auth: true, settings, .. }] if settings == &["client-cert-auth"]
    ));
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn problems_have_the_texts_of_etcd() {
    let two_ways = "multiple discovery or bootstrap flags are set. Choose one of \
        \"initial-cluster\", \"discovery\", \"discovery-endpoints\" or \"discovery-srv\"";
    let cases: &[(&str, &str)] = &[
        ("--nope", "flag provided but not defined: -nope"),
        ("--name", "flag needs an argument: -name"),
        (
            "--heartbeat-interval=abc",
            "invalid value \"abc\" for flag -heartbeat-interval: parse error",
        ),
        ("--pre-vote=maybe", "invalid value \"maybe\" for flag -pre-vote: parse error"),
        (
            "--initial-cluster-state=zzz",
            "invalid value \"zzz\" for flag -initial-cluster-state: invalid value; it is one of `new`, `existing`",
        ),
        ("foo", "\"foo\" is not a valid flag"),
        (
            "--client-cert-auth true --name a",
            "\"true\" is not a valid flag; a flag that is on or off takes its value after `=`, such as --pre-vote=true",
        ),
        (
            "--feature-gates LeaseCheckpoint",
            "invalid value \"LeaseCheckpoint\" for flag -feature-gates: missing bool value for LeaseCheckpoint",
        ),
        (
            "--listen-client-urls http://127.0.0.1:1",
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (
            "--listen-peer-urls http://example.com:1",
            "expected IP in URL for binding (http://example.com:1)",
        ),
        (
            "--heartbeat-interval 300",
            "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[300ms]",
        ),
        (
            "--election-timeout 60000",
            "--election-timeout[60000ms] is too long, and should be set less than 50000ms",
        ),
        ("--heartbeat-interval 0", "--heartbeat-interval must be >0 (set to 0ms)"),
        ("--discovery http://h:1/t --discovery-srv d", two_ways),
        (
            "--discovery https://h:1/t --discovery-cacert ca.pem",
            "both v2 discovery settings (discovery, discovery-proxy) and v3 discovery settings \
             (discovery-token, discovery-endpoints, discovery-cert, discovery-key, \
             discovery-cacert, discovery-user, discovery-password) are set; the authority of an \
             https:// --discovery is named by the variable SSL_CERT_FILE",
        ),
        (
            "--discovery http://h:1/t --initial-cluster-state existing",
            "discovery URL should not be set when joining existing initial cluster",
        ),
        (
            "--discovery 127.0.0.1:8087/T",
            "failed to join discovery cluster (parse \"127.0.0.1:8087/T\": first path segment in URL cannot contain colon)",
        ),
        (
            "--initial-cluster default=http://h",
            "error setting up initial cluster: URL address does not have the form \"host:port\": http://h",
        ),
        ("--auto-compaction-mode zz", "unknown auto-compaction-mode \"zz\""),
        (
            "--auto-compaction-retention abc",
            "error parsing CompactionRetention: time: invalid duration \"abc\"",
        ),
        ("--logger zzz", "unknown logger option \"zzz\""),
        ("--auth-token zzz", "auth: invalid auth options"),
        ("--auth-token jwt,sign-method", "auth: invalid auth options"),
        ("--auth-token jwt,ttl=1m,ttl=2m", "auth: invalid auth options"),
        ("--auth-token jwt,sign-method=RS256", "auth: missing key data"),
        (
            "--auth-token jwt,sign-method=ES521",
            "auth: invalid auth signature method: `ES521`; know RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, HS256, HS384 and HS512",
        ),
        (
            "--auth-token jwt,sign-method=HS256,ttl=soon",
            "auth: invalid auth options: ttl `soon` is no duration, such as 10m",
        ),
        (
            "--auth-token jwt,sign-method=RS256,priv-key=/nowhere/key",
            "auth: invalid auth options: priv-key `/nowhere/key`: No such file or directory (os error 2)",
        ),
        (
            "--listen-client-urls https://127.0.0.1:1 --advertise-client-urls https://127.0.0.1:1",
            "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme",
        ),
        (
            "--listen-metrics-urls https://127.0.0.1:1",
            "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url",
        ),
        (
            "--listen-client-urls https://127.0.0.1:1 --advertise-client-urls https://h:1 --auto-tls --self-signed-cert-validity 0",
            "selfSignedCertValidity is invalid,it should be greater than 0",
        ),
        (
            "--discovery-resolver dns.example --discovery-srv d",
            "--discovery-resolver: `dns.example` is no address of a DNS server, such as 192.0.2.1 or 127.0.0.1:8053",
        ),
    ];
    for (line, text) in cases {
        assert_eq!(problems(line, &[]), [*text], "{line}");
    }
    assert_eq!(
        problems("", &[("ETCD_HEARTBEAT_INTERVAL", "abc")]),
        ["invalid value \"abc\" for ETCD_HEARTBEAT_INTERVAL: parse error"]
    );
    assert!(problems("--name a", &[("ETCD_NAME", "a")])[0].starts_with(
        "conflicting environment variable is shadowed by corresponding command-line flag"
    ));
}

#[test]
fn v3_discovery_is_checked() {
    let settings = settings(
        "--discovery-token T --discovery-endpoints 10.0.0.1:8087,http://h:1,10.0.0.1:8087 \
         --discovery-user u --discovery-password hidden --discovery-request-timeout 3s",
        &[],
    );
    let Way::TokenV3(way) = &settings.bootstrap.way else { panic!("{:?}", settings.bootstrap) };
    assert_eq!(way.token, "T");
    assert_eq!(way.endpoints, ["10.0.0.1:8087", "http://h:1"]);
    assert_eq!((way.request_timeout.as_secs(), way.dial_timeout.as_secs()), (3, 2));
    assert!(way.credentials.is_some() && !format!("{way:?}").contains("hidden"));
    assert!(!settings.proxy_when_full);
    let two_ways = "multiple discovery or bootstrap flags are set. Choose one of \
        \"initial-cluster\", \"discovery\", \"discovery-endpoints\" or \"discovery-srv\"";
    let cases = [
        ("--discovery-token t", "both --discovery-token and --discovery-endpoints must be set"),
        (
            "--discovery-endpoints h:1 --discovery-user u --discovery-password p",
            "both --discovery-token and --discovery-endpoints must be set",
        ),
        ("--discovery http://h:1/t --discovery-token t", two_ways),
        ("--discovery-token t --discovery-endpoints h:1 --discovery-srv d", two_ways),
        (
            "--discovery-token t --discovery-endpoints h:1 --initial-cluster-state existing",
            "discovery endpoints should not be set when joining existing initial cluster",
        ),
        (
            "--discovery-token t --discovery-endpoints h:1 --discovery-proxy http://p:1",
            "both v2 discovery settings (discovery, discovery-proxy) and v3 discovery settings (discovery-token, discovery-endpoints, discovery-cert, discovery-key, discovery-cacert, discovery-user, discovery-password) are set",
        ),
        (
            "--discovery-token t --discovery-endpoints h:1,,h:2",
            "--discovery-endpoints must not contain empty endpoints",
        ),
        (
            "--discovery-token t --discovery-endpoints h",
            "--discovery-endpoints: `h` is no endpoint; endpoints look like host:port, http://host:port or https://host:port",
        ),
        (
            "--discovery-token t --discovery-endpoints h:1 --discovery-user u",
            "--discovery-user and --discovery-password must be set together",
        ),
        (
            "--discovery-token t --discovery-endpoints ftp://h:1",
            "--discovery-endpoints: `ftp://h:1` is no endpoint; endpoints look like host:port, http://host:port or https://host:port",
        ),
        (
            "--discovery-token t --discovery-endpoints h:1 --discovery-cert c.pem",
            "KeyFile and CertFile must both be present[key: , cert: c.pem]",
        ),
    ];
    for (line, text) in cases {
        assert_eq!(problems(line, &[]), [text], "{line}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let line = "--nope 5 --pre-vote=maybe --election-timeout=1 --listen-peer-urls http://a.b:1 \
        --proxy=on --discovery-token t";
    assert_eq!(problems(line, &[]).len(), 6);
}

#[test]
fn help_names_every_flag() {
    let help = help();
    for flag in table::all() {
        assert!(help.contains(&format!("--{}", flag.name)), "{}", flag.name);
    }
}
