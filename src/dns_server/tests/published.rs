//! Clusters that are published by a registration.

use std::collections::BTreeSet;

use super::super::{DomainError, PublishError, Published};
use super::*;
use crate::admission::CLIENT_PORT;

fn service() -> Service {
    let service = Service::start(&[]);
    let domain = Name::from_ascii("clusters.test.").unwrap();
    let addresses = [[127, 0, 0, 1].into(), [0, 0, 0, 0].into()];
    service.catalog.set_cluster_domain(&domain, &addresses).unwrap();
    service
}

fn published(members: &str) -> Published {
    Published { cluster: members.parse().unwrap(), port: CLIENT_PORT, closed: BTreeSet::new() }
}

fn publish(service: &Service, label: &str, members: &str) -> Result<(), PublishError> {
    service.catalog.publish(label, published(members))
}

#[test]
fn a_cluster_appears_in_one_step() {
    let service = service();
    let srv = "_etcd-server._tcp.prod.clusters.test.";

    let before = service.ask(srv, RecordType::SRV);
    assert_eq!(before.response_code, ResponseCode::NXDomain);
    service.catalog.expect("prod").unwrap();
    let expected = service.ask(srv, RecordType::SRV);
    assert_eq!(expected.response_code, ResponseCode::NoError);
    assert!(expected.answers.is_empty());
    assert_eq!(expected.authorities[0].ttl, 5);

    let members = "a=http://10.9.0.1:2380,b=http://10.9.0.2:2380,c=http://[fd00::3]:2380";
    publish(&service, "prod", members).unwrap();
    let answer = service.ask(srv, RecordType::SRV);
    let texts = |records: &[Record]| {
        let mut texts = records.iter().map(record_text).collect::<Vec<_>>();
        texts.sort();
        texts
    };
    assert_eq!(
        texts(&answer.answers),
        [
            "_etcd-server._tcp.prod.clusters.test. 300 SRV 0 100 2380 a.prod.clusters.test.",
            "_etcd-server._tcp.prod.clusters.test. 300 SRV 0 100 2380 b.prod.clusters.test.",
            "_etcd-server._tcp.prod.clusters.test. 300 SRV 0 100 2380 c.prod.clusters.test.",
        ]
    );
    assert_eq!(
        texts(&answer.additionals),
        [
            "a.prod.clusters.test. 300 A 10.9.0.1",
            "b.prod.clusters.test. 300 A 10.9.0.2",
            "c.prod.clusters.test. 300 AAAA fd00::3",
        ]
    );
    // The service of the other scheme is answered at once, and has nothing.
    let other = service.ask("_etcd-server-ssl._tcp.prod.clusters.test.", RecordType::SRV);
    assert_eq!((other.response_code, other.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(service.data("2.0.9.10.in-addr.arpa.", RecordType::PTR), ["b.prod.clusters.test."]);

    publish(&service, "PROD", "a=https://10.9.0.7:2380").unwrap();
    assert!(service.data(srv, RecordType::SRV).is_empty());
    let ssl = "_etcd-server-ssl._tcp.prod.clusters.test.";
    assert_eq!(service.data(ssl, RecordType::SRV), ["0 100 2380 a.prod.clusters.test."]);
    let gone = service.ask("2.0.9.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(gone.response_code, ResponseCode::Refused);

    service.catalog.unpublish("prod");
    assert_eq!(service.ask(ssl, RecordType::SRV).response_code, ResponseCode::NXDomain);
}

#[test]
fn the_domain_itself_answers() {
    let service = service();
    let serial = || {
        let answer = service.ask("clusters.test.", RecordType::SOA);
        let RData::SOA(soa) = &answer.answers[0].data else { unreachable!() };
        soa.serial
    };
    let first = serial();
    publish(&service, "x", "a=http://10.9.0.1:2380").unwrap();
    assert!(serial() > first);
    assert_eq!(service.data("clusters.test.", RecordType::NS), ["ns.clusters.test."]);
    assert_eq!(service.data("ns.clusters.test.", RecordType::A), ["127.0.0.1"]);
}

#[test]
fn hosts_get_names_that_are_legal_and_their_own() {
    let service = service();
    let members = "Node_1.a=http://10.9.0.1:2380,node-1-a=http://10.9.0.2:2380,\
        ***=http://10.9.0.3:2380,named=http://etcd.example.org:2380,\
        two=http://10.9.0.4:2380,two=http://10.9.0.5:2381,two=http://10.9.0.4:2382";
    publish(&service, "x", members).unwrap();
    let mut targets = service.data("_etcd-server._tcp.x.clusters.test.", RecordType::SRV);
    targets.sort_unstable();
    assert_eq!(
        targets,
        [
            "0 100 2380 etcd.example.org.",
            "0 100 2380 member.x.clusters.test.",
            "0 100 2380 node-1-a-2.x.clusters.test.",
            "0 100 2380 node-1-a.x.clusters.test.",
            "0 100 2380 two.x.clusters.test.",
            "0 100 2381 two-2.x.clusters.test.",
            "0 100 2382 two.x.clusters.test.",
        ]
    );
}

#[test]
fn what_cannot_be_published_is_refused() {
    let service = service();
    let good = "a=http://10.9.0.1:2380";
    let long = "x".repeat(64);
    for label in ["", "-a", "a-", "a.b", "a_b", "ns", long.as_str()] {
        let refused = PublishError::Label { label: label.to_owned() };
        assert_eq!(publish(&service, label, good), Err(refused));
    }
    assert_eq!(publish(&service, "x", ""), Err(PublishError::Empty));
    let mixed = "a=http://10.9.0.1:2380,b=https://10.9.0.2:2380";
    assert_eq!(publish(&service, "x", mixed), Err(PublishError::MixedSchemes));
    publish(&service, &"x".repeat(63), good).unwrap();

    let again = service.catalog.set_cluster_domain(&Name::from_ascii("b.test.").unwrap(), &[]);
    assert!(matches!(again, Err(DomainError::SetBefore(_))));
    let without = Service::start(&[("rfc.test.zone", RFC_ZONE)]);
    assert_eq!(publish(&without, "x", good), Err(PublishError::NoDomain));
    let taken = without.catalog.set_cluster_domain(&Name::from_ascii("RFC.test.").unwrap(), &[]);
    assert!(matches!(taken, Err(DomainError::HasFile(_))));
}

/// Every answer has the old set or the new one, never a part of both.
#[test]
fn a_change_is_never_seen_by_half() {
    let service = service();
    let set = |third: u8| {
        (1..=3).map(|n| format!("m{n}=http://10.{third}.0.{n}:2380")).collect::<Vec<_>>().join(",")
    };
    publish(&service, "x", &set(1)).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..200_u8 {
                publish(&service, "x", &set(round % 2 + 1)).unwrap();
            }
        });
        while !writer.is_finished() {
            let answer = service.ask("_etcd-server._tcp.x.clusters.test.", RecordType::SRV);
            let addresses: Vec<String> =
                answer.additionals.iter().map(|record| record.data.to_string()).collect();
            assert_eq!(answer.answers.len(), 3);
            assert!(
                ["10.1.0.", "10.2.0."]
                    .iter()
                    .any(|net| addresses.iter().all(|address| address.starts_with(net))),
                "{addresses:?}"
            );
        }
    });
}

