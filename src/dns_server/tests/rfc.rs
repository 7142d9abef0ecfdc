//! The checklist of RFC points by number: where each is asserted, and those that are asserted here.
//!
//! | points | test |
//! |---|---|
//! | 1-21, 23-31, 34-37, 40, 42, 43, 46-66, 69, 70, 74, 76, 84 | `checklist`, by number in `testdata/checklist.txt` |
//! | 22 | `what_was_cut_comes_whole_over_tcp` |
//! | 25, 26 | also `protocol::no_datagram_is_too_long` |
//! | 32, 68, 82 | `protocol::options_come_only_when_asked_for` |
//! | 33, 81 | `protocol::cookies_are_given_and_known_again` |
//! | 38-42 | `whole_zones_go_to_those_who_may_have_them`; with `dig`, Knot and TSIG in `tests/it/transfer.rs` |
//! | 44 | `wire::updates_are_refused` |
//! | 45 | `wire::an_unknown_key_is_named_back` |
//! | 67, 77 | `wire::tcp_in_pieces_pipelined_and_half_closed`, `protocol::a_client_that_never_reads_is_survived`, `a_slow_answer_keeps_no_other_waiting` |
//! | 71-75 | `wire::malformed_packets_are_refused_or_dropped`, `wire::any_bytes_leave_the_server_alive` |
//! | 76 | also `protocol::types_that_only_questions_have_get_no_data` |
//! | 78 | `an_idle_connection_ends`, `protocol::a_client_has_so_many_connections` |
//! | 79 | `wire::srv_targets_are_not_compressed` |
//! | 80 | `protocol::replies_come_from_the_address_that_was_asked` |
//! | 83 | `protocol::no_datagram_is_too_long` |
//! | load time | `zone::tests::flaws_of_zones`, `zone::tests::mistakes_name_place_and_reason`, `reload` |
//! | forwarding | `forward`, `upstream`, `hosts`; resolver files in `tests/it/srv.rs` |
//! | rate limits | `strangers_get_three_bytes_for_one`, `limit::tests`, `tests/it/dns_limit.rs` |

use std::net::IpAddr;

use hickory_proto::rr::rdata::SOA;

use super::super::asker::{Asker, Transport};
use super::super::handler::{Handler, Scratch};
use super::super::limit::Limiter;
use super::super::options::IDLE;
use super::super::reply::Reply;
use super::upstream::Fake;
use super::*;
use crate::dns_server::{DEFAULT_RATE_LIMIT, Transfers};

fn service() -> Service {
    Service::start(&[("rfc.test.zone", RFC_ZONE)])
}

/// Point 22, RFC 7766: the way a client takes whose datagram was cut.
#[test]
fn what_was_cut_comes_whole_over_tcp() {
    let service = service();
    let packet = question("_big._tcp.rfc.test.", RecordType::SRV).to_vec().unwrap();
    let cut = Message::from_vec(&service.udp(&packet)).unwrap();
    assert!(cut.truncation && cut.answers.is_empty());
    let whole = Message::from_vec(&service.tcp(&packet)).unwrap();
    assert!(!whole.truncation);
    assert_eq!(whole.answers.len(), 60);
}

/// Points 38 to 42, RFC 5936 and 1995.
#[test]
fn whole_zones_go_to_those_who_may_have_them() {
    let hosts: String =
        (0..3000).map(|n| format!("h{n} A 10.7.{}.{}\n", n / 250, n % 250)).collect();
    let large = format!("$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 10.0.0.1\n{hosts}");
    let service = Service::start(&[("rfc.test.zone", RFC_ZONE), ("large.test.zone", &large)]);
    let allow = vec!["127.0.0.0/8".parse().unwrap()];
    service.catalog.set_transfers(Transfers { allow, ..Transfers::default() });

    let transfer = |origin: &str| {
        let mut stream = service.connect();
        send(&mut stream, &question(origin, RecordType::AXFR).to_vec().unwrap());
        let (mut records, mut messages) = (Vec::new(), 0);
        let soas = |records: &[Record]| {
            records.iter().filter(|it| it.record_type() == RecordType::SOA).count()
        };
        while soas(&records) < 2 {
            let message = Message::from_vec(&receive(&mut stream)).unwrap();
            assert_eq!(message.response_code, ResponseCode::NoError);
            assert!(message.authoritative);
            records.extend(message.answers.clone());
            messages += 1;
        }
        (records, messages)
    };
    for (origin, least) in [("rfc.test.", 1), ("large.test.", 2)] {
        let (records, messages) = transfer(origin);
        let zone = service.catalog.find(&Name::from_ascii(origin).unwrap()).unwrap();
        assert_eq!(records.len(), zone.records().count() + 1, "{origin}");
        assert_eq!(records[0].record_type(), RecordType::SOA);
        assert_eq!(records.last().unwrap().record_type(), RecordType::SOA);
        assert!(messages >= least, "{messages} messages for {origin}");
    }

    let data = |reply: &[u8]| {
        let message = Message::from_vec(reply).unwrap();
        let soa = message.answers.iter().filter(|it| it.record_type() == RecordType::SOA).count();
        (message.response_code, message.answers.len(), soa)
    };
    let (_, answers, soas) =
        data(&service.udp(&question("rfc.test.", RecordType::AXFR).to_vec().unwrap()));
    assert_eq!(answers, soas, "no data in a datagram");
    let below = question("n0.rfc.test.", RecordType::AXFR).to_vec().unwrap();
    let (code, answers, _) = data(&service.tcp(&below));
    assert!(matches!(code, ResponseCode::Refused | ResponseCode::NotAuth) && answers == 0);
    let mut current = question("rfc.test.", RecordType::IXFR);
    let name = Name::from_ascii("rfc.test.").unwrap();
    let soa = RData::SOA(SOA::new(name.clone(), name.clone(), 7, 0, 0, 0, 0));
    current.authorities.push(Record::from_rdata(name, 0, soa));
    assert_eq!(data(&service.tcp(&current.to_vec().unwrap())), (ResponseCode::NoError, 1, 1));
}

