//! What other servers see of us, and what we make of what they say.

use std::collections::BTreeSet;
use std::thread;

use hickory_proto::rr::rdata::A;

use super::*;
use crate::dns_server::{Network, Upstreams};

/// An upstream that does what a test tells it to.
pub(super) struct Fake(UdpSocket);

/// A question that came to it, and from where.
pub(super) struct Heard {
    pub(super) message: Message,
    pub(super) client: SocketAddr,
}

impl Fake {
    pub(super) fn new() -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(socket)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(super) fn hear(&self) -> Heard {
        let mut packet = [0; 2048];
        let (length, client) = self.0.recv_from(&mut packet).unwrap();
        Heard { message: Message::from_vec(&packet[..length]).unwrap(), client }
    }

    /// Answers with one address, for an hour.
    pub(super) fn answer(&self, heard: &Heard, address: [u8; 4]) {
        let mut reply = heard.message.clone();
        reply.metadata.message_type = MessageType::Response;
        let name = reply.queries[0].name().clone();
        let [a, b, c, d] = address;
        reply.add_answer(Record::from_rdata(name, 3600, RData::A(A::new(a, b, c, d))));
        self.0.send_to(&reply.to_vec().unwrap(), heard.client).unwrap();
    }
}

impl Service {
    /// Asks these about everything else, for all on this machine.
    pub(super) fn forward_to(&self, servers: &[SocketAddr]) {
        let _context = self.runtime.as_ref().unwrap().enter();
        let upstreams = Upstreams {
            servers: servers.to_vec(),
            allow: vec!["127.0.0.0/8".parse::<Network>().unwrap()],
            own: vec![self.address],
            ..Upstreams::default()
        };
        self.catalog.set_upstreams(upstreams).unwrap();
    }

    /// As a stub resolver asks, without options.
    fn resolve(&self, name: &str, kind: RecordType) -> Message {
        let mut message = question(name, kind);
        message.metadata.recursion_desired = true;
        Message::from_vec(&self.udp(&message.to_vec().unwrap())).unwrap()
    }
}

const FAR_ZONE: &str = "$TTL 3600\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 10.0.0.1\n\
                        a A 10.0.0.2\nb A 10.0.0.3\n_s._tcp SRV 0 1 2380 a\n_s._tcp SRV 0 1 2380 b\n";

/// Whoever forges answers has to guess id, port and letter case.
#[test]
fn questions_to_others_cannot_be_guessed() {
    let (near, far) = (Service::start(&[]), Fake::new());
    near.forward_to(&[far.address()]);
    let (mut ids, mut ports, mut spellings) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..8 {
                let heard = far.hear();
                ids.insert(heard.message.id);
                ports.insert(heard.client.port());
                let name = heard.message.queries[0].name().to_ascii();
                spellings.insert(name[name.find('.').unwrap()..].to_owned());
                far.answer(&heard, [10, 0, 0, 7]);
            }
        });
        for number in 0..8 {
            let name = format!("host{number}.abcdefgh.ijklmnop.test.");
            let reply = near.resolve(&name, RecordType::A);
            assert_eq!(reply.answers[0].name.to_ascii(), name, "the client's own spelling");
        }
    });
    assert!(ids.len() > 6 && ports.len() > 6, "{ids:?} {ports:?}");
    assert!(spellings.len() > 6, "{spellings:?}");
}

/// Names that mean nothing elsewhere (RFC 6761, RFC 6303) are answered here.
#[test]
fn names_of_this_place_stay_here() {
    let (near, far) = (Service::start(&[]), Fake::new());
    near.forward_to(&[far.address()]);
    for name in [
        "localhost.",
        "x.localhost.",
        "invalid.",
        "x.invalid.",
        "simple.",
        "1.0.0.10.in-addr.arpa.",
        "1.1.16.172.in-addr.arpa.",
        "1.1.168.192.in-addr.arpa.",
        "1.0.0.127.in-addr.arpa.",
    ] {
        let kind = if name.ends_with("arpa.") { RecordType::PTR } else { RecordType::A };
        near.resolve(name, kind);
    }
    far.0.set_nonblocking(true).unwrap();
    assert!(far.0.recv_from(&mut [0; 512]).is_err(), "nothing was asked elsewhere");
}

/// A server that has trouble of its own is no more than one that refuses.
#[test]
fn a_server_that_fails_is_passed_over() {
    let (near, fails) = (Service::start(&[]), Fake::new());
    let knows = Service::start(&[("rfc.test.zone", RFC_ZONE)]);
    near.forward_to(&[fails.address(), knows.address]);
    fails.0.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    thread::scope(|scope| {
        let failing = scope.spawn(|| {
            let (mut packet, mut asked) = ([0; 2048], 0);
            while let Ok((length, client)) = fails.0.recv_from(&mut packet) {
                let mut reply = Message::from_vec(&packet[..length]).unwrap();
                reply.metadata.message_type = MessageType::Response;
                reply.metadata.response_code = ResponseCode::ServFail;
                fails.0.send_to(&reply.to_vec().unwrap(), client).unwrap();
                asked += 1;
            }
            asked
        });
        for number in 0..6 {
            let reply = near.resolve(&format!("big0{number}.rfc.test."), RecordType::A);
            assert_eq!((reply.response_code, reply.answers.len()), (ResponseCode::NoError, 1));
        }
        assert!(failing.join().unwrap() > 0, "it was asked too");
    });
}

