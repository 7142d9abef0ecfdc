//! What etcd's Grafana dashboard and alert rules look at must be there, and must move.

use std::path::Path;

use crate::harness::{Flavor, Node, Process, free_port, http, scratch, static_cluster_with, wait};

fn metrics(node: &Node) -> String {
    http("GET", &format!("{}/metrics", node.client_url()), None).unwrap().body
}

/// The value of the only series of a name, or of the first with these labels.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| {
        line.strip_prefix(series).is_some_and(|rest| rest.starts_with([' ', '{', ',', '}']))
    })?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn dashboards_and_alerts_find_their_metrics() {
    let dir = scratch();
    let flags = ["--metrics=extensive"];
    let nodes = static_cluster_with(&[Flavor::Ours; 3], dir.path(), &flags).unwrap();
    let client = nodes[0].client();
    client.put("key", "value").unwrap();
    client.get("key").unwrap();
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/metrics.txt");
    let list = std::fs::read_to_string(list).unwrap();
    let names: Vec<&str> =
        list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(names.len() > 20);
    for node in &nodes {
        // The way to a peer is first measured once it is connected.
        let missing = wait("all metrics of the dashboards", || {
            let text = metrics(node);
            let missing: Vec<&&str> =
                names.iter().filter(|name| value(&text, name).is_none()).collect();
            eprintln!("{}: missing {missing:?}", node.name);
            missing.is_empty().then_some(missing)
        });
        assert!(missing.is_empty());
    }
}

