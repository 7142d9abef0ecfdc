use hickory_proto::rr::{Name, RecordType};

use super::*;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// The data of the answers, or what was said instead.
fn ask(names: &Names, owner: &str, kind: RecordType) -> String {
    match names.lookup(&name(owner), kind) {
        Found::Answer(answer) => {
            assert!(answer.authoritative);
            let data = answer.answers.iter().map(|record| record.data.to_string());
            data.collect::<Vec<_>>().join(" ")
        }
        Found::Empty => "empty".to_owned(),
        Found::Unknown => "unknown".to_owned(),
    }
}

fn names_of(text: &str, domain: Option<&str>) -> Names {
    let (hosts, findings) = hosts::read(text);
    assert_eq!(findings, []);
    let mut names = Names::new(60);
    for host in hosts {
        names.add_host(&host, domain.map(name).as_ref());
    }
    names
}

#[test]
fn hosts_answer_both_ways() {
    let names = names_of(
        "# comment\n192.168.202.128 etcd1.blueskykong.com\tetcd1 # the first\n\n\
         192.168.202.129 etcd2.blueskykong.com\r\n::1 Etcd1.\n10.0.0.9 etcd1\n10.0.0.9 etcd1\n",
        None,
    );
    for (owner, kind, data) in [
        ("ETCD1.blueskykong.com.", RecordType::A, "192.168.202.128"),
        ("etcd1.", RecordType::A, "192.168.202.128 10.0.0.9"),
        ("etcd1.", RecordType::AAAA, "::1"),
        ("etcd2.blueskykong.com.", RecordType::AAAA, "empty"),
        ("etcd2.blueskykong.com.", RecordType::SRV, "empty"),
        ("blueskykong.com.", RecordType::A, "unknown"),
        ("128.202.168.192.in-addr.arpa.", RecordType::PTR, "etcd1.blueskykong.com."),
        ("9.0.0.10.in-addr.arpa.", RecordType::ANY, "etcd1."),
    ] {
        assert_eq!(ask(&names, owner, kind), data, "{owner} {kind}");
    }
}

#[test]
fn a_simple_name_is_known_below_the_domain_too() {
    let names = names_of("10.0.0.1 a\n10.0.0.2 b.c\n", Some("lan.test."));
    assert_eq!(ask(&names, "a.", RecordType::A), "10.0.0.1");
    assert_eq!(ask(&names, "a.lan.test.", RecordType::A), "10.0.0.1");
    assert_eq!(ask(&names, "b.c.lan.test.", RecordType::A), "unknown");
    assert_eq!(ask(&names, "1.0.0.10.in-addr.arpa.", RecordType::PTR), "a.lan.test.");
}

#[test]
fn wrong_lines_are_named_and_the_others_count() {
    let (hosts, findings) = hosts::read("10.0.0 a\n10.0.0.1\n10.0.0.2 a..b c\n");
    assert_eq!(hosts.len(), 1);
    let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3);
    assert!(texts[0].starts_with("line 1: `10.0.0` is no IP address"), "{texts:?}");
    assert!(texts[1].starts_with("line 2: no name stands behind `10.0.0.1`"), "{texts:?}");
    assert!(texts[2].starts_with("line 3: `a..b` is no domain name"), "{texts:?}");
}
