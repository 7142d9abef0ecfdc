//! What etcd's Grafana dashboard and alert rules look at must be there, and must move.

use std::path::Path;

use crate::harness::{Flavor, Node, http, scratch, static_cluster_with, wait};

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
    let flags = ["--metrics=extensive"];
    let nodes = static_cluster_with(&[Flavor::Ours; 3], dir.path(), &flags).unwrap();
    let client = nodes[0].client();
    for number in 0..20 {
        client.put(&format!("key{number}"), "value").unwrap();
    }
    client.get("key1").unwrap();
    let put =
        r#"{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary""#;
    let time = r#"{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary""#;
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
            ("etcd_disk_wal_write_bytes_total".to_owned(), 1000.0),
            ("etcd_disk_backend_commit_duration_seconds_count".to_owned(), 1.0),
            ("etcd_mvcc_put_total".to_owned(), 20.0),
            ("etcd_mvcc_range_total".to_owned(), 1.0),
            ("etcd_mvcc_db_total_size_in_bytes".to_owned(), 1.0),
            ("etcd_network_client_grpc_received_bytes_total".to_owned(), 200.0),
            ("etcd_network_client_grpc_sent_bytes_total".to_owned(), 200.0),
            ("etcd_network_peer_sent_bytes_total".to_owned(), 20.0),
            ("etcd_network_peer_received_bytes_total".to_owned(), 20.0),
            ("etcd_network_peer_round_trip_time_seconds_count".to_owned(), 1.0),
            ("etcd_network_active_peers".to_owned(), 1.0),
            ("etcd_server_quota_backend_bytes".to_owned(), 2_147_483_648.0),
            ("process_resident_memory_bytes".to_owned(), 1_000_000.0),
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
}
