//! The same files for dnsmasq and for `quorate serve`, asked the same questions by `dig`.
//!
//! dnsmasq's answers are recorded in `tests/differential/dnsmasq/answers.txt`;
//! `SUBJECT=dnsmasq` records them again and fails if they drifted.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Process, Service, free_port, scratch, tools, wait};

const QUESTIONS: [&str; 46] = [
    "_etcd-server._tcp.blueskykong.com SRV",
    "etcd1.blueskykong.com A",
    "etcd2.BLUESKYKONG.com A",
    "etcd9.blueskykong.com A",
    "simple A",
    "simple.lan.test A",
    "7.0.0.10.in-addr.arpa PTR",
    "_ldap._tcp.lan.test SRV",
    "_ldap._tcp SRV",
    "_none._tcp.example.com SRV",
    "_swap._tcp.example.com SRV",
    "host.example.com A",
    "host.example.com AAAA",
    "short A",
    "short.lan.test A",
    "1.0.0.10.in-addr.arpa PTR",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa PTR",
    "apps.example.com A",
    "x.y.apps.example.com A",
    "xapps.example.com A",
    "six.example.com AAAA",
    "x.seven.example.com AAAA",
    "null.example.com A",
    "null.example.com AAAA",
    "gone.example.com A",
    "x.gone.example.com TXT",
    "inner.example.com A",
    "x.inner.example.com A",
    "a.inner.example.com A",
    "b.a.inner.example.com A",
    "half.example.com A",
    "half.example.com AAAA",
    "alias.example.com A",
    "second.example.com AAAA",
    "alias.example.com CNAME",
    "alias.example.com TXT",
    "txt.example.com TXT",
    "empty.example.com TXT",
    "5.0.0.10.in-addr.arpa PTR",
    "a.wild.example.com A",
    "bare A",
    "bare.first.test A",
    "bare.lan.test A",
    "5.0.1.10.in-addr.arpa PTR",
    "simple.first.test A",
    "11.12.13.10.in-addr.arpa PTR",
];

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/dnsmasq")
}

/// A copy of the configuration that finds its hosts file.
fn configuration(dir: &Path) -> PathBuf {
    let hosts = format!("addn-hosts={}", files().join("hosts").display());
    let text = fs::read_to_string(files().join("dnsmasq.conf")).unwrap();
    let file = dir.join("dnsmasq.conf");
    fs::write(&file, text.replace("addn-hosts=hosts", &hosts)).unwrap();
    file
}

/// Code, answers and additional records for each question, sorted and in lower case: only dnsmasq
/// gives owners the case of the question.
fn answers(dig: &Path, port: u16) -> String {
    let mut all = String::new();
    for question in QUESTIONS {
        let output = Command::new(dig)
            .args(["@127.0.0.1", "-p", &port.to_string(), "+time=30", "+tries=1", "+noedns"])
            .args(question.split(' '))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let status = text.split("status: ").nth(1).and_then(|rest| rest.split(',').next());
        writeln!(all, "{question}: {}", status.unwrap_or("no answer")).unwrap();
        let records = text.lines().filter(|line| !line.starts_with(';') && !line.is_empty());
        let words =
            |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        let mut records: Vec<String> = records.map(words).collect();
        records.sort_unstable();
        records.iter().for_each(|record| writeln!(all, "  {record}").unwrap());
    }
    all
}

#[test]
fn the_same_answers_as_dnsmasq() {
    let Some(dig) = tools::dig() else { return };
    let dir = scratch();
    let conf = configuration(dir.path());
    let recorded = files().join("answers.txt");
    if std::env::var("SUBJECT").is_ok_and(|subject| subject == "dnsmasq") {
        let port = free_port();
        let flags = [
            "--keep-in-foreground".to_owned(),
            format!("--conf-file={}", conf.display()),
            format!("--port={port}"),
            "--listen-address=127.0.0.1".to_owned(),
            "--bind-interfaces".to_owned(),
            "--user=".to_owned(),
            "--pid-file=".to_owned(),
        ];
        let _real = Process::start("dnsmasq", Path::new("dnsmasq"), &flags, &[], dir.path());
        wait("dnsmasq", || (!answers(&dig, port).contains("no answer")).then_some(()));
        let fresh = answers(&dig, port);
        let known = fs::read_to_string(&recorded).unwrap_or_default();
        fs::write(&recorded, &fresh).unwrap();
        assert_eq!(fresh, known, "dnsmasq's answers have drifted");
        return;
    }
    let service = Service::start_with(dir.path(), &[&format!("--dnsmasq-conf={}", conf.display())]);
    assert_eq!(answers(&dig, service.dns_port), fs::read_to_string(recorded).unwrap());
}