#[test]
fn metrics_are_measured() {
    let dir = scratch();
    let flags = ["--metrics=extensive", "--warning-apply-duration=1ns"];
    let nodes = static_cluster_with(&[Flavor::Ours; 3], dir.path(), &flags).unwrap();
    let client = nodes[0].client();
    for number in 0..20 {
        client.put(&format!("key{number}"), "value").unwrap();
    }
    client.get("key1").unwrap();
    upkeep(&nodes[0]);
    for page in ["livez", "readyz"] {
        let url = format!("{}/{page}", nodes[0].client_url());
        assert_eq!(http("GET", &url, None).unwrap().body, "ok\n");
    }
    let lease = format!("{}/v3/lease/grant", nodes[0].client_url());
    assert_eq!(http("POST", &lease, Some(r#"{"TTL":600}"#)).unwrap().status, 200);
    let applied = r#"{op="Put",success="true",version="v3""#;
    let check = r#"{name="linearizable_read",status="success",type="readyz""#;
    let put =
        r#"{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary""#;
    let time = r#"{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary""#;
    let compaction = "etcd_debugging_mvcc_db_compaction";
    let index_compaction = "etcd_debugging_mvcc_index_compaction";
    let gate = r#"{name="LeaseCheckpoint",stage="ALPHA""#;
    let id = client.status().unwrap().header.unwrap().member_id;
    let known = format!(r#"etcd_network_known_peers{{Local="{id:x}",Remote="{id:x}""#);
    wait("the metrics to have moved", || {
        let text = metrics(&nodes[0]);
        let at_least = [
            (format!("grpc_server_handled_total{put}"), 20.0),
            (format!("grpc_server_handling_seconds_count{time}"), 20.0),
            ("etcd_server_proposals_committed_total".to_owned(), 20.0),
            ("etcd_server_proposals_applied_total".to_owned(), 20.0),
            ("etcd_server_leader_changes_seen_total".to_owned(), 1.0),
            ("etcd_server_has_leader".to_owned(), 1.0),
            ("etcd_disk_wal_fsync_duration_seconds_count".to_owned(), 1.0),
            ("etcd_disk_wal_write_duration_seconds_count".to_owned(), 1.0),
            ("etcd_disk_wal_write_bytes_total".to_owned(), 1000.0),
            (format!("etcd_server_apply_duration_seconds_count{applied}"), 20.0),
            (r#"etcd_server_range_duration_seconds_count{success="true""#.to_owned(), 1.0),
            (format!("etcd_server_healthchecks_total{check}"), 1.0),
            ("etcd_debugging_lease_ttl_total_sum".to_owned(), 600.0),
            ("etcd_disk_backend_commit_duration_seconds_count".to_owned(), 1.0),
            ("etcd_server_slow_apply_total".to_owned(), 20.0),
            ("etcd_mvcc_put_total".to_owned(), 20.0),
            ("etcd_mvcc_range_total".to_owned(), 1.0),
            ("etcd_mvcc_db_total_size_in_bytes".to_owned(), 1.0),
            ("etcd_network_client_grpc_received_bytes_total".to_owned(), 200.0),
            ("etcd_network_client_grpc_sent_bytes_total".to_owned(), 200.0),
            ("etcd_network_peer_sent_bytes_total".to_owned(), 20.0),
            ("etcd_network_peer_received_bytes_total".to_owned(), 20.0),
            ("etcd_network_peer_round_trip_time_seconds_count".to_owned(), 1.0),
            ("etcd_network_active_peers".to_owned(), 1.0),
            (known.clone(), 1.0),
            ("etcd_server_quota_backend_bytes".to_owned(), 2_147_483_648.0),
            ("etcd_debugging_mvcc_keys_total".to_owned(), 20.0),
            ("etcd_debugging_auth_revision".to_owned(), 1.0),
            ("etcd_mvcc_hash_rev_duration_seconds_count".to_owned(), 1.0),
            ("etcd_disk_backend_snapshot_duration_seconds_count".to_owned(), 1.0),
            ("etcd_disk_backend_defrag_duration_seconds_count".to_owned(), 1.0),
            ("etcd_disk_defrag_inflight".to_owned(), 0.0),
            (format!("{compaction}_total_duration_milliseconds_count"), 1.0),
            (format!("{compaction}_pause_duration_milliseconds_count"), 1.0),
            (format!("{index_compaction}_pause_duration_milliseconds_count"), 1.0),
            (format!("{compaction}_keys_total"), 1.0),
            (format!("{compaction}_last"), 1_000_000_000.0),
            (format!("etcd_server_feature_enabled{gate}"), 1.0),
            ("process_resident_memory_bytes".to_owned(), 1_000_000.0),
            ("process_virtual_memory_max_bytes".to_owned(), 1_000_000.0),
            ("os_fd_used".to_owned(), 10.0),
        ];
        let behind: Vec<&String> = at_least
            .iter()
            .filter(|(name, least)| value(&text, name).is_none_or(|value| value < *least))
            .map(|(name, _)| name)
            .collect();
        eprintln!("not moved: {behind:?}");
        behind.is_empty().then_some(())
    });
    let differs = other_than_in_etcd(&metrics(&nodes[0]));
    assert!(differs.is_empty(), "{differs:#?}");
}

/// Metrics that are missing, or whose type or labels are not those of the recorded etcd.
fn other_than_in_etcd(text: &str) -> Vec<String> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/etcd-metrics.txt");
    let list = std::fs::read_to_string(list).unwrap();
    let (always, seldom) = list.split_once("\nseldom:\n").unwrap();
    let told = |list: &str| {
        let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (always, seldom) = (told(always), told(seldom));
    assert!(always.len() > 60 && seldom.len() > 10);
    let ours: Vec<String> = text.lines().filter_map(|line| described(text, line)).collect();
    let name = |line: &str| line.split(' ').next().map(str::to_owned);
    let unlike = |line: &&String| !ours.contains(line);
    let here = |line: &&String| ours.iter().any(|other| name(other) == name(line));
    let seldom = seldom.iter().filter(here).filter(unlike);
    always.iter().filter(unlike).chain(seldom).cloned().collect()
}

/// Name, type and labels of the metric that a line of types begins.
fn described(text: &str, line: &str) -> Option<String> {
    let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
    let series = if kind == "histogram" { format!("{name}_count") } else { name.to_owned() };
    let first = text
        .lines()
        .find_map(|line| line.strip_prefix(&series).filter(|rest| rest.starts_with([' ', '{'])))?;
    // Before each value, which stands in quotes, is its label. Those of ours have no quotes inside.
    let outside = first.split('"').step_by(2);
    let labels = outside.filter_map(|part| part.strip_suffix('='));
    let mut labels: Vec<&str> = labels.map(|label| label.trim_start_matches(['{', ','])).collect();
    labels.sort_unstable();
    Some([name, kind].into_iter().chain(labels).collect::<Vec<_>>().join(" "))
}

/// What operators and their timers do now and then.
fn upkeep(node: &Node) {
    let client = node.client();
    let last = client.put("key1", "again").unwrap();
    let compaction = format!(r#"{{"revision":{},"physical":true}}"#, last.revision);
    for (path, body) in [
        ("kv/compaction", &*compaction),
        ("maintenance/defragment", "{}"),
        ("maintenance/snapshot", "{}"),
    ] {
        let url = format!("{}/v3/{path}", node.client_url());
        assert_eq!(http("POST", &url, Some(body)).unwrap().status, 200, "{path}");
    }
    client.hash().unwrap();
}

/// The names of metrics in a query of Prometheus.
fn names(query: &str) -> impl Iterator<Item = String> + '_ {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = query.split(move |c| !word(c));
    let ours = words.filter(|word| word.starts_with("quorate_") || word.starts_with("process_"));
    ours.map(str::to_owned)
}

/// A service that serves HTTPS, and a client of it.
struct Secured {
    address: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    _process: Process,
}

fn certs(dir: &Path, arguments: &[&str]) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_quorate"));
    let made = command.arg("certs").args(arguments).current_dir(dir).status().unwrap();
    assert!(made.success(), "{arguments:?}");
}

impl Secured {
    fn start(dir: &Path) -> Self {
        certs(dir, &["ca"]);
        certs(dir, &["node", "service", "--host", "127.0.0.1"]);
        let address = format!("127.0.0.1:{}", free_port());
        let flags = [
            "serve".to_owned(),
            "--tls-cert=certs/service.pem".to_owned(),
            "--tls-key=certs/service-key.pem".to_owned(),
            format!("--http-addr={address}"),
            "--dns-addr=127.0.0.1:0".to_owned(),
            "--zones-dir=.".to_owned(),
        ];
        let program = Path::new(env!("CARGO_BIN_EXE_quorate"));
        let process = Process::start("quorate", program, &flags, &[], dir);
        // Another test may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true);
        let service = Self { address, client: client.build().unwrap(), runtime, _process: process };
        wait("the service", || {
            service.ask(reqwest::Method::GET, "/health").filter(|said| said == "OK")
        });
        service
    }

    fn ask(&self, method: reqwest::Method, path: &str) -> Option<String> {
        let asked = self.client.request(method, format!("https://{}{path}", self.address)).send();
        self.runtime.block_on(async { asked.await?.text().await }).ok()
    }

    fn metrics(&self) -> String {
        self.ask(reqwest::Method::GET, "/metrics").unwrap()
    }
}

/// All metrics of a service that has seen a cluster form and a node refused.
fn metrics_of_a_service(dir: &Path) -> String {
    let service = Secured::start(dir);
    let url = service.ask(reqwest::Method::GET, "/new?size=1").unwrap();
    let member: quorate::membership::InitialCluster = "n1=http://10.0.0.1:2380".parse().unwrap();
    let id = member.member_id("n1", &url).unwrap();
    let path = url.trim_start_matches(&format!("https://{}", service.address));
    for value in ["n1%3Dhttp%3A%2F%2F10.0.0.1%3A2380", "nonsense"] {
        service.ask(reqwest::Method::PUT, &format!("{path}/{id}?value={value}")).unwrap();
    }
    service.metrics()
}

/// As an alert would see it: the end of the certificate in use, and of the next one once that is.
#[test]
fn a_metric_tells_when_the_certificate_ends() {
    const NAME: &str = "quorate_tls_certificate_not_after_seconds";
    let dir = scratch();
    let service = Secured::start(dir.path());
    let end = || {
        let text = std::fs::read(dir.path().join("certs/service.pem")).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(&text).unwrap();
        pem.parse_x509().unwrap().validity().not_after.timestamp() as f64
    };
    let first = end();
    assert_eq!(value(&service.metrics(), NAME), Some(first));
    for file in ["certs/service.pem", "certs/service-key.pem"] {
        std::fs::remove_file(dir.path().join(file)).unwrap();
    }
    certs(dir.path(), &["node", "service", "--host", "127.0.0.1", "--days", "30"]);
    assert!(end() < first);
    wait("the next certificate", || (value(&service.metrics(), NAME) == Some(end())).then_some(()));
}

#[test]
fn the_dashboard_and_the_rules_of_the_service_find_their_metrics() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib");
    let rules = std::fs::read_to_string(root.join("prometheus-rules.yml")).unwrap();
    let queries = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let mut wanted: std::collections::BTreeSet<String> = queries.flat_map(names).collect();
    assert!(wanted.len() >= 5, "{wanted:?}");
    let dashboard = std::fs::read_to_string(root.join("grafana-dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    wanted.extend(targets.flat_map(|target| names(target["expr"].as_str().unwrap())));
    assert!(wanted.len() >= 10, "{wanted:?}");
    let dir = scratch();
    let text = metrics_of_a_service(dir.path());
    let missing: Vec<&String> = wanted.iter().filter(|name| value(&text, name).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?} are not in\n{text}");
}