/// Clients are not sent where nobody answers; members need all of each other.
#[test]
fn closed_ports_are_left_out_for_clients_and_never_all() {
    let service = service();
    let data = |name: &str| service.data(&format!("{name}._tcp.y.clusters.test."), RecordType::SRV);
    let members = "a=https://10.9.0.1:2380,a=https://10.9.0.1:2390,b=https://10.9.0.2:2380";
    let two = ["0 100 2379 a.y.clusters.test.", "0 100 2379 b.y.clusters.test."];
    let without = |hosts: &[u8]| {
        let closed = hosts.iter().map(|host| ([10, 9, 0, *host], CLIENT_PORT).into()).collect();
        service.catalog.publish("y", Published { closed, ..published(members) }).unwrap();
    };
    without(&[]);
    assert_eq!(data("_etcd-client-ssl"), two);
    without(&[1]);
    assert_eq!(data("_etcd-client-ssl"), [two[1]]);
    assert_eq!(data("_etcd-ssl"), [two[1]]);
    assert_eq!(data("_etcd-server-ssl").len(), 3, "members need all of them");
    without(&[1, 2]);
    assert_eq!(data("_etcd-client-ssl"), two, "never none");
}

#[test]
fn clients_are_sent_to_the_port_that_the_token_was_made_with() {
    let service = service();
    let published = Published { port: 4001, ..published("a=http://10.9.0.1:2380") };
    service.catalog.publish("y", published).unwrap();
    for (name, port) in [("_etcd-client", 4001), ("_etcd", 4001), ("_etcd-server", 2380)] {
        let data = service.data(&format!("{name}._tcp.y.clusters.test."), RecordType::SRV);
        assert_eq!(data, [format!("0 100 {port} a.y.clusters.test.")]);
    }
}
