//! Names that others know: what is asked of them, for whom, and what becomes of their trouble.

use super::*;
use crate::dns_server::{Dnsmasq, Network, Upstreams};

const ZONE: &str = "$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 10.0.0.1\n\
                    alias CNAME ns\nx TYPE65280 \\# 2 abcd\n";

fn upstreams(servers: &[SocketAddr], own: &Service, allow: &str) -> Upstreams {
    Upstreams {
        servers: servers.to_vec(),
        allow: vec![allow.parse::<Network>().unwrap()],
        own: vec![own.address],
        ..Upstreams::default()
    }
}

/// A question as a stub resolver asks it.
fn ask(service: &Service, name: &str, kind: RecordType) -> Message {
    let mut message = question(name, kind);
    message.metadata.recursion_desired = true;
    Message::from_vec(&service.udp(&message.to_vec().unwrap())).unwrap()
}

#[test]
fn other_names_are_asked_of_the_upstream() {
    let mut far = Service::start(&[("far.test.zone", ZONE)]);
    let near = Service::start(&[("near.test.zone", ZONE)]);
    let _context = near.runtime.as_ref().unwrap().enter();
    near.catalog.set_upstreams(upstreams(&[far.address], &near, "127.0.0.0/8")).unwrap();

    let ours = ask(&near, "ns.near.test.", RecordType::A);
    assert!(ours.authoritative && ours.recursion_available);
    let theirs = ask(&near, "alias.far.test.", RecordType::A);
    assert!(!theirs.authoritative && theirs.recursion_available);
    assert_eq!(theirs.answers.len(), 2, "{theirs}");
    let unknown = ask(&near, "x.far.test.", RecordType::from(65280));
    assert_eq!(unknown.answers.len(), 1, "{unknown}");
    let missing = ask(&near, "no.far.test.", RecordType::A);
    assert_eq!(missing.response_code, ResponseCode::NXDomain);
    assert_eq!(missing.authorities.len(), 1, "{missing}");
    assert!(missing.authorities[0].ttl <= 5, "{missing}");
    let nodata = ask(&near, "ns.far.test.", RecordType::AAAA);
    assert_eq!((nodata.response_code, nodata.answers.len()), (ResponseCode::NoError, 0));
    // What the upstream refuses is its trouble, not the client's.
    let refused = ask(&near, "else.test.", RecordType::A);
    assert_eq!(refused.response_code, ResponseCode::ServFail);
    let simple = ask(&near, "simple.", RecordType::A);
    assert_eq!(simple.response_code, ResponseCode::NXDomain);
    // Not asked to go elsewhere.
    let stay = near.ask("no.far.test.", RecordType::A);
    assert_eq!(stay.response_code, ResponseCode::Refused);
    // From the cache, with its upstream gone.
    far.stop();
    assert_eq!(ask(&near, "alias.far.test.", RecordType::A).answers.len(), 2);
    assert_eq!(ask(&near, "no.far.test.", RecordType::A).response_code, ResponseCode::NXDomain);
    let gone = ask(&near, "new.far.test.", RecordType::A);
    assert_eq!(gone.response_code, ResponseCode::ServFail);
}

#[test]
fn strangers_are_refused() {
    let far = Service::start(&[("far.test.zone", ZONE)]);
    let near = Service::start(&[("near.test.zone", ZONE)]);
    let _context = near.runtime.as_ref().unwrap().enter();
    near.catalog.set_upstreams(upstreams(&[far.address], &near, "10.0.0.0/8")).unwrap();
    let answer = ask(&near, "ns.far.test.", RecordType::A);
    assert_eq!(answer.response_code, ResponseCode::Refused);
    assert!(!answer.recursion_available);
    assert_eq!(ask(&near, "ns.near.test.", RecordType::A).answers.len(), 1);
}

#[test]
fn a_domain_has_servers_of_its_own() {
    let far = Service::start(&[("far.test.zone", ZONE)]);
    let near = Service::start(&[]);
    let conf = near.path("dnsmasq.conf");
    let port = far.address.port();
    let text = format!(
        "no-hosts\nno-resolv\nserver=/far.test/127.0.0.1#{port}\n\
                        server=/inner.far.test/#\nhost-record=known.far.test,10.0.0.7\n\
                        txt-record=ns.far.test,here\ntxt-record=text.far.test,here\n"
    );
    std::fs::write(&conf, text).unwrap();
    let loaded = Dnsmasq::load(&[conf]).unwrap();
    assert_eq!(loaded.unsupported, []);
    assert_eq!((loaded.servers, loaded.resolv_files), (Vec::new(), Vec::new()));
    near.catalog.set_local(loaded.sources);
    assert!(near.catalog.needs_upstreams());
    let _context = near.runtime.as_ref().unwrap().enter();
    near.catalog.set_upstreams(upstreams(&[], &near, "127.0.0.1")).unwrap();
    let code = |name: &str, kind| {
        let answer = ask(&near, name, kind);
        (answer.response_code, answer.answers.len())
    };
    assert_eq!(code("ns.far.test.", RecordType::A), (ResponseCode::NoError, 1));
    assert_eq!(code("known.far.test.", RecordType::A), (ResponseCode::NoError, 1));
    assert_eq!(code("known.far.test.", RecordType::TXT), (ResponseCode::NoError, 0));
    // With no address here there may be one elsewhere, and a name that is here exists.
    assert_eq!(code("ns.far.test.", RecordType::TXT), (ResponseCode::NoError, 1));
    assert_eq!(code("text.far.test.", RecordType::A), (ResponseCode::NoError, 0));
    assert_eq!(code("a.inner.far.test.", RecordType::A), (ResponseCode::Refused, 0));
    assert_eq!(code("else.test.", RecordType::A), (ResponseCode::Refused, 0));
}

