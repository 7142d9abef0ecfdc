//! Hand-made packets: what is malformed is refused or dropped, and the server lives on.

use std::io::Write as _;
use std::net::Shutdown;

use super::*;
use crate::dns_server::BindError;

fn service() -> Service {
    Service::start(&[("rfc.test.zone", RFC_ZONE)])
}

/// A header with id 0x1111 and these flags and counts, then the rest.
fn packet(flags: u16, counts: [u16; 4], rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x11, 0x11];
    bytes.extend(flags.to_be_bytes());
    bytes.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    bytes.extend(rest);
    bytes
}

fn codes_of(service: &Service, packets: &[Vec<u8>]) -> Vec<(u16, ResponseCode)> {
    // One TCP connection is answered in order, so what is dropped shows by the next answer.
    let mut stream = service.connect();
    for packet in packets {
        send(&mut stream, packet);
    }
    send(&mut stream, &question("n0.rfc.test.", RecordType::A).to_vec().unwrap());
    let mut codes = Vec::new();
    loop {
        let reply = Message::from_vec(&receive(&mut stream)).unwrap();
        codes.push((reply.id, reply.response_code));
        if reply.id == 0x2222 {
            return codes;
        }
    }
}

#[test]
fn malformed_packets_are_refused_or_dropped() {
    let service = service();
    let query = b"\x02n0\x03rfc\x04test\0\0\x01\0\x01";
    let opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
    let named_opt = b"\x01x\0\0\x29\x04\xd0\0\0\0\0\0\0";
    let cases: [(&str, Vec<u8>, Option<ResponseCode>); 10] = [
        ("a response", packet(0x8000, [1, 0, 0, 0], query), None),
        ("a header cut short", vec![0x11, 0x11, 0, 0, 0, 1], None),
        (
            "a name in a circle",
            packet(0, [1, 0, 0, 0], b"\xc0\x0c\0\x01\0\x01"),
            Some(ResponseCode::FormErr),
        ),
        ("a label past the end", packet(0, [1, 0, 0, 0], b"\x3fabc"), Some(ResponseCode::FormErr)),
        (
            "a reserved label type",
            packet(0, [1, 0, 0, 0], b"\x80a\0\0\x01\0\x01"),
            Some(ResponseCode::FormErr),
        ),
        (
            "no type",
            packet(0, [1, 0, 0, 0], b"\x02n0\x03rfc\x04test\0"),
            Some(ResponseCode::FormErr),
        ),
        (
            "two OPT",
            packet(0, [1, 0, 0, 2], &[&query[..], opt, opt].concat()),
            Some(ResponseCode::FormErr),
        ),
        (
            "an OPT with a name",
            packet(0, [1, 0, 0, 1], &[&query[..], named_opt].concat()),
            Some(ResponseCode::FormErr),
        ),
        (
            "more records than there are",
            packet(0, [1, 9, 0, 0], query),
            Some(ResponseCode::FormErr),
        ),
        (
            "trailing bytes",
            packet(0, [1, 0, 0, 0], &[&query[..], b"more"].concat()),
            Some(ResponseCode::NoError),
        ),
    ];
    for (what, packet, code) in cases {
        let mut expected: Vec<_> = code.map(|code| (0x1111, code)).into_iter().collect();
        expected.push((0x2222, ResponseCode::NoError));
        assert_eq!(codes_of(&service, &[packet]), expected, "{what}");
    }
}

#[test]
fn any_bytes_leave_the_server_alive() {
    let service = service();
    let good = question("_etcd-server._tcp.rfc.test.", RecordType::SRV).to_vec().unwrap();
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    socket.connect(service.address).unwrap();
    for at in 0..good.len() {
        for byte in [0, 1, 0x3f, 0x40, 0x80, 0xc0, 0xff] {
            let mut bad = good.clone();
            bad[at] = byte;
            socket.send(&bad).unwrap();
        }
        socket.send(&good[..at]).unwrap();
    }
    assert_eq!(service.ask("n0.rfc.test.", RecordType::A).answers.len(), 1);
}