/// Point 77, RFC 7766 §6.2.1.1: answers come in the order in which they are known.
#[test]
fn a_slow_answer_keeps_no_other_waiting() {
    let (near, far) = (service(), Fake::new());
    near.forward_to(&[far.address()]);
    let mut stream = near.connect();
    let mut slow = question("slow.far.test.", RecordType::A);
    slow.metadata.id = 1;
    slow.metadata.recursion_desired = true;
    send(&mut stream, &slow.to_vec().unwrap());
    let held = far.hear();
    for id in 2..5 {
        let mut quick = question("n0.rfc.test.", RecordType::A);
        quick.metadata.id = id;
        send(&mut stream, &quick.to_vec().unwrap());
        assert_eq!(Message::from_vec(&receive(&mut stream)).unwrap().id, id);
    }
    far.answer(&held, [10, 0, 0, 77]);
    let late = Message::from_vec(&receive(&mut stream)).unwrap();
    assert_eq!((late.id, late.answers.len()), (1, 1), "{late}");
}

/// Point 78, RFC 9210 §4.4: and not before its time, counted from the last answer.
#[test]
fn an_idle_connection_ends() {
    let service = service();
    let packet = question("n0.rfc.test.", RecordType::A).to_vec().unwrap();
    let mut stream = service.connect();
    stream.set_read_timeout(Some(IDLE * 3)).unwrap();
    send(&mut stream, &packet);
    receive(&mut stream);
    let answered = Instant::now();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the server ends it");
    let idle = answered.elapsed();
    assert!(idle > IDLE.mul_f32(0.9), "{idle:?}");
}

/// In the default set-up, whatever strangers ask, and from wherever they seem to come.
#[test]
fn strangers_get_three_bytes_for_one() {
    let handler = limited();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut scratch = Scratch::new();
    let names = ["_big._tcp", "_med._tcp", "_etcd-server._tcp", "n0", "long", "nope", "x.sub"];
    let kinds = [RecordType::SRV, RecordType::ANY, RecordType::A, RecordType::TXT];
    let stranger = IpAddr::from([198, 51, 100, 7]);
    let (mut asked, mut answered, mut cut) = (0, 0, 0);
    for number in 0..3000 {
        let name = format!("{}.rfc.test.", names[number % names.len()]);
        let mut message = question(&name, kinds[number % kinds.len()]);
        if number % 3 > 0 {
            let mut edns = Edns::new();
            edns.set_max_payload(4096);
            message.set_edns(edns);
        }
        let packet = message.to_vec().unwrap();
        let reply = say(&handler, &mut scratch, &runtime, stranger, &packet);
        asked += packet.len();
        answered += reply.len();
        cut += usize::from(reply.get(2).is_some_and(|flags| flags & 0x02 != 0));
        assert!(answered <= 3 * asked, "{answered} bytes for {asked}, from the first on");
    }
    assert!(answered > asked / 4 && cut > 100, "it answers all the same: {answered}, {cut} cut");

    // Who shows a cookie that was sent to his address is no stranger.
    let known = IpAddr::from([203, 0, 113, 9]);
    let cookie = handler.settings.cookies.give(&[7; 8], known);
    let mut message = question("_med._tcp.rfc.test.", RecordType::SRV);
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    edns.options_mut().insert(EdnsOption::Unknown(10, cookie));
    message.set_edns(edns);
    let packet = message.to_vec().unwrap();
    for _ in 0..1000 {
        let reply = say(&handler, &mut scratch, &runtime, known, &packet);
        assert_eq!(Message::from_vec(&reply).unwrap().answers.len(), 9);
    }
}

fn limited() -> Handler {
    let zones = TempDir::new().unwrap();
    std::fs::write(zones.path().join("rfc.test.zone"), RFC_ZONE).unwrap();
    let catalog = Arc::new(Catalog::load(zones.path()).unwrap().0);
    let counters = catalog.counters().clone();
    let limiter = Limiter::new(Vec::new(), Some(DEFAULT_RATE_LIMIT));
    Handler { catalog, counters, settings: Settings::default(), limiter }
}

/// What the handler sends back for a datagram, on either way; nothing if nothing.
fn say(
    handler: &Handler,
    scratch: &mut Scratch,
    runtime: &tokio::runtime::Runtime,
    client: IpAddr,
    packet: &[u8],
) -> Vec<u8> {
    let asker = Asker { address: SocketAddr::new(client, 9), transport: Transport::Udp };
    let mut out = Vec::new();
    if !handler.answer_at_once(packet, asker, scratch, &mut out)
        && let Reply::One(bytes) = runtime.block_on(handler.reply(packet, asker))
    {
        out = bytes;
    }
    out
}
