use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::discovery::Way;
use crate::dns_server::{Bound, Catalog, Settings, serve};
use crate::membership::PeerUrl;

fn urls(text: &str) -> Vec<PeerUrl> {
    text.split(',').map(|url| PeerUrl::parse(url).unwrap()).collect()
}

/// Hosts `a.test`, `b.test`, ... have the addresses 10.0.0.1, 10.0.0.2, ...; others have none.
fn target(text: &str) -> Target {
    let (host, port) = text.split_once(':').unwrap();
    let addresses = match host.as_bytes() {
        [letter, b'.', b't', ..] => Ok(vec![IpAddr::from([10, 0, 0, letter - b'a' + 1])]),
        _ => Err(format!("lookup {host} on 127.0.0.1:53: no such host")),
    };
    Target { host: host.to_owned(), port: port.parse().unwrap(), addresses }
}

fn check(name: &str, advertised: &str, ssl: &str, plain: &str) -> String {
    let urls = urls(advertised);
    let places = urls
        .iter()
        .map(|url| {
            (target(&format!("{}:1", url.host())).addresses.unwrap()[0], url.port(), url.clone())
        })
        .collect();
    let own = Own { name: name.to_owned(), urls, places };
    let service = |scheme, label: &str, text: &str| Service {
        scheme,
        label: label.to_owned(),
        targets: match text {
            "" => Err(format!("lookup _{label}._tcp.test on 127.0.0.1:53: no such host")),
            text => Ok(text.split(' ').map(target).collect()),
        },
    };
    let services =
        [service("https", "etcd-server-ssl", ssl), service("http", "etcd-server", plain)];
    match assemble(&own, &services) {
        Ok(list) => list.to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn records_make_the_list_of_etcd() {
    let no_ssl = "error querying DNS SRV records for _etcd-server-ssl lookup _etcd-server-ssl._tcp.test on 127.0.0.1:53: no such host";
    let no_plain = "error querying DNS SRV records for _etcd-server lookup _etcd-server._tcp.test on 127.0.0.1:53: no such host";
    let cases = [
        (
            "n",
            "http://b.test:1",
            "",
            "a.test:1 b.test:1 c.test:1",
            "0=http://a.test:1,1=http://c.test:1,n=http://b.test:1",
        ),
        // The own name is a number that another member would get.
        ("0", "http://b.test:1", "", "a.test:1 b.test:1", "0=http://b.test:1,1=http://a.test:1"),
        ("n", "https://b.test:1", "a.test:1 b.test:1", "", "0=https://a.test:1,n=https://b.test:1"),
        // Both services, other hosts: numbers run on.
        (
            "n",
            "http://b.test:1",
            "a.test:1",
            "b.test:1 c.test:1",
            "0=https://a.test:1,1=http://c.test:1,n=http://b.test:1",
        ),
        ("n", "http://b.test:1", "", "", &format!("{no_ssl}; {no_plain}")),
        (
            "n",
            "http://b.test:1",
            "",
            "nosuch:1",
            &format!(
                "{no_ssl}; error querying DNS SRV records for _etcd-server lookup nosuch on 127.0.0.1:53: no such host"
            ),
        ),
        (
            "n",
            "http://b.test:1",
            "",
            "a.test:1 nosuch:1 b.test:1",
            "0=http://a.test:1,n=http://b.test:1",
        ),
        (
            "n",
            "http://b.test:2",
            "",
            "b.test:1",
            "cannot find local etcd member \"n\" in SRV records (this node advertises http://b.test:2, the records list http://b.test:1)",
        ),
        (
            "n",
            "http://b.test:1",
            "b.test:1",
            "",
            &format!(
                "error querying DNS SRV records for _etcd-server-ssl bootstrap at https://b.test:1 from DNS for etcd-server-ssl has scheme mismatch with expected peer http://b.test:1; {no_plain}"
            ),
        ),
        (
            "n",
            "http://b.test:1",
            "a.test:1 b.test:1",
            "a.test:1 b.test:1",
            "a.test:1 is listed under both _etcd-server-ssl and _etcd-server; publish one of the two services",
        ),
        // One host under two names is this node twice; the check of the advertised URLs refuses it.
        ("n", "http://b.test:1", "", "b.test:1 b.tx:1", "n=http://b.test:1,n=http://b.tx:1"),
    ];
    for (name, advertised, ssl, plain, outcome) in cases {
        assert_eq!(check(name, advertised, ssl, plain), outcome, "{ssl} / {plain}");
    }
}

#[tokio::test]
async fn a_zone_leads_to_the_ids_of_etcd() {
    let dir = tempfile::tempdir().unwrap();
    let mut zone = String::from(
        "$ORIGIN example.test.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n",
    );
    for n in 0..3 {
        zone += &format!("infra{n} A 127.0.0.1{n}\n_etcd-server._tcp SRV 0 0 2380 infra{n}\n");
        zone += &format!("_etcd-server-ssl-foo._tcp SRV 0 0 2380 infra{n}\n");
    }
    zone += "_etcd-server-one._tcp SRV 0 0 2380 infra0\n_etcd-server-one._tcp SRV 0 0 2380 gone.other.test.\n";
    std::fs::write(dir.path().join("example.test.zone"), zone).unwrap();
    let (catalog, _) = Catalog::load(dir.path()).unwrap();
    let catalog = Arc::new(catalog);
    let bound = Bound::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let resolver: SocketAddr = bound.local_addr();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(vec![bound], catalog, Settings::default(), stop.clone()));
    let look = async |advertised: &str, suffix: &str, domain: &str| {
        let way = SrvRequest {
            domain: domain.to_owned(),
            suffix: suffix.to_owned(),
            resolver: Some(resolver),
        };
        let request = Request {
            name: "infra1".to_owned(),
            peer_urls: urls(advertised),
            way: Way::Srv(way.clone()),
            cluster_token: "tkn".to_owned(),
            existing: false,
            tls: None,
        };
        look_up(&request, &way, &Names::new(way.resolver).unwrap())
            .await
            .map_err(|error| error.to_string().replace(&resolver.to_string(), "DNS"))
    };
    for (advertised, suffix, domain, cluster) in [
        ("http://infra1.example.test:2380", "", "example.test", "1e969ec48578fad0"),
        ("http://infra1.example.test:2380", "", "example.test.", "1e969ec48578fad0"),
        // By address: the URL is still that of the record.
        ("http://127.0.0.11:2380", "", "example.test", "1e969ec48578fad0"),
        ("https://infra1.example.test:2380", "foo", "example.test", "db7bf9d1b6b14433"),
    ] {
        let list = look(advertised, suffix, domain).await.unwrap();
        assert_eq!(list.cluster_id("tkn").to_string(), cluster, "{list}");
        assert!(list.urls("infra1").is_some());
    }
    let missing = look("http://infra1.example.test:2380", "bar", "example.test").await.unwrap_err();
    assert_eq!(
        missing,
        "error querying DNS SRV records for _etcd-server-ssl-bar lookup _etcd-server-ssl-bar._tcp.example.test on DNS: no such host; \
         error querying DNS SRV records for _etcd-server-bar lookup _etcd-server-bar._tcp.example.test on DNS: no such host"
    );
    let refused = look("http://infra1.example.test:2380", "", "other.test").await.unwrap_err();
    assert!(
        refused.contains("lookup _etcd-server._tcp.other.test on DNS: server misbehaving"),
        "{refused}"
    );
    let nameless = look("http://nosuch.example.test:2380", "", "example.test").await.unwrap_err();
    assert_eq!(nameless, "lookup nosuch.example.test on DNS: no such host");
    let stranger = look("http://127.0.0.19:2380", "one", "example.test").await.unwrap_err();
    assert!(stranger.contains("the records list http://infra0.example.test:2380"), "{stranger}");
    stop.cancel();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named_at_once() {
    // Taken and closed again: nobody listens there.
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    drop(socket);
    let way = SrvRequest {
        domain: "example.test".to_owned(),
        suffix: String::new(),
        resolver: Some(server),
    };
    let asking = Survey::take(&way, &[]);
    let error = tokio::time::timeout(std::time::Duration::from_secs(5), asking).await.unwrap();
    assert_eq!(error.unwrap_err().to_string(), format!("no DNS server answers at {server}"));
}