#[test]
fn tcp_in_pieces_pipelined_and_half_closed() {
    let service = service();
    let query = question("n0.rfc.test.", RecordType::A).to_vec().unwrap();
    let framed =
        [&u16::try_from(query.len()).unwrap().to_be_bytes()[..], query.as_slice()].concat();

    let mut stream = service.connect();
    stream.set_nodelay(true).unwrap();
    for byte in &framed {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(Message::from_vec(&receive(&mut stream)).unwrap().answers.len(), 1);

    stream.write_all(&framed.repeat(20)).unwrap();
    for _ in 0..20 {
        assert_eq!(Message::from_vec(&receive(&mut stream)).unwrap().answers.len(), 1);
    }

    // A message of no bytes ends or skips the message, not the server.
    stream.write_all(&[0, 0]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(service.data("n0.rfc.test.", RecordType::A), ["10.0.0.1"]);
}

#[test]
fn srv_targets_are_not_compressed() {
    let service = service();
    let query = question("_etcd-server._tcp.rfc.test.", RecordType::SRV).to_vec().unwrap();
    let reply = service.udp(&query);
    let target = b"\x02n1\x03rfc\x04test\0";
    let whole = reply.windows(target.len()).filter(|bytes| bytes == target).count();
    assert_eq!(whole, 1);
}

#[test]
fn an_unknown_key_is_named_back() {
    let service = service();
    let key = b"\x05nokey\0\0\xfa\0\xff\0\0\0\0\0\x1d\x0bhmac-sha256\0\0\0\x5f\0\0\0\x01\x2c\0\0\x11\x11\0\0\0\0";
    let query = b"\x02n0\x03rfc\x04test\0\0\x01\0\x01";
    let reply = service.udp(&packet(0, [1, 0, 0, 1], &[&query[..], key].concat()));
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!(reply.response_code, ResponseCode::NotAuth);
    let tsig = reply.signature.as_ref().expect("a signature record");
    assert_eq!(tsig.data.error.map(u16::from), Some(17));
    assert!(reply.answers.is_empty());
}

#[test]
fn updates_are_refused() {
    let service = service();
    let zone = b"\x03rfc\x04test\0\0\x06\0\x01";
    let add = b"\x01u\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03\x04";
    let update = packet(5 << 11, [1, 0, 1, 0], &[&zone[..], add].concat());
    assert_eq!(codes_of(&service, &[update])[0], (0x1111, ResponseCode::Refused));
}

#[test]
fn requests_are_counted() {
    let service = service();
    let registry = prometheus::Registry::new();
    service.catalog.counters().register(&registry).unwrap();
    service.ask("n0.rfc.test.", RecordType::A);
    service.ask("nope.rfc.test.", RecordType::A);
    service.ask("_big._tcp.rfc.test.", RecordType::SRV);
    let mut sums: Vec<String> = Vec::new();
    let timed = "quorate_dns_duration_seconds";
    // An answer is timed when it has been sent.
    eventually("three times", || {
        let families = registry.gather();
        let times = families.iter().find(|it| it.name() == timed).unwrap();
        times.get_metric()[0].get_histogram().get_sample_count() == 3
    });
    let families = registry.gather();
    for family in families.iter().filter(|it| it.name() != timed) {
        for metric in family.get_metric() {
            let labels: Vec<&str> = metric.get_label().iter().map(|pair| pair.value()).collect();
            sums.push(format!("{} {labels:?} {}", family.name(), metric.get_counter().get_value()));
        }
    }
    assert_eq!(
        sums,
        [
            r#"quorate_dns_requests_total ["udp", "A"] 2"#,
            r#"quorate_dns_requests_total ["udp", "SRV"] 1"#,
            r#"quorate_dns_responses_total ["NOERROR"] 2"#,
            r#"quorate_dns_responses_total ["NXDOMAIN"] 1"#,
            "quorate_dns_truncated_total [] 1",
            r#"quorate_dns_zone_requests_total ["rfc.test."] 3"#,
        ]
    );
}

#[test]
fn stop_frees_the_port_and_an_occupied_port_is_named() {
    let mut service = service();
    let open = service.connect();
    let error = Bound::bind(service.address).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen for DNS over UDP on `{}` (`ss -lnp` shows who does; --dns-addr takes \
             another)",
            service.address
        )
    );
    let source = std::io::ErrorKind::PermissionDenied.into();
    let secure = BindError { transport: "TLS", address: service.address, source };
    assert!(secure.to_string().contains("--dot-addr takes another"), "{secure}");
    service.stop();
    drop(open);
    drop(Bound::bind(service.address).unwrap());
}
