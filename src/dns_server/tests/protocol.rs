//! Options, transports and limits: what a message has besides its question.

use std::net::IpAddr;

use hickory_proto::rr::rdata::opt::EdnsCode;

use super::super::QueryLog;
use super::super::options::IDLE;
use super::*;

const QUERY: &[u8] = b"\x02n0\x03rfc\x04test\0\0\x01\0\x01";

fn service() -> Service {
    Service::start(&[("rfc.test.zone", RFC_ZONE)])
}

/// A question for `n0.rfc.test. A` with these options.
fn with_options(options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut message = question("n0.rfc.test.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    for (code, data) in options {
        edns.options_mut().insert(EdnsOption::Unknown(*code, data.to_vec()));
    }
    message.set_edns(edns);
    message.to_vec().unwrap()
}

fn options_of(reply: &[u8]) -> Vec<(EdnsCode, Vec<u8>)> {
    let reply = Message::from_vec(reply).unwrap();
    let edns = reply.edns.expect("an OPT record");
    let bytes = |option: &EdnsOption| match option {
        EdnsOption::Unknown(_, data) => data.clone(),
        EdnsOption::NSID(nsid) => nsid.as_ref().to_vec(),
        other => panic!("{other:?}"),
    };
    edns.options().as_ref().iter().map(|(code, option)| (*code, bytes(option))).collect()
}

#[test]
fn cookies_are_given_and_known_again() {
    let service = service();
    let own = [1, 2, 3, 4, 5, 6, 7, 8];
    let first = options_of(&service.udp(&with_options(&[(10, &own)])));
    let [(EdnsCode::Cookie, cookie)] = first.as_slice() else { panic!("{first:?}") };
    assert_eq!((cookie.len(), &cookie[..9]), (24, &[1, 2, 3, 4, 5, 6, 7, 8, 1][..]));
    let again = options_of(&service.udp(&with_options(&[(10, cookie)])));
    assert_eq!(again[0].1[..8], own);
    for length in [0, 7, 9, 15, 41] {
        let reply = service.udp(&with_options(&[(10, &vec![1; length])]));
        let reply = Message::from_vec(&reply).unwrap();
        assert_eq!(reply.response_code, ResponseCode::FormErr, "{length} bytes");
        assert!(reply.answers.is_empty());
    }
}

#[test]
fn options_come_only_when_asked_for() {
    let settings = Settings { nsid: Some("ns1 of the lab".to_owned()), ..Settings::default() };
    let service = Service::start_with(&[("rfc.test.zone", RFC_ZONE)], settings);
    assert_eq!(options_of(&service.udp(&with_options(&[]))), []);
    assert_eq!(options_of(&service.udp(&with_options(&[(65001, b"x")]))), []);
    let nsid = options_of(&service.udp(&with_options(&[(3, b"")])));
    assert_eq!(nsid, [(EdnsCode::NSID, b"ns1 of the lab".to_vec())]);
    // A connection is kept for so many tenths of a second; a datagram is no connection.
    assert_eq!(options_of(&service.udp(&with_options(&[(11, b"")]))), []);
    let kept = options_of(&service.tcp(&with_options(&[(11, b"")])));
    assert_eq!(kept, [(EdnsCode::Keepalive, vec![0, 100])]);
    let timed = Message::from_vec(&service.tcp(&with_options(&[(11, &[0, 9])]))).unwrap();
    assert_eq!(timed.response_code, ResponseCode::FormErr);
}

#[test]
fn a_refusal_says_why() {
    let service = service();
    let mut message = question("www.example.org.", RecordType::A);
    message.set_edns(Edns::new());
    let reply = service.udp(&message.to_vec().unwrap());
    let [(EdnsCode::Unknown(15), reason)] = &options_of(&reply)[..] else { panic!("{reply:?}") };
    assert_eq!(
        (reason[..2].to_vec(), &reason[2..]),
        (vec![0, 20], &b"no zone here has this name"[..])
    );
    message.edns = None;
    let plain = Message::from_vec(&service.udp(&message.to_vec().unwrap())).unwrap();
    assert!(plain.edns.is_none() && plain.response_code == ResponseCode::Refused);
}

