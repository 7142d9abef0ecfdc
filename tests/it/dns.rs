//! DNS over UDP and TCP, asked by `dig`.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use sha2::{Digest as _, Sha256};

use quorate::membership::MemberId;

use crate::harness::{DEADLINE, Process, Service, free_port, http, scratch, tools, wait};

/// What `dig` prints for these arguments; `None` without dig.
fn dig(service: &Service, arguments: &[&str]) -> Option<String> {
    let program = tools::dig()?;
    let port = service.dns_port.to_string();
    let output = Command::new(program)
        .args(["@127.0.0.1", "-p", &port, "+time=30", "+tries=1"])
        .args(arguments)
        .output()
        .unwrap();
    Some(String::from_utf8(output.stdout).unwrap())
}

fn sorted(text: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = text.lines().map(words).filter(|line| !line.is_empty()).collect();
    lines.sort();
    lines
}

/// A service with the zones that this repository ships.
pub(super) fn shipped_zones(dir: &Path) -> Service {
    fs::create_dir_all(dir.join("zones")).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("dns-zones");
    for file in fs::read_dir(shipped).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.join("zones").join(file.file_name())).unwrap();
    }
    Service::start(dir)
}

/// The two commands of the tutorial.
#[test]
fn the_tutorial_zone_answers_as_the_tutorial_prints() {
    let dir = scratch();
    let service = shipped_zones(dir.path());
    let srv = ["+noall", "+answer", "SRV", "_etcd-server._tcp.blueskykong.com"];
    let Some(answer) = dig(&service, &srv) else { return };
    let answer = sorted(&answer);
    assert_eq!(answer.len(), 3, "{answer:?}");
    for (line, n) in answer.iter().zip(1..) {
        let words: Vec<&str> = line.split(' ').collect();
        let target = format!("etcd{n}.blueskykong.com.");
        assert_eq!(words[0], "_etcd-server._tcp.blueskykong.com.");
        assert_eq!(words[2..], ["IN", "SRV", "0", "100", "2380", &target]);
    }
    let hosts = ["etcd1.blueskykong.com", "etcd2.blueskykong.com", "etcd3.blueskykong.com"];
    for (host, n) in hosts.iter().zip(128..) {
        let short = dig(&service, &["+short", host]).unwrap();
        assert_eq!(short.trim(), format!("192.168.202.{n}"));
    }
    let tcp = dig(&service, &["+tcp", "+noall", "+answer", "SRV", srv[3]]).unwrap();
    assert_eq!(sorted(&tcp), answer, "TCP says what UDP says");
    let glue = dig(&service, &["+noall", "+additional", "SRV", srv[3]]).unwrap();
    assert_eq!(sorted(&glue).iter().filter(|line| line.contains(" A ")).count(), 3, "{glue}");
}

#[test]
fn names_that_are_not_there() {
    let dir = scratch();
    let service = shipped_zones(dir.path());
    let Some(none) = dig(&service, &["nothing.blueskykong.com"]) else { return };
    assert!(none.contains("status: NXDOMAIN") && none.contains("SOA"), "{none}");
    let nodata = dig(&service, &["AAAA", "etcd1.blueskykong.com"]).unwrap();
    assert!(nodata.contains("status: NOERROR") && nodata.contains("ANSWER: 0"), "{nodata}");
    assert!(nodata.contains("SOA"), "{nodata}");
    let foreign = dig(&service, &["+norecurse", "example.com"]).unwrap();
    assert!(foreign.contains("status: REFUSED"), "{foreign}");
}

fn zone(serial: u32, address: &str) -> String {
    format!(
        "$ORIGIN reload.test.\n$TTL 60\n@ IN SOA ns hostmaster {serial} 3600 600 86400 60\n\
         @ IN NS ns\nns IN A 127.0.0.1\nhost IN A {address}\n"
    )
}

#[test]
fn a_changed_zone_is_served_and_a_broken_one_is_not() {
    let dir = scratch();
    let file = dir.path().join("zones/reload.test.zone");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, zone(1, "10.0.0.1")).unwrap();
    let mut service = Service::start(dir.path());
    let host = |service: &Service| dig(service, &["+short", "host.reload.test"]);
    let Some(first) = host(&service) else { return };
    assert_eq!(first.trim(), "10.0.0.1");
    fs::write(&file, zone(2, "10.0.0.2")).unwrap();
    wait("the new address", || (host(&service)?.trim() == "10.0.0.2").then_some(()));
    fs::write(&file, format!("{}host IN A not-an-address\n", zone(3, "10.0.0.3"))).unwrap();
    service.process.wait_for_log("reload.test.zone");
    wait("the warning", || service.process.log().contains("7").then_some(()));
    assert_eq!(host(&service).unwrap().trim(), "10.0.0.2", "the old zone keeps serving");
    fs::write(&file, zone(4, "10.0.0.4")).unwrap();
    wait("the mended zone", || (host(&service)?.trim() == "10.0.0.4").then_some(()));
}

