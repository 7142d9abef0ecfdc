//! Whole zones for secondary servers: asked by `dig`, kept by real ones.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{Process, Service, free_port, scratch, tools, wait};

const SECRET: &str = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";
const ALLOW: &str = "--dns-transfer-allow=127.0.0.0/8";

fn zone(serial: u32, hosts: usize) -> String {
    let mut text = format!(
        "$TTL 60\n@ SOA ns hostmaster {serial} 3600 600 86400 5\n@ NS ns\nns A 127.0.0.1\n"
    );
    for n in 0..hosts {
        writeln!(text, "host{n} A 10.0.{}.{}", n / 250, n % 250).unwrap();
    }
    text
}

fn service(dir: &Path, text: &str, flags: &[&str]) -> Service {
    fs::create_dir_all(dir.join("zones")).unwrap();
    fs::write(dir.join("zones/moved.test.zone"), text).unwrap();
    Service::start_with(dir, flags)
}

fn ask(dig: &Path, port: u16, arguments: &[&str]) -> String {
    let mut command = Command::new(dig);
    command.args(["@127.0.0.1", "-p", &port.to_string(), "+time=30", "+tries=1", "+nocookie"]);
    String::from_utf8(command.args(arguments).output().unwrap().stdout).unwrap()
}

/// The records that a transfer prints, in its order.
fn records(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with(';') && !line.is_empty());
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_zone_moves_as_a_whole_and_then_by_its_changes() {
    let Some(dig) = tools::dig() else { return };
    let dir = scratch();
    let service = service(dir.path(), &zone(1, 5_000), &[ALLOW]);
    let port = service.dns_port;
    let whole = ask(&dig, port, &["moved.test", "AXFR"]);
    let lines = records(&whole);
    assert_eq!(lines.len(), 5_000 + 3 + 1, "{}", &whole[..400]);
    assert_eq!(lines.first(), lines.last());
    assert!(lines[0].contains("SOA ns.moved.test. hostmaster.moved.test. 1 "), "{}", lines[0]);
    assert!(!whole.contains("(messages 1,"), "more than one message");
    // Not below the apex, and not over UDP.
    assert!(records(&ask(&dig, port, &["host1.moved.test", "AXFR"])).is_empty());
    let datagram = ask(&dig, port, &["+notcp", "moved.test", "IXFR=0"]);
    assert_eq!(records(&datagram).len(), 1, "the SOA, and then over TCP");
    let told = ask(&dig, port, &["+opcode=notify", "moved.test", "SOA"]);
    assert!(told.contains("status: NOERROR") && told.contains(" aa"), "{told}");
    let strange = ask(&dig, port, &["+opcode=notify", "other.test", "SOA"]);
    assert!(strange.contains("status: NOTAUTH"), "{strange}");

    let file = dir.path().join("zones/moved.test.zone");
    let changed = zone(2, 5_000).replace("host7 A 10.0.0.7\n", "") + "new A 10.9.9.9\n";
    fs::write(&file, changed).unwrap();
    let steps = wait("the change", || {
        let steps = records(&ask(&dig, port, &["moved.test", "IXFR=1"]));
        (steps.len() > 1).then_some(steps)
    });
    let short: Vec<String> = steps
        .iter()
        .map(|line| line.replace(" hostmaster.moved.test.", "").replace(" 3600 600 86400 5", ""))
        .collect();
    assert_eq!(
        short,
        [
            "moved.test. 60 IN SOA ns.moved.test. 2",
            "moved.test. 60 IN SOA ns.moved.test. 1",
            "host7.moved.test. 60 IN A 10.0.0.7",
            "moved.test. 60 IN SOA ns.moved.test. 2",
            "new.moved.test. 60 IN A 10.9.9.9",
            "moved.test. 60 IN SOA ns.moved.test. 2",
        ]
    );
    assert_eq!(records(&ask(&dig, port, &["moved.test", "IXFR=2"])).len(), 1, "nothing is new");
    let unknown = records(&ask(&dig, port, &["moved.test", "IXFR=0"]));
    assert_eq!(unknown.len(), 5_000 + 3 + 1, "the whole zone for whoever is far behind");
}

