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
        Found::Empty { addresses: true } => "empty".to_owned(),
        Found::Empty { addresses: false } => "no addresses".to_owned(),
        Found::Unknown => "unknown".to_owned(),
    }
}

fn names_of(text: &str, domain: Option<&str>) -> Names {
    let (hosts, findings) = hosts::read(text);
    assert_eq!(findings, []);
    let mut names = Names::new(60);
    for host in hosts {
        names.add_host(&host, &Suffixes { usual: domain.map(name), ranges: Vec::new() });
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

#[test]
fn the_fields_of_a_service_have_dnsmasqs_order_and_defaults() {
    let text = "srv-host=_a._tcp.x.test,h.x.test,2380,0,100 # comment\n\
                srv-host=\"_b._tcp.x.test\",h.x.test\nsrv-host=_c._tcp.x.test\n";
    let (settings, findings) = dnsmasq::read(text);
    assert_eq!(findings, []);
    let data = |(_, setting): &(u32, dnsmasq::Setting)| match setting {
        dnsmasq::Setting::Service { data, .. } => data.to_string(),
        other => panic!("{other:?}"),
    };
    let data: Vec<String> = settings.iter().map(data).collect();
    assert_eq!(data, ["0 100 2380 h.x.test.", "0 0 1 h.x.test.", "0 0 1 ."]);
}

#[test]
fn wrong_lines_of_dnsmasq_name_value_and_way_out() {
    for (text, part) in [
        ("srv-host=_a._tcp.x.test,h,70000", "srv-host port `70000` is no number"),
        ("srv-host=_a._tcp.x.test,h,1,2,3,4", "`srv-host` has too many parts; write name,target,"),
        ("srv-host=", "`srv-host` is not complete"),
        ("host-record=a.test", "`host-record` is not complete; write name"),
        ("address=/a.test/10.0.0", "`10.0.0` is no IP address; write one"),
        ("address=10.0.0.1", "`address` is not complete; write /domain/address"),
        ("server=10.0.0.1#x", "`10.0.0.1#x` is no DNS server; write its address"),
        ("cname=a.test", "`cname` is not complete"),
        ("cname=a..b,c", "`a..b` is no domain name"),
        ("local-ttl=soon", "local-ttl `soon` is no number"),
        ("addn-hosts", "`addn-hosts` is not complete; write a path"),
    ] {
        let (settings, findings) = dnsmasq::read(&format!("\n# x\n{text}\n"));
        assert_eq!(settings, [], "{text}");
        assert_eq!(findings.len(), 1, "{text}");
        let found = findings[0].to_string();
        assert!(found.starts_with("line 3: ") && found.contains(part), "{text}: {found}");
    }
}

#[test]
fn lines_that_do_nothing_are_known_by_name() {
    for (text, name) in [
        ("port=5353", "port"),
        ("listen-address=127.0.0.1", "listen-address"),
        ("bogus-priv", "bogus-priv"),
        ("domain=a.test,eth0", "domain=a.test,eth0"),
        ("domain=#", "domain"),
        ("server=//10.0.0.1", "server=//10.0.0.1"),
        ("cname=*.a.test,b.test", "cname=*.a.test"),
    ] {
        let (settings, findings) = dnsmasq::read(text);
        assert_eq!(findings, []);
        assert_eq!(settings, [(1, dnsmasq::Setting::Unsupported(name.to_owned()))], "{text}");
    }
}

#[test]
fn hosts_get_the_domain_of_their_addresses() {
    let text = "domain=a.test,10.1.0.0/16\ndomain=b.test,10.1.2.3,10.1.2.9\n\
                domain=c.test,fd00::/64,local\ndomain=lan.test\n";
    let (settings, findings) = dnsmasq::read(text);
    assert_eq!(findings, []);
    let mut suffixes = Suffixes::default();
    let mut local = Vec::new();
    for (_, setting) in settings {
        match setting {
            dnsmasq::Setting::Domain(name) => suffixes.usual = Some(name),
            dnsmasq::Setting::DomainOf { name, range } => suffixes.ranges.push((range, name)),
            dnsmasq::Setting::Domains { names, policy: dnsmasq::Policy::Local } => {
                local.extend(names.iter().map(ToString::to_string));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(local, ["0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", "c.test."]);
    let (hosts, _) = hosts::read("10.1.0.1 n1\n10.1.2.9 n2\nfd00::1 n3\n10.2.0.1 n4\n");
    let mut names = Names::new(60);
    hosts.iter().for_each(|host| names.add_host(host, &suffixes));
    for (owner, kind, data) in [
        ("n1.a.test.", RecordType::A, "10.1.0.1"),
        ("n1.lan.test.", RecordType::A, "unknown"),
        ("n2.b.test.", RecordType::A, "10.1.2.9"),
        ("n3.c.test.", RecordType::AAAA, "fd00::1"),
        ("n4.lan.test.", RecordType::A, "10.2.0.1"),
    ] {
        assert_eq!(ask(&names, owner, kind), data, "{owner}");
    }
}

#[test]
fn a_server_of_addresses_is_asked_about_their_reverse_names() {
    let mut names = Names::new(60);
    let text = "rev-server=10.7.32.0/22,10.0.0.53#5353\nrev-server=fd01::/31,10.0.0.54\n\
                rev-server=10.9.9.9,10.0.0.55@eth0\nserver=/x.test/10.0.0.56#53@10.0.0.1\n\
                server=10.0.0.57@eth1\n";
    let (settings, findings) = dnsmasq::read(text);
    assert_eq!(findings, []);
    let (mut usual, mut unsupported) = (Vec::new(), Vec::new());
    for (_, setting) in settings {
        match setting {
            dnsmasq::Setting::Domains { names: domains, policy } => {
                domains.iter().for_each(|domain| names.add_policy(domain, policy));
            }
            dnsmasq::Setting::Server(server) => usual.push(server.to_string()),
            dnsmasq::Setting::Unsupported(option) => unsupported.push(option),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(usual, ["10.0.0.57:53"]);
    assert_eq!(unsupported, ["@eth0", "@10.0.0.1", "@eth1"]);
    let servers = |owner: &str| names.servers(&name(owner)).map(|list| list[0].to_string());
    for (owner, server) in [
        ("1.32.7.10.in-addr.arpa.", Some("10.0.0.53:5353")),
        ("1.35.7.10.in-addr.arpa.", Some("10.0.0.53:5353")),
        ("1.36.7.10.in-addr.arpa.", None),
        ("0.0.0.0.1.0.d.f.ip6.arpa.", Some("10.0.0.54:53")),
        ("9.1.0.0.0.1.0.d.f.ip6.arpa.", Some("10.0.0.54:53")),
        ("2.0.0.0.1.0.d.f.ip6.arpa.", None),
        ("9.9.9.10.in-addr.arpa.", Some("10.0.0.55:53")),
        ("8.9.9.10.in-addr.arpa.", None),
        ("a.x.test.", Some("10.0.0.56:53")),
    ] {
        assert_eq!(servers(owner).as_deref(), server, "{owner}");
    }
    for text in ["rev-server=10.0.0.0/33,10.0.0.1", "rev-server=a.test,10.0.0.1"] {
        assert_eq!(dnsmasq::read(text).1.len(), 1, "{text}");
    }
}

#[test]
fn a_circle_of_aliases_ends() {
    let mut names = Names::new(60);
    for (_, setting) in dnsmasq::read("cname=a.test,b.test\ncname=b.test,a.test\n").0 {
        let dnsmasq::Setting::Record { name, data, ttl } = setting else { panic!() };
        names.add(&name, data, ttl);
    }
    assert!(ask(&names, "a.test.", RecordType::A).starts_with("b.test. a.test."));
}

#[test]
fn resolver_files_name_servers() {
    let text = "# dns\nnameserver 8.8.8.8\noptions ndots:1\nnameserver  ::1 # x\nnameserver x\n";
    let (servers, findings) = resolv::read(text);
    assert_eq!(servers.len(), 2);
    assert_eq!(findings.len(), 1);
    assert!(findings[0].to_string().starts_with("line 5: `x` is no DNS server"), "{findings:?}");
}