/// A zone that is exchanged again and again takes no more memory than one that was exchanged once.
#[test]
fn memory_goes_back_after_each_exchange_of_a_large_zone() {
    const HOSTS: u32 = 8_000;
    const EXCHANGES: u32 = 12;
    let large = |serial: u32| {
        let host = |n: u32| {
            format!("n{n} A 10.1.{}.{}\n_s._tcp.n{n} SRV 0 1 2380 n{n}\n", n / 250, n % 250)
        };
        zone(serial, &format!("10.0.0.{serial}")) + &(0..HOSTS).map(host).collect::<String>()
    };
    let dir = scratch();
    let file = dir.path().join("zones/reload.test.zone");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, large(1)).unwrap();
    let service = Service::start(dir.path());
    let resident_kib = || {
        let status = fs::read_to_string(format!("/proc/{}/status", service.process.id())).unwrap();
        let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        anonymous.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let mut sizes = Vec::new();
    for serial in 2..2 + EXCHANGES {
        let aside = dir.path().join("aside");
        fs::write(&aside, large(serial)).unwrap();
        fs::rename(&aside, &file).unwrap();
        let served = || {
            let Some(address) = dig(&service, &["+short", "host.reload.test"]) else {
                return Some(false);
            };
            (address.trim() == format!("10.0.0.{serial}")).then_some(true)
        };
        if !wait("the new zone", served) {
            return;
        }
        sizes.push(resident_kib());
    }
    // The allocator gives pages back late, and some never. One generation of this zone has more than 1,500 KiB, so
    // half of that for each exchange is no leftover of them all.
    let (second, last) = (sizes[1], sizes[sizes.len() - 1]);
    assert!(last < second + u64::from(EXCHANGES) * 750, "{sizes:?} KiB");
}

/// Where the members of a token's cluster are found.
fn service_name(url: &str) -> String {
    let token = url.rsplit('/').next().unwrap();
    let digest = Sha256::digest(token.as_bytes());
    let label: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("_etcd-server._tcp.{label}.clusters.test")
}

fn register(url: &str, n: u16) {
    let peer = format!("http://10.1.0.{n}:2380");
    let id = MemberId::derive([peer.as_str()], url);
    let value = format!("value=n{n}%3Dhttp%3A%2F%2F10.1.0.{n}%3A2380");
    let put = http("PUT", &format!("{url}/{id}?prevExist=false"), Some(&value)).unwrap();
    assert_eq!(put.status, 201, "{}", put.body);
}

