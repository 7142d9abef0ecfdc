//! Bootstrap by DNS SRV, in a network namespace whose resolv.conf names our server.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Flavor, Namespace, Process, scratch, tools, wait};

/// A namespace with our service on port 53 and these zones.
struct Network {
    namespace: Namespace,
    etcdctl: PathBuf,
    dir: tempfile::TempDir,
    _service: Process,
}

impl Network {
    fn new(suffix: &str, addresses: &[&str], zones: &[(&str, String)]) -> Option<Self> {
        let etcdctl = tools::etcdctl()?;
        let dig = tools::dig()?;
        let namespace = Namespace::new(suffix, addresses)?;
        let dir = scratch();
        fs::create_dir(dir.path().join("zones")).unwrap();
        for (origin, text) in zones {
            fs::write(dir.path().join("zones").join(format!("{origin}.zone")), text).unwrap();
        }
        let flags = [
            "serve".to_owned(),
            format!("--data-dir={}", dir.path().join("quorate.data").display()),
            format!("--zones-dir={}", dir.path().join("zones").display()),
            "--http-addr=127.0.0.1:8087".to_owned(),
            "--dns-addr=127.0.0.1:53".to_owned(),
        ];
        let program = Path::new(env!("CARGO_BIN_EXE_quorate"));
        let service = namespace.start("quorate", program, &flags, dir.path());
        for (origin, _) in zones {
            wait("DNS", || {
                let soa = namespace.run(&dig, &["+short", "+time=1", "+tries=1", "SOA", origin]);
                (soa.status.success() && !soa.stdout.is_empty()).then_some(())
            });
        }
        Some(Self { namespace, etcdctl, dir, _service: service })
    }

    fn etcdctl(&self, arguments: &[&str]) -> String {
        let output = self.namespace.run(&self.etcdctl, arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { text } else { format!("{output:?}") }
    }

    /// Waits until a write through `endpoint` is acknowledged.
    fn wait_for_write(&self, endpoint: &str) {
        wait(&format!("a write through {endpoint}"), || {
            (self.etcdctl(&["--endpoints", endpoint, "put", "k", "v"]) == "OK\n").then_some(())
        });
    }
}

const TUTORIAL: [&str; 3] = ["192.168.202.128", "192.168.202.129", "192.168.202.130"];

/// As this repository ships it.
fn tutorial_zone() -> String {
    let zones = Path::new(env!("CARGO_MANIFEST_DIR")).join("dns-zones");
    fs::read_to_string(zones.join("blueskykong.com.zone")).unwrap()
}

/// The tutorial's nodes, flag by flag, except that each listens on its own address only: all three
/// share this machine.
fn tutorial_nodes(network: &Network, flavor: Flavor) -> Option<Vec<Process>> {
    let program = flavor.program()?;
    let node = |(address, n): (&&str, i32)| {
        let flags = [
            format!("--name=etcd{n}"),
            "--discovery-srv=blueskykong.com".to_owned(),
            format!("--initial-advertise-peer-urls=http://etcd{n}.blueskykong.com:2380"),
            "--initial-cluster-token=etcd-cluster-1".to_owned(),
            format!("--data-dir={}", network.dir.path().join(format!("etcd{n}")).display()),
            "--initial-cluster-state=new".to_owned(),
            format!("--advertise-client-urls=http://etcd{n}.blueskykong.com:2379"),
            format!("--listen-client-urls=http://{address}:2379"),
            format!("--listen-peer-urls=http://{address}:2380"),
        ];
        network.namespace.start(&format!("etcd{n}"), &program, &flags, network.dir.path())
    };
    Some(TUTORIAL.iter().zip(1..).map(node).collect())
}

fn tutorial(flavor: Flavor, suffix: &str) {
    let zone = tutorial_zone();
    let network = Network::new(suffix, &TUTORIAL, &[("blueskykong.com", zone)]);
    let Some(network) = network else { return };
    let Some(_nodes) = tutorial_nodes(&network, flavor) else { return };
    for address in TUTORIAL {
        network.wait_for_write(&format!("http://{address}:2379"));
    }
    check_members(&network, "--discovery-srv=blueskykong.com");
}

/// Names, URLs and ids as etcd has them for these flags.
fn check_members(network: &Network, endpoints: &str) {
    let list = network.etcdctl(&[endpoints, "member", "list"]);
    let mut lines: Vec<&str> = list.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 3, "{list}");
    for n in 1..=3 {
        let wanted = format!(
            "started, etcd{n}, http://etcd{n}.blueskykong.com:2380, \
             http://etcd{n}.blueskykong.com:2379"
        );
        assert!(lines.iter().any(|line| line.contains(&wanted)), "{list}");
    }
    let ids: Vec<&str> = lines.iter().filter_map(|line| line.split(',').next()).collect();
    assert_eq!(ids, ["1c74529850be61e9", "af98e8a7fd3a720e", "e6e167c76b11e2d7"]);
}