#[test]
fn a_server_does_not_ask_itself() {
    let near = Service::start(&[]);
    let _context = near.runtime.as_ref().unwrap().enter();
    let circle = upstreams(&[near.address], &near, "127.0.0.0/8");
    let error = near.catalog.set_upstreams(circle.clone()).unwrap_err().to_string();
    assert!(error.contains("is this server itself"), "{error}");
    let any = SocketAddr::from(([0, 0, 0, 0], near.address.port()));
    let error = near.catalog.set_upstreams(Upstreams { own: vec![any], ..circle }).unwrap_err();
    assert!(error.to_string().contains("is this server itself"), "{error}");
}

#[test]
fn networks_are_ranges_of_addresses() {
    let within = |network: &str, address: &str| {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    };
    assert!(within("10.0.0.0/8", "10.255.0.1") && !within("10.0.0.0/8", "11.0.0.1"));
    assert!(within("0.0.0.0/0", "8.8.8.8") && !within("0.0.0.0/0", "::1"));
    assert!(within("fc00::/7", "fd00::1") && !within("fc00::/7", "fe00::1"));
    assert!(within("127.0.0.1", "::ffff:127.0.0.1"));
    for text in ["10.0.0.0/33", "10.0.0/8", "x", "::/129", "1.2.3.4/"] {
        assert!(text.parse::<Network>().is_err(), "{text}");
    }
    assert!(Network::PRIVATE.iter().all(|text| text.parse::<Network>().is_ok()));
}

/// A service that has heard of a name for a second, and the one that it heard it from, which is gone.
fn after_its_server() -> (Service, Service) {
    let mut far = Service::start(&[("far.test.zone", &ZONE.replace("$TTL 60", "$TTL 1"))]);
    let near = Service::start(&[]);
    let context = near.runtime.as_ref().unwrap().enter();
    near.catalog.set_upstreams(upstreams(&[far.address], &near, "127.0.0.0/8")).unwrap();
    assert_eq!(ask(&near, "ns.far.test.", RecordType::A).answers[0].ttl, 1);
    far.stop();
    drop(context);
    (near, far)
}

/// A name whose time is over is still answered when its server is gone (RFC 8767), for 30 seconds.
#[test]
fn what_was_said_is_said_again_when_nobody_answers() {
    let (near, _far) = after_its_server();
    let until = Instant::now() + DEADLINE;
    let old = loop {
        let answer = ask(&near, "ns.far.test.", RecordType::A);
        assert_eq!(answer.answers.len(), 1, "{answer}");
        if answer.answers[0].ttl > 1 {
            break answer;
        }
        assert!(Instant::now() < until, "the answer never got old");
    };
    assert_eq!((old.response_code, old.answers[0].ttl), (ResponseCode::NoError, 30));
    let unknown = ask(&near, "new.far.test.", RecordType::A);
    assert_eq!(unknown.response_code, ResponseCode::ServFail);
    // And at once, because it failed a moment ago; on a busy machine perhaps not at the first attempt.
    let at_once = (0..5).any(|_| {
        let begun = Instant::now();
        let again = ask(&near, "new.far.test.", RecordType::A);
        assert_eq!(again.response_code, ResponseCode::ServFail);
        begun.elapsed() < Duration::from_secs(1)
    });
    assert!(at_once);
}

/// Clients wait some five seconds. A server that says nothing at all must not use them up.
#[test]
fn a_silent_server_does_not_outlast_its_clients() {
    let (near, far) = after_its_server();
    let _silent = UdpSocket::bind(far.address).unwrap();
    let until = Instant::now() + DEADLINE;
    loop {
        let begun = Instant::now();
        let answer = ask(&near, "ns.far.test.", RecordType::A);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(answer.answers.len(), 1, "{answer}");
        if answer.answers[0].ttl == 30 {
            break;
        }
        assert!(Instant::now() < until, "the answer never got old");
    }
    let begun = Instant::now();
    let unknown = ask(&near, "new.far.test.", RecordType::A);
    assert_eq!(unknown.response_code, ResponseCode::ServFail);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
