//! `quorate dns` and `quorate doctor srv`: what an operator looks at zones and clusters with.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::dns::shipped_zones;
use crate::harness::{Process, Service, free_port, scratch, tools, wait};

const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");

fn run(arguments: &[&str]) -> Output {
    Command::new(QUORATE).args(arguments).output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn codes(report: &serde_json::Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

const HEAD: &str = "$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 5\n@ NS ns\nns A 127.0.0.1\n";
const HOSTS: &str = "infra0 A 10.77.0.10\ninfra1 A 10.77.0.11\ninfra2 A 10.77.0.12\n";

/// The same service with three targets, the last of them as given.
fn service(name: &str, last: &str) -> String {
    format!(
        "{name}._tcp SRV 0 100 2380 infra1\n{name}._tcp SRV 0 100 2380 infra2\n{name}._tcp SRV {last}\n"
    )
}

/// Zones, the scheme that the member advertises, and the one finding each has.
fn zones() -> Vec<(&'static str, String, &'static str, Option<&'static str>)> {
    let plain = |last: &str| format!("{HEAD}{HOSTS}{}", service("_etcd-server", last));
    let good = "0 100 2380 infra0";
    let both = plain(good) + &service("_etcd-server-ssl", good);
    let ssl_port = service("_etcd-server-ssl", good).replace("2380", "2381");
    let both_ports = plain(good) + &ssl_port;
    let underscore = format!("{HEAD}{HOSTS}{}", service("_etcd_server", good));
    let no_address = plain(good).replace("2380 infra1", "2380 lost") + "lost TXT x\n";
    let alias = format!("{}other CNAME infra0\n", plain("0 100 2380 other"));
    let ssl = |hosts: &str| format!("{HEAD}{hosts}{}", service("_etcd-server-ssl", good));
    let nameless = HOSTS.replace("10.77", "10.78");
    vec![
        ("right.test", plain(good), "http", None),
        ("rightssl.test", ssl(HOSTS), "https", None),
        ("port.test", plain("0 100 1 infra0"), "http", Some("srv-port")),
        ("swapped.test", plain("2380 0 100 infra0"), "http", Some("srv-fields")),
        ("underscore.test", underscore, "http", Some("srv-underscore")),
        ("both.test", both, "http", Some("srv-both-services")),
        ("ports.test", both_ports, "http", Some("srv-both-services")),
        ("lost.test", no_address, "http", Some("srv-target-no-address")),
        ("alias.test", alias, "http", Some("srv-target-alias")),
        ("self.test", plain("0 100 2380 ns"), "http", Some("srv-self")),
        ("scheme.test", plain(good), "https", Some("srv-scheme")),
        ("pointer.test", ssl(&nameless), "https", Some("srv-tls-pointer")),
    ]
}

fn doctor(service: &Service, domain: &str, scheme: &str) -> Output {
    let url = format!("{scheme}://infra0.{domain}:2380");
    let resolver = format!("127.0.0.1:{}", service.dns_port);
    let url = format!("--initial-advertise-peer-urls={url}");
    let resolver = format!("--resolver={resolver}");
    run(&["doctor", "srv", domain, "--name=infra0", &url, &resolver, "-o", "json"])
}

#[test]
fn nine_broken_zones_have_nine_findings_and_a_right_one_none() {
    let dir = scratch();
    fs::create_dir(dir.path().join("zones")).unwrap();
    let mut pointers = HEAD.to_owned();
    for n in 10..13 {
        writeln!(pointers, "{n} PTR infra{}.rightssl.test.", n - 10).unwrap();
    }
    fs::write(dir.path().join("zones/0.77.10.in-addr.arpa.zone"), pointers).unwrap();
    for (domain, text, ..) in zones() {
        fs::write(dir.path().join(format!("zones/{domain}.zone")), text).unwrap();
    }
    let service = Service::start(dir.path());
    let mut seen = BTreeSet::new();
    for (domain, _, scheme, expected) in zones() {
        let output = doctor(&service, domain, scheme);
        let report = json(&output);
        let found: BTreeSet<&str> = codes(&report).into_iter().collect();
        assert_eq!(found, expected.into_iter().collect(), "{domain}: {report:#}");
        assert_eq!(output.status.code(), Some(i32::from(expected.is_some())), "{domain}");
        seen.extend(expected);
        // 3.4 reads `-ssl` only, later releases read both.
        let starts = |at: usize| report["verdicts"][at]["starts"].as_bool().unwrap();
        let (v34, v35) = match domain {
            // Those of `both.test` and `ports.test` start and never agree.
            "right.test" | "alias.test" | "lost.test" | "both.test" | "ports.test" => (false, true),
            "rightssl.test" | "pointer.test" => (true, true),
            _ => (false, false),
        };
        assert_eq!((starts(0), starts(1)), (v34, v35), "{domain}: {report:#}");
    }
    assert_eq!(seen.len(), 9);
}

/// The ids of the tutorial's cluster, from the zone that is shipped.
#[test]
fn the_verdict_has_the_ids_that_the_members_will_have() {
    let dir = scratch();
    fs::create_dir(dir.path().join("zones")).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("dns-zones/blueskykong.com.zone");
    fs::copy(shipped, dir.path().join("zones/blueskykong.com.zone")).unwrap();
    let service = Service::start(dir.path());
    let resolver = format!("--resolver=127.0.0.1:{}", service.dns_port);
    let output = run(&[
        "doctor",
        "srv",
        "blueskykong.com",
        "--name=etcd1",
        "--initial-advertise-peer-urls=http://etcd1.blueskykong.com:2380",
        "--initial-cluster-token=etcd-cluster-1",
        &resolver,
    ]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let ids = ["1c74529850be61e9", "af98e8a7fd3a720e", "e6e167c76b11e2d7"];
    assert!(ids.iter().any(|id| text.contains(&format!("member {id}"))), "{text}");
    let missing = "etcd 3.4: does not start: error querying DNS SRV records for _etcd-server-ssl \
                   lookup _etcd-server-ssl._tcp.blueskykong.com on ";
    assert!(text.contains(missing), "{text}");
    let listing = run(&["dns", "lookup", "blueskykong.com", &resolver]);
    let text = String::from_utf8_lossy(&listing.stdout);
    assert!(listing.status.success(), "{listing:?}");
    let line = "    0   100  2380  etcd1.blueskykong.com  192.168.202.128";
    assert!(text.contains(line), "{text}");
    let nothing = run(&["dns", "lookup", "nothing.blueskykong.com", &resolver]);
    assert_eq!(nothing.status.code(), Some(1));
}

#[test]
fn zone_files_are_checked_without_a_server() {
    let dir = scratch();
    let at = |name: &str| dir.path().join(name);
    let text = format!("{HEAD}$INCLUDE hosts.inc\n_etcd_server._tcp SRV 0 0 2380 lost\n");
    fs::write(at("odd.test.zone"), text).unwrap();
    fs::write(at("hosts.inc"), HOSTS).unwrap();
    let directory = dir.path().to_str().unwrap();
    let odd = run(&["dns", "check", directory, "-o", "json"]);
    let report = json(&odd);
    assert_eq!(codes(&report), ["zone-target-no-address", "zone-srv-underscore"]);
    assert_eq!(report["zones"][0]["records"], 7);
    assert!(odd.status.success(), "warnings alone do not fail");
    assert_eq!(run(&["dns", "check", directory, "--strict"]).status.code(), Some(1));

    fs::write(at("hosts.inc"), "infra0 A 10.0.0.300\n").unwrap();
    let outside = format!("{HEAD}$INCLUDE /etc/passwd\na A x\n");
    fs::write(at("bad.test.zone"), outside).unwrap();
    let bad = run(&["dns", "check", directory]);
    let text = String::from_utf8_lossy(&bad.stdout);
    assert_eq!(bad.status.code(), Some(1));
    for part in [
        "bad.test.zone:5:10: error: `$INCLUDE` of `/etc/passwd`: the file is outside of",
        "bad.test.zone:6:5: error: expected an IPv4 address, found `x` [zone-syntax]",
        "odd.test.zone, included hosts.inc:1:10: error: expected an IPv4 address",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(run(&["dns", "check", at("none.zone").to_str().unwrap()]).status.code(), Some(1));
}

#[test]
fn the_shipped_example_over_tls_has_no_finding() {
    let dir = scratch();
    let service = shipped_zones(dir.path());
    let report = json(&doctor(&service, "cluster.example", "https"));
    assert_eq!(codes(&report), Vec::<&str>::new(), "{report:#}");
    // A member's certificate is its own: it names that member and the domain, and no other member.
    let certs = dir.path().join("certs");
    let certs = certs.to_str().unwrap();
    assert!(run(&["certs", "ca", "--dir", certs]).status.success());
    let resolver = format!("--resolver=127.0.0.1:{}", service.dns_port);
    for (name, host, found) in
        [("infra0", "infra0.cluster.example", &[][..]), ("other", "x.test", &["srv-tls-name"])]
    {
        let domain = ["--srv-domain", "cluster.example"];
        let made =
            run(&[&["certs", "node", name, "--host", host, "--dir", certs], &domain[..]].concat());
        assert!(made.status.success(), "{made:?}");
        let url = "--initial-advertise-peer-urls=https://infra0.cluster.example:2380";
        let file = format!("--peer-cert-file={certs}/{name}.pem");
        let flags = ["--name=infra0", url, &resolver, &file, "-o", "json"];
        let report = json(&run(&[&["doctor", "srv", "cluster.example"], &flags[..]].concat()));
        assert_eq!(codes(&report), found, "{report:#}");
    }
}

/// The files in a directory of hosts are imported as they are served, and a missing one is named.
#[test]
fn directories_of_hosts_are_imported() {
    let dir = scratch();
    let at = |name: &str| dir.path().join(name).display().to_string();
    fs::create_dir(at("hosts.d")).unwrap();
    fs::write(at("hosts.d/a"), "10.0.0.1 a.lan.test\n").unwrap();
    fs::write(at("hosts.d/a~"), "10.0.0.2 old.lan.test\n").unwrap();
    let text = format!("no-hosts\nhostsdir={}\nhostsdir={}\n", at("hosts.d"), at("missing"));
    fs::write(at("dnsmasq.conf"), text).unwrap();
    let output = run(&["dns", "import", &at("dnsmasq.conf"), "--zones-dir", &at("zones")]);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let note = format!("hosts directory `{}` cannot be read", at("missing"));
    assert!(output.status.success() && said.contains(&note), "{said}");
    let zone = fs::read_to_string(at("zones/lan.test.zone")).unwrap();
    assert!(zone.contains("10.0.0.1") && !zone.contains("10.0.0.2"), "{zone}");
}

/// What dnsmasq answers from its file, our service answers from the zones made of it.
#[test]
fn imported_zones_answer_as_dnsmasq_does() {
    let Some(dig) = tools::dig() else { return };
    let dir = scratch();
    let hosts = dir.path().join("hosts");
    fs::write(
        &hosts,
        "192.168.202.128 etcd1.blueskykong.com\n192.168.202.129 etcd2.blueskykong.com\n",
    )
    .unwrap();
    let conf = dir.path().join("dnsmasq.conf");
    let text = format!(
        "no-resolv\nno-hosts\naddn-hosts={}\nlocal-ttl=30\n\
         srv-host=_etcd-server._tcp.blueskykong.com,etcd1.blueskykong.com,2380,0,100\n\
         srv-host=_etcd-server._tcp.blueskykong.com,etcd2.blueskykong.com,2380,10,50\n\
         host-record=a.lan.test,10.0.0.7,fd00::7\ncname=b.lan.test,a.lan.test\n\
         txt-record=t.lan.test,one,\"two, three\"\naddress=/apps.lan.test/10.9.9.9\n\
         address=/gone.test/\n",
        hosts.display()
    );
    fs::write(&conf, text).unwrap();
    let zones = dir.path().join("zones");
    let (conf, zones) = (conf.to_str().unwrap(), zones.to_str().unwrap());
    let imported = run(&["dns", "import", conf, "--zones-dir", zones]);
    assert!(imported.status.success(), "{imported:?}");
    let again = run(&["dns", "import", conf, "--zones-dir", zones]);
    let refusal = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(1) && refusal.contains("--force replaces it"), "{refusal}");
    let checked = run(&["dns", "check", zones, "--strict"]);
    assert!(checked.status.success(), "{checked:?}");
    let service = Service::start(dir.path());
    let real_port = free_port();
    let flags = [
        "--keep-in-foreground".to_owned(),
        format!("--conf-file={conf}"),
        format!("--port={real_port}"),
        "--listen-address=127.0.0.1".to_owned(),
        "--bind-interfaces".to_owned(),
        "--user=".to_owned(),
        "--pid-file=".to_owned(),
    ];
    let Some(dnsmasq) = tools::dnsmasq() else { return };
    let _real = Process::start("dnsmasq", &dnsmasq, &flags, &[], dir.path());
    let ask = |port: u16, question: &str| {
        let port = port.to_string();
        let mut command = Command::new(&dig);
        command.args(["@127.0.0.1", "-p", &port, "+noall", "+answer", "+time=30", "+tries=1"]);
        let output = command.args(question.split(' ')).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        // Without an answer it says why not.
        text.lines().filter(|line| !line.starts_with(';')).map(words).collect::<BTreeSet<String>>()
    };
    wait("dnsmasq", || (!ask(real_port, "a.lan.test A").is_empty()).then_some(()));
    for question in [
        "_etcd-server._tcp.blueskykong.com SRV",
        "etcd1.blueskykong.com A",
        "etcd2.blueskykong.com A",
        "128.202.168.192.in-addr.arpa PTR",
        "a.lan.test A",
        "a.lan.test AAAA",
        "b.lan.test A",
        "t.lan.test TXT",
        "apps.lan.test A",
        "x.y.apps.lan.test A",
        "7.0.0.10.in-addr.arpa PTR",
    ] {
        let ours = ask(service.dns_port, question);
        assert!(!ours.is_empty(), "{question}");
        assert_eq!(ours, ask(real_port, question), "{question}");
    }
    for port in [service.dns_port, real_port] {
        let port = port.to_string();
        let output = Command::new(&dig).args(["@127.0.0.1", "-p", &port, "x.gone.test"]).output();
        let text = String::from_utf8_lossy(&output.unwrap().stdout).into_owned();
        assert!(text.contains("status: NXDOMAIN"), "a domain of which nothing exists: {text}");
    }
}