#[test]
fn nobody_has_a_zone_who_is_not_named_or_does_not_sign() {
    let Some(dig) = tools::dig() else { return };
    let closed_dir = scratch();
    let closed = service(closed_dir.path(), &zone(1, 3), &[]);
    assert!(ask(&dig, closed.dns_port, &["moved.test", "AXFR"]).contains("Transfer failed"));
    let told = ask(&dig, closed.dns_port, &["+opcode=notify", "moved.test", "SOA"]);
    assert!(told.contains("status: REFUSED"), "{told}");

    let dir = scratch();
    let key = dir.path().join("keys");
    fs::write(&key, format!("key \"move\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n"))
        .unwrap();
    let service =
        service(dir.path(), &zone(1, 5_000), &[&format!("--dns-transfer-key={}", key.display())]);
    let port = service.dns_port;
    assert!(ask(&dig, port, &["moved.test", "AXFR"]).contains("Transfer failed"));
    let right = format!("hmac-sha256:move:{SECRET}");
    let moved = ask(&dig, port, &["-y", &right, "moved.test", "AXFR"]);
    assert_eq!(records(&moved).iter().filter(|line| line.contains(" A ")).count(), 5_001);
    assert!(!moved.contains("failed") && !moved.contains("WARNING"), "every message is signed");
    let question = ask(&dig, port, &["-y", &right, "moved.test", "SOA"]);
    assert!(
        question.contains("status: NOERROR") && question.contains("TSIG PSEUDOSECTION"),
        "{question}"
    );
    assert!(!question.contains("Couldn't verify"), "{question}");
    let wrong = ask(&dig, port, &["-y", "hmac-sha256:move:d3Jvbmc=", "moved.test", "SOA"]);
    assert!(wrong.contains("status: NOTAUTH") && wrong.contains("BADSIG"), "{wrong}");
    let other = ask(&dig, port, &["-y", "hmac-sha256:other:d3Jvbmc=", "moved.test", "SOA"]);
    assert!(other.contains("BADKEY"), "{other}");
}

/// A real secondary takes the zone, hears of a change, and takes that too; all of it signed.
#[test]
fn a_real_secondary_follows() {
    let Some(dig) = tools::dig() else { return };
    let Some(knotd) = tools::knotd() else { return };
    let dir = scratch();
    let (far, rundir) = (free_port(), dir.path().join("knot"));
    fs::create_dir(&rundir).unwrap();
    let notify = format!("--dns-notify=127.0.0.1:{far}");
    let key = dir.path().join("keys");
    fs::write(&key, format!("key \"move\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n"))
        .unwrap();
    let key = format!("--dns-transfer-key={}", key.display());
    let service = service(dir.path(), &zone(1, 300), &[ALLOW, &key, &notify]);
    let near = service.dns_port;
    let conf = dir.path().join("knot.conf");
    let run = rundir.display();
    let text = format!(
        "server:\n  rundir: {run}\n  listen: 127.0.0.1@{far}\n\
         database:\n  storage: {run}\n\
         key:\n  - id: move\n    algorithm: hmac-sha256\n    secret: {SECRET}\n\
         remote:\n  - id: primary\n    address: 127.0.0.1@{near}\n    key: move\n\
         acl:\n  - id: told\n    address: 127.0.0.1\n    key: move\n    action: notify\n\
         zone:\n  - domain: moved.test\n    master: primary\n    acl: told\n    storage: {run}\n"
    );
    fs::write(&conf, text).unwrap();
    let flags = ["-c".to_owned(), conf.display().to_string()];
    let _knot = Process::start("knotd", &knotd, &flags, &[], dir.path());
    let serial = || ask(&dig, far, &["+short", "moved.test", "SOA"]);
    wait("the secondary", || serial().contains(" 1 3600").then_some(()));
    let changed = zone(2, 300) + "new A 10.9.9.9\n";
    fs::write(dir.path().join("zones/moved.test.zone"), changed).unwrap();
    // By itself it would ask in an hour.
    wait("the change at the secondary", || serial().contains(" 2 3600").then_some(()));
    assert_eq!(ask(&dig, far, &["+short", "new.moved.test", "A"]).trim(), "10.9.9.9");
}
