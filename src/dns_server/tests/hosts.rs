//! Hosts files beside zones, and changes of them.

use super::*;
use crate::dns_server::{Dnsmasq, HOSTS_TTL, LocalSources};
use crate::local::{Names, Suffixes};

#[test]
fn hosts_are_answered_after_zones_and_follow_their_file() {
    let zone = "$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 10.0.0.1\n";
    let service = Service::start(&[("a.test.zone", zone)]);
    std::fs::write(service.path("hosts"), "10.0.0.9 ns.a.test b.test\nnonsense\n").unwrap();
    service.catalog.set_local(LocalSources {
        names: Names::new(HOSTS_TTL),
        hosts: vec![service.path("hosts")],
        hosts_dirs: vec![service.path("hosts.d")],
        expand: Suffixes::default(),
    });
    assert_eq!(service.data("ns.a.test.", RecordType::A), ["10.0.0.1"]);
    assert_eq!(service.data("9.0.0.10.in-addr.arpa.", RecordType::PTR), ["ns.a.test."]);
    let answer = service.ask("B.test.", RecordType::A);
    assert!(answer.authoritative && answer.answers[0].ttl == HOSTS_TTL);
    let none = service.ask("b.test.", RecordType::AAAA);
    assert!(none.authoritative && none.response_code == ResponseCode::NoError);
    assert!(none.answers.is_empty());
    assert_eq!(service.ask("c.test.", RecordType::A).response_code, ResponseCode::Refused);

    std::fs::write(service.path("hosts"), "10.0.0.10 b.test\n").unwrap();
    std::fs::create_dir(service.path("hosts.d")).unwrap();
    std::fs::write(service.path("hosts.d/one"), "10.0.0.11 c.test\n").unwrap();
    std::fs::write(service.path("hosts.d/.two"), "10.0.0.12 c.test\n").unwrap();
    eventually("the changed file", || service.data("b.test.", RecordType::A) == ["10.0.0.10"]);
    eventually("the new file", || service.data("c.test.", RecordType::A) == ["10.0.0.11"]);

    // A file that is gone leaves what it said; one that left its directory does not.
    std::fs::remove_file(service.path("hosts")).unwrap();
    std::fs::remove_file(service.path("hosts.d/one")).unwrap();
    eventually("the removed file", || service.data("c.test.", RecordType::A).is_empty());
    assert_eq!(service.data("b.test.", RecordType::A), ["10.0.0.10"]);
}

#[test]
fn dnsmasq_files_include_others_and_name_what_does_nothing() {
    let dir = TempDir::new().unwrap();
    let path = |file: &str| dir.path().join(file);
    std::fs::create_dir(path("conf.d")).unwrap();
    let text = format!("no-hosts\nbogus-priv\nconf-dir={},*.conf\n", path("conf.d").display());
    std::fs::write(path("dnsmasq.conf"), text).unwrap();
    std::fs::write(path("conf.d/a.conf"), "local-ttl=9\nhost-record=a.test,10.0.0.1\n").unwrap();
    std::fs::write(path("conf.d/b.other"), "nonsense\n").unwrap();
    let service = Service::start(&[]);
    let loaded = Dnsmasq::load(&[path("dnsmasq.conf")]).unwrap();
    let texts: Vec<String> = loaded.unsupported.iter().map(ToString::to_string).collect();
    let expected =
        format!("dnsmasq file `{}`, line 2: `bogus-priv`", path("dnsmasq.conf").display());
    assert_eq!(texts, [format!("{expected} does nothing here")]);
    service.catalog.set_local(loaded.sources);
    let answer = service.ask("a.test.", RecordType::A);
    assert_eq!((answer.answers.len(), answer.answers[0].ttl), (1, 9));

    let again = format!("conf-file={}\n", path("again").display());
    std::fs::write(path("again"), format!("local-ttl=x\n{again}")).unwrap();
    let errors = Dnsmasq::load(&[path("again"), path("missing")]).unwrap_err();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for part in ["again`, line 1: local-ttl `x`", "line 2: `conf-file`", "missing` cannot be read"]
    {
        assert!(texts.iter().any(|text| text.contains(part)), "{part}: {texts:?}");
    }
}