#[test]
fn three_of_ours_by_the_tutorial_zone() {
    tutorial(Flavor::Ours, "ours");
}

#[test]
fn three_real_etcd_3_5_by_the_tutorial_zone() {
    tutorial(Flavor::Etcd35, "e35");
}

/// `/etc/dnsmasq.conf` of the tutorial, but for the directory of its resolver file.
fn tutorial_dnsmasq_conf(resolv_file: &Path) -> String {
    format!(
        "resolv-file={}\n\
         srv-host=_etcd-server._tcp.blueskykong.com,etcd1.blueskykong.com,2380,0,100\n\
         srv-host=_etcd-server._tcp.blueskykong.com,etcd2.blueskykong.com,2380,0,100\n\
         srv-host=_etcd-server._tcp.blueskykong.com,etcd3.blueskykong.com,2380,0,100\n",
        resolv_file.display()
    )
}

const TUTORIAL_HOSTS: &str = "127.0.0.1 localhost\n\
    192.168.202.128 etcd1.blueskykong.com\n\
    192.168.202.129 etcd2.blueskykong.com\n\
    192.168.202.130 etcd3.blueskykong.com\n";

/// A server on the Internet of this test.
const UPSTREAM: &str = "192.0.2.53";

/// `quorate serve` in the place of the tutorial's dnsmasq: its files, its two `dig` lines, its nodes.
#[test]
fn three_of_ours_by_the_tutorials_dnsmasq_files() {
    let (Some(etcdctl), Some(dig)) = (tools::etcdctl(), tools::dig()) else { return };
    let addresses = [&TUTORIAL[..], &[UPSTREAM, "198.51.100.53"]].concat();
    let Some(namespace) = Namespace::new("dnsmasq", &addresses) else { return };
    namespace.write_etc("hosts", TUTORIAL_HOSTS);
    namespace.write_etc("resolv.conf", "nameserver 192.168.202.128\n");
    let dir = scratch();
    let (conf, resolv) = (dir.path().join("dnsmasq.conf"), dir.path().join("resolv.dnsmasq.conf"));
    fs::write(&conf, tutorial_dnsmasq_conf(&resolv)).unwrap();
    fs::write(&resolv, "nameserver 198.51.100.53\n").unwrap();
    let zone = "$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n";
    fs::create_dir(dir.path().join("zones")).unwrap();
    fs::write(dir.path().join("zones/outside.test.zone"), zone).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_quorate"));
    let start = |name: &str, more: &[String]| {
        let data = format!("--data-dir={}", dir.path().join(name).display());
        let flags = [&["serve".to_owned(), data], more].concat();
        namespace.start(name, program, &flags, dir.path())
    };
    let zones = format!("--zones-dir={}", dir.path().join("zones").display());
    let off = "--http-addr=off".to_owned();
    let _upstream = start("upstream", &[off.clone(), zones, format!("--dns-addr={UPSTREAM}:53")]);
    let conf = format!("--dnsmasq-conf={}", conf.display());
    let service = start("quorate", &[off, conf, "--dns-addr=192.168.202.128:53".to_owned()]);
    let answer = |more: &[&str]| {
        let arguments = [&["@192.168.202.128", "+noall", "+answer"], more].concat();
        let text = String::from_utf8(namespace.run(&dig, &arguments).stdout).unwrap();
        let records = text.lines().filter(|line| !line.starts_with(';'));
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut records: Vec<String> = records.map(words).collect();
        records.sort_unstable();
        records
    };
    let service_name = "_etcd-server._tcp.blueskykong.com";
    let records = wait("the SRV records", || {
        Some(answer(&["SRV", service_name])).filter(|records| records.len() == 3)
    });
    let wanted = |n| format!("{service_name}. 0 IN SRV 0 100 2380 etcd{n}.blueskykong.com.");
    assert_eq!(records, [1, 2, 3].map(wanted));
    let hosts =
        answer(&["etcd1.blueskykong.com", "etcd2.blueskykong.com", "etcd3.blueskykong.com"]);
    let wanted = |n| format!("etcd{n}.blueskykong.com. 0 IN A 192.168.202.{}", 127 + n);
    assert_eq!(hosts, [1, 2, 3].map(wanted));
    // Nobody answers at the address that the file has had until now.
    fs::write(&resolv, format!("nameserver {UPSTREAM}\nnameserver 198.51.100.53\n")).unwrap();
    wait("a name of the upstream", || {
        let records = answer(&["ns.outside.test"]);
        records.first()?.ends_with(" IN A 192.0.2.1").then_some(())
    });

    let network = Network { namespace, etcdctl, dir, _service: service };
    let Some(_nodes) = tutorial_nodes(&network, Flavor::Ours) else { return };
    for address in TUTORIAL {
        network.wait_for_write(&format!("http://{address}:2379"));
    }
    // The tutorial has no `_etcd-client` records, so clients are told an endpoint.
    check_members(&network, "--endpoints=http://192.168.202.128:2379");
}

