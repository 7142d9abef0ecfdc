//! Hosts files beside zones, and changes of them.

use super::*;
use crate::dns_server::{HOSTS_TTL, LocalSources};
use crate::local::Names;

#[test]
fn hosts_are_answered_after_zones_and_follow_their_file() {
    let zone = "$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 10.0.0.1\n";
    let service = Service::start(&[("a.test.zone", zone)]);
    std::fs::write(service.path("hosts"), "10.0.0.9 ns.a.test b.test\nnonsense\n").unwrap();
    service.catalog.set_local(LocalSources {
        names: Names::new(HOSTS_TTL),
        hosts: vec![service.path("hosts")],
        hosts_dirs: vec![service.path("hosts.d")],
        expand: None,
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