/// One that says nothing takes no time from one that knows, when another has refused.
#[test]
fn a_silent_server_and_one_that_refuses_are_passed_over() {
    let (refuses, knows) = (Service::start(&[]), Service::start(&[("rfc.test.zone", RFC_ZONE)]));
    let (near, silent) = (Service::start(&[]), Fake::new());
    near.forward_to(&[silent.address(), refuses.address, knows.address]);
    for number in 0..6 {
        let reply = near.resolve(&format!("big0{number}.rfc.test."), RecordType::A);
        assert_eq!((reply.response_code, reply.answers.len()), (ResponseCode::NoError, 1));
    }
}

/// Who refuses, or has the answer only over TCP, is not the end.
#[test]
fn the_next_server_and_the_next_transport_are_tried() {
    let (refuses, knows) = (Service::start(&[]), Service::start(&[("rfc.test.zone", RFC_ZONE)]));
    let near = Service::start(&[]);
    near.forward_to(&[refuses.address, knows.address]);
    for number in 0..3 {
        let reply = near.resolve(&format!("big0{number}.rfc.test."), RecordType::A);
        assert_eq!((reply.response_code, reply.answers.len()), (ResponseCode::NoError, 1));
    }
    let mut message = question("_big._tcp.rfc.test.", RecordType::SRV);
    message.metadata.recursion_desired = true;
    let whole = Message::from_vec(&near.tcp(&message.to_vec().unwrap())).unwrap();
    assert_eq!(whole.answers.len(), 60, "what was cut is asked again over TCP");
    assert!(!whole.authoritative && whole.recursion_available);
}

/// The second answer is the first one, with its times counted down and its servers in turns.
#[test]
fn what_was_said_is_said_again_by_itself() {
    let mut far = Service::start(&[("far.test.zone", FAR_ZONE)]);
    let near = Service::start(&[]);
    near.forward_to(&[far.address]);
    let kinds = [("_s._tcp.far.test.", RecordType::SRV), ("a.far.test.", RecordType::A)];
    let first = kinds.map(|(name, kind)| near.resolve(name, kind));
    let missing = near.resolve("no.far.test.", RecordType::A);
    far.stop();
    let said = |reply: &Message| {
        let mut texts: Vec<String> =
            reply.answers.iter().chain(&reply.authorities).map(|it| it.data.to_string()).collect();
        texts.sort();
        (reply.response_code, reply.authoritative, reply.recursion_available, texts)
    };
    let mut orders = BTreeSet::new();
    for _ in 0..40 {
        for ((name, kind), first) in kinds.iter().zip(&first) {
            let again = near.resolve(&name.to_ascii_uppercase(), *kind);
            assert_eq!(said(&again), said(first), "{again}");
            assert!(again.answers.iter().all(|it| it.ttl <= 3600 && it.ttl > 3500), "{again}");
            assert_eq!(again.queries[0].name().to_ascii(), name.to_ascii_uppercase());
            if *kind == RecordType::SRV {
                orders.insert(again.answers[0].data.to_string());
            }
        }
        let again = near.resolve("no.far.test.", RecordType::A);
        assert_eq!(said(&again), said(&missing));
    }
    assert_eq!(orders.len(), 2, "servers take turns: {orders:?}");
    // Whoever does not want others asked is not told what they said.
    let stay = near.ask("a.far.test.", RecordType::A);
    assert_eq!((stay.response_code, stay.answers.len()), (ResponseCode::Refused, 0));
}

/// A zone that comes later has its names from then on, whatever others said before.
#[test]
fn what_others_said_ends_where_a_zone_begins() {
    let far = Service::start(&[("far.test.zone", FAR_ZONE)]);
    let near = Service::start(&[]);
    near.forward_to(&[far.address]);
    assert_eq!(near.resolve("a.far.test.", RecordType::A).answers.len(), 1);
    assert!(!near.resolve("a.far.test.", RecordType::A).authoritative);
    std::fs::write(near.path("far.test.zone"), FAR_ZONE.replace("10.0.0.2", "10.0.0.9")).unwrap();
    eventually("the zone of our own answers", || {
        let reply = near.resolve("a.far.test.", RecordType::A);
        reply.authoritative && reply.answers[0].data.to_string() == "10.0.0.9"
    });
}

/// TTLs grow smaller by whole seconds, and at zero somebody is asked again.
#[test]
fn times_count_down() {
    let (near, far) = (Service::start(&[]), Fake::new());
    near.forward_to(&[far.address()]);
    thread::scope(|scope| {
        scope.spawn(|| far.answer(&far.hear(), [10, 0, 0, 7]));
        assert_eq!(near.resolve("a.far.test.", RecordType::A).answers[0].ttl, 3600);
    });
    eventually("a smaller TTL", || {
        near.resolve("a.far.test.", RecordType::A).answers[0].ttl < 3600
    });
}