/// 3.4 reads `-ssl` records only, so its peers speak TLS.
#[test]
fn three_real_etcd_3_4_by_ssl_records() {
    let addresses = ["10.77.0.11", "10.77.0.12", "10.77.0.13"];
    let mut zone = "$ORIGIN ssl.test.\n$TTL 60\n@ IN SOA ns hostmaster 1 3600 600 86400 60\n\
                    @ IN NS ns\nns IN A 127.0.0.1\n"
        .to_owned();
    for (address, n) in addresses.iter().zip(1..) {
        zone +=
            &format!("infra{n} IN A {address}\n_etcd-server-ssl._tcp IN SRV 0 100 2380 infra{n}\n");
    }
    let Some(network) = Network::new("e34", &addresses, &[("ssl.test", zone)]) else { return };
    let Some(program) = Flavor::Etcd34.program() else { return };
    let node = |(address, n): (&&str, i32)| {
        let flags = [
            format!("--name=infra{n}"),
            format!("--data-dir={}", network.dir.path().join(format!("infra{n}")).display()),
            "--discovery-srv=ssl.test".to_owned(),
            "--initial-cluster-token=tkn".to_owned(),
            "--peer-auto-tls".to_owned(),
            format!("--initial-advertise-peer-urls=https://infra{n}.ssl.test:2380"),
            format!("--listen-peer-urls=https://{address}:2380"),
            format!("--advertise-client-urls=http://infra{n}.ssl.test:2379"),
            format!("--listen-client-urls=http://{address}:2379"),
        ];
        network.namespace.start(&format!("infra{n}"), &program, &flags, network.dir.path())
    };
    let _nodes: Vec<Process> = addresses.iter().zip(1..).map(node).collect();
    for address in addresses {
        network.wait_for_write(&format!("http://{address}:2379"));
    }
}

#[test]
fn a_domain_without_records_is_refused_with_both_names() {
    let zone = tutorial_zone();
    let network = Network::new("none", &TUTORIAL, &[("blueskykong.com", zone)]);
    let Some(network) = network else { return };
    let flags = [
        "--name=etcd1".to_owned(),
        "--discovery-srv=nothing.blueskykong.com".to_owned(),
        "--initial-advertise-peer-urls=http://etcd1.blueskykong.com:2380".to_owned(),
        format!("--data-dir={}", network.dir.path().join("etcd1").display()),
        "--advertise-client-urls=http://etcd1.blueskykong.com:2379".to_owned(),
        "--listen-client-urls=http://192.168.202.128:2379".to_owned(),
        "--listen-peer-urls=http://192.168.202.128:2380".to_owned(),
    ];
    let program = Flavor::Ours.program().unwrap();
    let mut node = network.namespace.start("etcd1", &program, &flags, network.dir.path());
    assert_eq!(node.exit_code(), 1);
    let log = node.log();
    for service in ["_etcd-server-ssl", "_etcd-server"] {
        let text = format!("error querying DNS SRV records for {service} lookup");
        assert!(log.contains(&text), "{text}: {log}");
    }
}