/// One cluster after the other, without a pause between: each is there as soon as it is complete.
/// Half of them within twenty milliseconds; on a busy machine perhaps not at the first attempt.
#[test]
fn a_cluster_is_in_dns_as_soon_as_it_is_complete() {
    const TOKENS: usize = 25;
    let dir = scratch();
    let service = Service::start_with(dir.path(), &["--cluster-domain=clusters.test"]);
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    socket.connect(("127.0.0.1", service.dns_port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    wait("half of the clusters within 20 ms", || {
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..TOKENS {
            let url = service.new_token(1);
            let name = Name::from_ascii(service_name(&url)).unwrap();
            let mut message = Message::new(7, MessageType::Query, OpCode::Query);
            message.add_query(Query::query(name, RecordType::SRV));
            let packet = message.to_vec().unwrap();
            register(&url, 1);
            let registered = Instant::now();
            let mut reply = [0; 512];
            wait("the cluster in DNS", || {
                while registered.elapsed() < DEADLINE {
                    socket.send(&packet).unwrap();
                    let length = socket.recv(&mut reply).ok()?;
                    if !Message::from_vec(&reply[..length]).unwrap().answers.is_empty() {
                        return Some(());
                    }
                }
                None
            });
            times.push(registered.elapsed());
        }
        times.sort_unstable();
        (times[TOKENS / 2] < Duration::from_millis(20)).then_some(())
    });
}

/// Nothing while the token is open; all three at once when it is full.
#[test]
fn a_full_token_is_published_below_the_cluster_domain() {
    let dir = scratch();
    let service = Service::start_with(dir.path(), &["--cluster-domain=clusters.test"]);
    let url = service.new_token(3);
    let name = service_name(&url);
    let srv = |service: &Service| dig(service, &["+short", "SRV", &name]);
    for n in 1..=3u16 {
        let Some(before) = srv(&service) else { return };
        assert_eq!(before, "", "published with {} of 3 members", n - 1);
        register(&url, n);
    }
    let records = wait("the cluster in DNS", || srv(&service).filter(|text| !text.is_empty()));
    let records = sorted(&records);
    assert_eq!(records.len(), 3, "{records:?}");
    for record in records {
        let words: Vec<&str> = record.split(' ').collect();
        assert_eq!(words[2], "2380");
        let address = dig(&service, &["+short", words[3]]).unwrap();
        assert!(address.starts_with("10.1.0."), "{record}: {address}");
        let name = dig(&service, &["+short", "-x", address.trim()]).unwrap();
        assert_eq!(name.trim(), words[3], "PTR of {address}");
    }
}

/// With `--dns-check` clients are sent to members that take connections, and to all if none does.
#[test]
fn members_that_are_closed_are_left_out_for_clients() {
    let dir = scratch();
    let flags = ["--cluster-domain=clusters.test", "--dns-check"];
    let service = Service::start_with(dir.path(), &flags);
    let text = service.get("/new?size=2&name=prod").body;
    let url = text.trim().to_owned();
    // Nobody else has this part of loopback, whose client port is the usual one.
    let [high, low] = u16::try_from(std::process::id() & 0x7fff).unwrap().to_be_bytes();
    let host = |n: u8| std::net::Ipv4Addr::new(127, 128 | high, low, n);
    let open = |n: u8| std::net::TcpListener::bind((host(n), 2379)).unwrap();
    let srv = |service: &Service, name: &str| {
        let name = format!("{name}._tcp.prod.clusters.test");
        dig(service, &["+short", "SRV", &name]).map(|text| sorted(&text))
    };
    let (first, second) = (open(1), open(2));
    for n in 1..=2 {
        let peer = format!("http://{}:2380", host(n));
        let id = MemberId::derive([peer.as_str()], &url);
        let value = format!("value=n{n}={peer}");
        let put = http("PUT", &format!("{url}/{id}?prevExist=false"), Some(&value)).unwrap();
        assert_eq!(put.status, 201, "{}", put.body);
    }
    let one = "0 100 2379 n1.prod.clusters.test.".to_owned();
    let other = "0 100 2379 n2.prod.clusters.test.".to_owned();
    let clients = |wanted: &[&String]| {
        wait(&format!("{wanted:?}"), || {
            let Some(found) = srv(&service, "_etcd-client") else { return Some(false) };
            (found.iter().collect::<Vec<_>>() == wanted).then_some(true)
        })
    };
    if !clients(&[&one, &other]) {
        return;
    }
    drop(second);
    clients(&[&one]);
    assert_eq!(srv(&service, "_etcd-server").unwrap().len(), 2, "members need all of them");
    drop(first);
    clients(&[&one, &other]);
    let _second = open(2);
    clients(&[&other]);
}

/// Over TLS, with the service's certificate, a connection is used for several questions.
#[test]
fn questions_are_answered_over_tls() {
    let Some(kdig) = tools::kdig() else { return };
    let dir = scratch();
    fs::create_dir(dir.path().join("zones")).unwrap();
    fs::write(dir.path().join("zones/reload.test.zone"), zone(1, "10.0.0.1")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_quorate"));
    let certs = |arguments: &[&str]| {
        let made = Command::new(program).args(arguments).current_dir(dir.path()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    };
    certs(&["certs", "ca"]);
    certs(&["certs", "node", "ns", "--host", "ns.reload.test"]);
    let (plain, secure) = (free_port(), free_port());
    let flags = [
        "serve".to_owned(),
        "--data-dir=quorate.data".to_owned(),
        "--zones-dir=zones".to_owned(),
        "--http-addr=off".to_owned(),
        format!("--dns-addr=127.0.0.1:{plain}"),
        format!("--dot-addr=127.0.0.1:{secure}"),
        "--tls-cert=certs/ns.pem".to_owned(),
        "--tls-key=certs/ns-key.pem".to_owned(),
    ];
    let mut process = Process::start("quorate", program, &flags, &[], dir.path());
    process.wait_for_log("answering DNS over TLS");
    let ask = |host: &str| {
        let output = Command::new(&kdig)
            .args(["@127.0.0.1", "-p", &secure.to_string(), "+tls-ca=certs/ca.pem", "+retry=0"])
            .args([&format!("+tls-hostname={host}"), "+keepopen", "+noall", "+answer"])
            .args(["host.reload.test", "A", "ns.reload.test", "A"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let answers = ask("ns.reload.test");
    assert!(answers.contains("10.0.0.1") && answers.contains("127.0.0.1"), "{answers}");
    assert!(!ask("other.reload.test").contains("10.0.0.1"), "the certificate is for another name");
    assert!(process.stop().success(), "without HTTP it stops like any other");
}