#[test]
fn types_that_only_questions_have_get_no_data() {
    let service = service();
    for kind in [0, 41, 249, 250, 251, 252, 253, 254] {
        let mut packet = vec![0x22, 0x22, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        packet.extend(b"\x02n0\x03rfc\x04test\0\0");
        packet.extend([kind, 0, 1]);
        let reply = Message::from_vec(&service.udp(&packet)).unwrap();
        assert!(reply.answers.is_empty(), "type {kind}: {reply}");
    }
    // Class ANY of a name that is there.
    let any = [&[0x22, 0x22, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &QUERY[..QUERY.len() - 1], &[255]];
    let reply = Message::from_vec(&service.udp(&any.concat())).unwrap();
    assert_eq!((reply.id, reply.response_code), (0x2222, ResponseCode::NoError));
}

#[test]
fn the_flags_of_a_question_come_back_as_they_should() {
    let service = service();
    let ask = |high: u8, low: u8, name: &[u8]| {
        let head = [0x22, 0x22, high, low, 0, 1, 0, 0, 0, 0, 0, 0];
        Message::from_vec(&service.udp(&[&head[..], name].concat())).unwrap()
    };
    // CD is copied (RFC 4035 §3.2.2), AD is not, whichever way the answer takes.
    for name in [QUERY, b"\x05alias\x03rfc\x04test\0\0\x01\0\x01"] {
        let reply = ask(0x01, 0x30, name);
        assert!(reply.recursion_desired && reply.checking_disabled, "{reply}");
        assert!(!reply.authentic_data && !reply.recursion_available, "{reply}");
    }
    // They are about questions, and an operation that nobody knows has no use for them.
    let unknown = ask(0x79, 0x30, QUERY);
    assert_eq!(unknown.response_code, ResponseCode::NotImp);
    assert!(!unknown.recursion_desired && !unknown.checking_disabled, "{unknown}");
}

/// Without fragments, and never above what the client takes (RFC 9715).
#[test]
fn no_datagram_is_too_long() {
    let service = service();
    for size in [0, 100, 512, 700, 1231, 1232, 4096, 65535] {
        for name in ["_big._tcp.rfc.test.", "_med._tcp.rfc.test.", "_etcd-server._tcp.rfc.test."] {
            let mut message = question(name, RecordType::SRV);
            message.set_edns({
                let mut edns = Edns::new();
                edns.set_max_payload(size);
                edns
            });
            let reply = service.udp(&message.to_vec().unwrap());
            assert!(
                reply.len() <= usize::from(size.clamp(512, 1232)),
                "{name} {size}: {}",
                reply.len()
            );
            Message::from_vec(&reply).unwrap();
        }
    }
}

/// A server on all addresses answers from the one that was asked.
#[test]
fn replies_come_from_the_address_that_was_asked() {
    let bound = Bound::bind(([0, 0, 0, 0], 0).into()).unwrap();
    let port = bound.local_addr().port();
    let zones = TempDir::new().unwrap();
    std::fs::write(zones.path().join("rfc.test.zone"), RFC_ZONE).unwrap();
    let catalog = Arc::new(Catalog::load(zones.path()).unwrap().0);
    let stop = CancellationToken::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let task = runtime.spawn(serve(vec![bound], catalog, Settings::default(), stop.clone()));
    let packet = question("n0.rfc.test.", RecordType::A).to_vec().unwrap();
    for last in [1, 7, 99] {
        let server = SocketAddr::from(([127, 0, 0, last], port));
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut attempts = (0..10).map(|_| {
            socket.send_to(&packet, server).unwrap();
            socket.recv_from(&mut [0; 512])
        });
        let (_, from) = attempts.find_map(Result::ok).expect("an answer within ten attempts");
        assert_eq!(from.ip(), IpAddr::from([127, 0, 0, last]));
    }
    stop.cancel();
    runtime.block_on(task).unwrap().unwrap();
}

/// One client cannot take all connections; its longest idle one makes room for a new one.
#[test]
fn a_client_has_so_many_connections() {
    let packet = question("n0.rfc.test.", RecordType::A).to_vec().unwrap();
    let attempt = || {
        let (service, begun) = (service(), Instant::now());
        let mut streams: Vec<TcpStream> = Vec::new();
        for _ in 0..260 {
            let mut stream = service.connect();
            send(&mut stream, &packet);
            assert_eq!(Message::from_vec(&receive(&mut stream)).unwrap().answers.len(), 1);
            streams.push(stream);
        }
        for closed in &mut streams[..4] {
            assert_eq!(closed.read(&mut [0]).unwrap(), 0, "four are closed to make room");
        }
        let more = streams[4..].iter_mut().filter_map(|stream| {
            stream.set_nonblocking(true).unwrap();
            stream.read(&mut [0]).ok()
        });
        (more.count(), begun.elapsed())
    };
    // On a slow machine some end because they were idle for too long.
    let in_time = (0..5).map(|_| attempt()).find(|(_, took)| *took < IDLE);
    let (more, _) = in_time.expect("an attempt that is faster than connections get idle");
    assert_eq!(more, 0, "no others are closed");
}

/// A client that asks and never reads is cut off and hurts nobody else.
#[test]
fn a_client_that_never_reads_is_survived() {
    let service = service();
    let packet = question("_big._tcp.rfc.test.", RecordType::SRV).to_vec().unwrap();
    let framed = [&u16::try_from(packet.len()).unwrap().to_be_bytes()[..], &packet].concat();
    let mut deaf = service.connect();
    deaf.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let many = framed.repeat(1000);
    while deaf.write_all(&many).is_ok() {}
    assert_eq!(service.data("n0.rfc.test.", RecordType::A), ["10.0.0.1"]);
    let query = question("n0.rfc.test.", RecordType::A).to_vec().unwrap();
    assert_eq!(Message::from_vec(&service.tcp(&query)).unwrap().answers.len(), 1);
}

#[test]
fn each_answer_is_a_line_of_the_query_log() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("queries.log");
    let log = Arc::new(QueryLog::open(&path).unwrap());
    let settings = Settings { query_log: Some(log), ..Settings::default() };
    let service = Service::start_with(&[("rfc.test.zone", RFC_ZONE)], settings);
    service.ask("n0.rfc.test.", RecordType::A);
    service.tcp(&question("nope.rfc.test.", RecordType::AAAA).to_vec().unwrap());
    service.tcp(&question("alias.rfc.test.", RecordType::A).to_vec().unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|it| it.split(' ').collect()).collect();
    assert!(lines.len() >= 3, "{text}");
    assert!(lines[0][1].starts_with("127.0.0.1#"), "{text}");
    assert_eq!(lines[0][2..6], ["udp", "A", "n0.rfc.test.", "NOERROR"]);
    assert_eq!(lines[lines.len() - 2][2..6], ["tcp", "AAAA", "nope.rfc.test.", "NXDOMAIN"]);
    assert_eq!(lines[lines.len() - 1][2..6], ["tcp", "A", "alias.rfc.test.", "NOERROR"]);
}

/// Equal servers take turns, on both ways an answer is made.
#[test]
fn servers_come_in_changing_order() {
    let service = service();
    for options in [&[][..], &[(10, &[1; 8][..])]] {
        let mut message = question("_etcd-server._tcp.rfc.test.", RecordType::SRV);
        let mut edns = Edns::new();
        for (code, data) in options {
            edns.options_mut().insert(EdnsOption::Unknown(*code, data.to_vec()));
        }
        message.set_edns(edns);
        let packet = message.to_vec().unwrap();
        let mut stream = service.connect();
        let orders: std::collections::BTreeSet<Vec<String>> = (0..100)
            .map(|_| {
                send(&mut stream, &packet);
                let reply = Message::from_vec(&receive(&mut stream)).unwrap();
                reply.answers.iter().map(|record| record.data.to_string()).collect()
            })
            .collect();
        assert!(orders.len() > 1, "{orders:?}");
    }
}
