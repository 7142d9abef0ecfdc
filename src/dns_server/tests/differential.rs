//! The zone of the checklist, asked the same questions here and in Knot: code, AA and the answer,
//! authority and additional sections are the same for all of them.
//!
//! `testdata/knot.txt` has what Knot said, so the comparison needs no Knot; where `knotd` is
//! installed it is asked again, and a change is a failure. `UPDATE_GOLDENFILES=1` records anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use sha2::{Digest as _, Sha256};

use super::*;

const KINDS: [&str; 16] = [
    "A",
    "AAAA",
    "CNAME",
    "NS",
    "SOA",
    "SRV",
    "TXT",
    "MX",
    "PTR",
    "DS",
    "CAA",
    "DNAME",
    "HINFO",
    "NAPTR",
    "TYPE65280",
    "TYPE666",
];

/// Every owner of the zone, names beside and below it, and names that are elsewhere.
fn names() -> BTreeSet<String> {
    let origin = Name::from_ascii("rfc.test.").unwrap();
    let entries =
        crate::zone::parse(RFC_ZONE.as_bytes(), &origin, &mut crate::zone::no_include).unwrap();
    let mut names = BTreeSet::new();
    for entry in entries.iter() {
        let owner = entry.record.name.to_ascii().to_ascii_lowercase();
        // Sixty hosts alike say no more than their set does.
        if owner.starts_with("big") {
            continue;
        }
        let parent = entry.record.name.base_name().to_ascii().to_ascii_lowercase();
        for name in [owner.clone(), format!("x.{owner}"), format!("x.y.{owner}"), parent.clone()] {
            names.insert(name);
        }
        names.insert(format!("beside.{parent}"));
        names.insert(owner.to_ascii_uppercase());
    }
    names.retain(|name| name.to_ascii_lowercase().ends_with("rfc.test."));
    names.insert("www.example.org.".to_owned());
    names
}

/// Code, AA, and the records of the three sections, in an order of their own.
fn digest(reply: &Message) -> String {
    let texts = |records: &[Record]| {
        let text = |record: &Record| record_text(record).to_ascii_lowercase();
        records.iter().map(text).collect::<BTreeSet<_>>()
    };
    let sections = [&reply.answers, &reply.authorities, &reply.additionals].map(|it| texts(it));
    let hash = Sha256::digest(format!("{sections:?}"));
    let aa = if reply.authoritative { " aa" } else { "" };
    let [answers, authority, additional] = sections.map(|it| it.len());
    let (code, first, second) = (reply.response_code, hash[0], hash[1]);
    format!("{code:?}{aa} {answers}/{authority}/{additional} {first:02x}{second:02x}")
}

/// One line for each name: what each group of types is answered.
fn said_by(address: SocketAddr) -> BTreeMap<(String, String), String> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut said = BTreeMap::new();
    for name in names() {
        for kind in KINDS {
            let number = match kind.strip_prefix("TYPE") {
                Some(number) => RecordType::from(number.parse::<u16>().unwrap()),
                None => kind.parse().unwrap(),
            };
            send(&mut stream, &question(&name, number).to_vec().unwrap());
            let reply = Message::from_vec(&receive(&mut stream)).unwrap();
            said.insert((name.clone(), kind.to_owned()), digest(&reply));
        }
    }
    said
}

fn written(said: &BTreeMap<(String, String), String>) -> String {
    let mut lines: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    for ((name, kind), digest) in said {
        lines.entry(name).or_default().entry(digest).or_default().push(kind);
    }
    let mut text = String::new();
    for (name, groups) in lines {
        for (digest, kinds) in groups {
            writeln!(text, "{name} {}: {digest}", kinds.join(",")).unwrap();
        }
    }
    text
}

fn read(text: &str) -> BTreeMap<(String, String), String> {
    let mut said = BTreeMap::new();
    for line in text.lines() {
        let (asked, digest) = line.split_once(": ").unwrap();
        let (name, kinds) = asked.split_once(' ').unwrap();
        for kind in kinds.split(',') {
            said.insert((name.to_owned(), kind.to_owned()), digest.to_owned());
        }
    }
    said
}

/// A Knot of its own that serves the zone; killed when dropped.
struct Knot {
    process: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Knot {
    fn start() -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        let program = std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin")])
            .map(|it| it.join("knotd"))
            .find(|it| it.is_file())?;
        let directory = TempDir::new().unwrap();
        let port = {
            let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
            free.local_addr().unwrap().port()
        };
        let place = directory.path().display();
        std::fs::write(directory.path().join("rfc.test.zone"), RFC_ZONE).unwrap();
        let config = directory.path().join("knot.conf");
        let text = format!(
            "server:\n  rundir: {place}\n  listen: 127.0.0.1@{port}\ndatabase:\n  storage: {place}\n\
             zone:\n  - domain: rfc.test\n    storage: {place}\n    file: rfc.test.zone\n"
        );
        std::fs::write(&config, text).unwrap();
        let process = Command::new(program)
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let knot = Self { process, address, _directory: directory };
        eventually("Knot answers with its zone", || {
            let Ok(mut stream) = TcpStream::connect(address) else { return false };
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            send(&mut stream, &question("rfc.test.", RecordType::SOA).to_vec().unwrap());
            !Message::from_vec(&receive(&mut stream)).unwrap().answers.is_empty()
        });
        Some(knot)
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn answers_are_those_of_knot() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dns_server/testdata/knot.txt");
    let knot = Knot::start().map(|knot| said_by(knot.address));
    let recorded = match &knot {
        Some(knot) if std::env::var_os("UPDATE_GOLDENFILES").is_some() => {
            std::fs::write(&file, written(knot)).unwrap();
            knot.clone()
        }
        _ => read(&std::fs::read_to_string(&file).unwrap()),
    };
    if let Some(knot) = knot {
        assert_eq!(written(&knot), written(&recorded), "Knot answers otherwise than recorded");
    }
    let service = Service::start(&[("rfc.test.zone", RFC_ZONE)]);
    let ours = said_by(service.address);
    assert!(ours.len() > 2_000 && ours.len() == recorded.len(), "{}", ours.len());
    let mut different = String::new();
    for ((name, kind), theirs) in &recorded {
        let own = &ours[&(name.clone(), kind.clone())];
        if own != theirs {
            writeln!(different, "{name} {kind}: {own}, in Knot {theirs}").unwrap();
        }
    }
    assert!(different.is_empty(), "\n{different}");
}
