//! Written answers against those of the zone they were written from, on random zones.

use std::borrow::Cow;
use std::collections::BTreeSet;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::SRV;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::model::{random_name, random_zone};
use super::{origin, show};
use crate::zone::{
    Answer, Apexes, Cached, Capabilities, Compiled, Dice, Key, Question, Rcode, Response, Zone,
    shuffle,
};

const DATAGRAM: Capabilities =
    Capabilities { recursion_available: false, plain_limit: 512, edns_limit: 1232, offered: 1232 };
const KINDS: [RecordType; 8] = [
    RecordType::A,
    RecordType::TXT,
    RecordType::CNAME,
    RecordType::NS,
    RecordType::SRV,
    RecordType::SOA,
    RecordType::AAAA,
    RecordType::ANY,
];

fn packet(name: &Name, kind: RecordType, edns: bool) -> Vec<u8> {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name.clone(), kind));
    if edns {
        let mut edns = Edns::new();
        edns.set_max_payload(4096).set_dnssec_ok(true);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

fn written(zone: &Compiled, packet: &[u8], capabilities: Capabilities) -> Option<(Rcode, Message)> {
    let mut question = Question::new();
    let mut out = b"before".to_vec();
    if !question.read(packet) {
        return None;
    }
    let (question, dice) = (&question, &mut Dice::new(1));
    let code = zone.answer(&mut Response { packet, question, capabilities, dice, out: &mut out });
    match code {
        Some(code) => Some((code, Message::from_vec(&out[6..]).unwrap())),
        None => {
            assert_eq!(out, b"before", "what is not answered leaves nothing behind");
            None
        }
    }
}

fn sorted<'r>(records: impl Iterator<Item = &'r Record>) -> Vec<String> {
    let mut lines: Vec<String> = records.map(|it| show(it).to_ascii_lowercase()).collect();
    lines.sort();
    lines
}

#[test]
fn written_answers_are_those_of_the_zone() {
    let mut written_ones = 0;
    for seed in 0..400 {
        let mut random = SmallRng::seed_from_u64(seed);
        let records = random_zone(&mut random);
        let zone = Zone::assemble(records.iter()).unwrap();
        let compiled = Compiled::of(&zone);
        for round in 0..60 {
            let name = random_name(&mut random);
            let kind = KINDS[random.random_range(0..KINDS.len())];
            let packet = packet(&name, kind, round % 2 == 0);
            let Some((code, message)) = written(&compiled, &packet, DATAGRAM) else { continue };
            written_ones += 1;
            let answer = zone.lookup(&name, kind);
            let listing = || records.iter().map(show).collect::<Vec<_>>().join("\n");
            let context = || format!("seed {seed}: {name} {kind} in\n{}\n{message}", listing());
            assert_eq!(message.id, 0x1234);
            assert!(message.authoritative && answer.authoritative, "{}", context());
            assert_eq!(message.response_code, answer.code, "{}", context());
            assert_eq!(code == Rcode::NxDomain, answer.code == ResponseCode::NXDomain);
            for (found, expected) in [
                (&message.answers, &answer.answers),
                (&message.authorities, &answer.authority),
                (&message.additionals, &answer.additional),
            ] {
                let expected = sorted(expected.iter().map(AsRef::as_ref));
                assert_eq!(sorted(found.iter()), expected, "{}", context());
            }
            let edns =
                message.edns.as_ref().map(|edns| (edns.max_payload(), edns.flags().dnssec_ok));
            assert_eq!(edns, (round % 2 == 0).then_some((1232, true)));
        }
    }
    // Were all of them left to the zone, nothing would have been compared.
    assert!(written_ones > 8_000, "{written_ones}");
}

#[test]
fn a_branch_denies_with_the_soa_of_its_apex() {
    let text = "$TTL 60\n@ 90 SOA ns host 1 2 3 4 30\n@ NS ns\nns A 10.0.0.9\na.x A 10.0.0.1\n";
    let zone = crate::zone::load(text.as_bytes(), &origin("z"), None, &mut crate::zone::no_include)
        .unwrap()
        .zone;
    let branch = Compiled::below(&zone, &Key::of(&origin("x.z")));
    let head = Compiled::of(&zone);
    let ask = |name: &str| {
        let packet = packet(&origin(name), RecordType::A, false);
        let mut question = Question::new();
        assert!(question.read(&packet));
        let mut out = Vec::new();
        let mut response = Response {
            packet: &packet,
            question: &question,
            capabilities: DATAGRAM,
            dice: &mut Dice::new(1),
            out: &mut out,
        };
        branch.answer_below(&head, &mut response).unwrap();
        Message::from_vec(&out).unwrap()
    };
    assert_eq!(ask("a.x.z").answers.len(), 1);
    let missing = ask("b.x.z");
    assert_eq!(missing.response_code, ResponseCode::NXDomain);
    assert_eq!(show(&missing.authorities[0]), "z. 30 SOA ns.z. host.z. 1 2 3 4 30");
    assert_eq!(ask("x.z").response_code, ResponseCode::NoError);
}

#[test]
fn other_shapes_are_left_alone() {
    let zone = Zone::assemble(random_zone(&mut SmallRng::seed_from_u64(1)).iter()).unwrap();
    let compiled = Compiled::of(&zone);
    let plain = packet(&origin("z"), RecordType::SOA, false);
    assert!(written(&compiled, &plain, DATAGRAM).is_some());
    let changed = |at: usize, byte: u8| {
        let mut packet = plain.clone();
        packet[at] = byte;
        packet
    };
    let mut class = Message::from_vec(&plain).unwrap();
    class.queries[0].set_query_class(DNSClass::CH);
    let cases = [
        ("a response", changed(2, 0x80)),
        ("another operation", changed(2, 0x28)),
        ("two questions", changed(5, 2)),
        ("an answer", changed(7, 1)),
        ("a second additional record", changed(11, 2)),
        ("a missing OPT record", changed(11, 1)),
        ("a pointer", changed(12, 0xc0)),
        ("another class", class.to_vec().unwrap()),
        ("bytes behind", [plain.clone(), vec![0]].concat()),
        ("a type of questions", packet(&origin("z"), RecordType::AXFR, false)),
    ];
    for (what, packet) in cases {
        assert!(written(&compiled, &packet, DATAGRAM).is_none(), "{what}");
    }
    for end in 0..plain.len() {
        assert!(written(&compiled, &plain[..end], DATAGRAM).is_none(), "cut at {end}");
    }
}

#[test]
fn the_letter_case_and_the_limit_of_the_question_are_kept() {
    let text = format!(
        "$TTL 60\n@ SOA ns host 1 2 3 4 30\n@ NS ns\nns A 10.0.0.9\nbig TXT {}\n",
        "\"0123456789012345678901234567890123456789012345678901234567890123456789\" ".repeat(10)
    );
    let zone = crate::zone::load(text.as_bytes(), &origin("z"), None, &mut crate::zone::no_include)
        .unwrap()
        .zone;
    let compiled = Compiled::of(&zone);
    let asked = packet(&origin("Ns.Z"), RecordType::A, false);
    let (_, message) = written(&compiled, &asked, DATAGRAM).unwrap();
    assert!(message.answers[0].name.eq_case(&origin("Ns.Z")));
    let big = |edns| packet(&origin("big.z"), RecordType::TXT, edns);
    assert!(written(&compiled, &big(false), DATAGRAM).is_none());
    assert!(written(&compiled, &big(true), DATAGRAM).is_some());
}

#[test]
fn the_zone_with_the_longest_apex_is_found() {
    let keys = ["z", "b.z", "."].map(|name| Key::of(&origin(name)));
    let apexes = Apexes::new(keys.iter().zip(["z", "b.z", "root"]));
    let mut question = Question::new();
    for (name, expected) in [("a.B.z", "b.z"), ("b.z", "b.z"), ("xb.z", "z"), ("zz", "root")] {
        assert!(question.read(&packet(&origin(name), RecordType::A, false)));
        assert_eq!(apexes.find(&question), Some(&expected), "{name}");
    }
}

/// Among equals, weight decides how often one is first (RFC 2782).
#[test]
fn servers_are_drawn_by_weight_within_their_priority() {
    let mut dice = Dice::new(7);
    let mut first = [0_u32; 4];
    for _ in 0..4_000 {
        let mut servers = [(1, 5, 3_usize), (0, 10, 0), (0, 30, 1), (0, 0, 2)];
        shuffle(&mut servers, |(priority, weight, _)| (*priority, *weight), &mut dice);
        assert_eq!(servers[3].2, 3, "a larger number is a lower priority");
        first[servers[0].2] += 1;
    }
    assert!((850..1_150).contains(&first[0]) && (2_800..3_150).contains(&first[1]), "{first:?}");
    assert!(first[2] < 20 && first[3] == 0, "{first:?}");
}

/// Answers of others come with the letter case of the question, and older by what has passed.
#[test]
fn cached_answers_grow_older_and_keep_to_the_limit() {
    let name = Name::from_ascii("_s._tcp.far.test.").unwrap();
    let record = |target: &str, ttl| {
        let target = Name::from_ascii(target).unwrap();
        Cow::Owned(Record::from_rdata(name.clone(), ttl, RData::SRV(SRV::new(0, 1, 7, target))))
    };
    let answers: Vec<_> = (0..60).map(|n| record(&format!("h{n}.far.test."), 300 + n)).collect();
    let answer = Answer { answers, ..Answer::bare(ResponseCode::NoError) };
    let (cached, life) = Cached::of(&name, RecordType::SRV, &answer).unwrap();
    assert_eq!(life, 300, "as long as the first of them");
    let asked = packet(&Name::from_ascii("_S._tcp.FAR.test.").unwrap(), RecordType::SRV, true);
    let mut question = Question::new();
    assert!(question.read(&asked));
    let put = |capabilities: Capabilities| {
        let mut out = Vec::new();
        let (question, dice) = (&question, &mut Dice::new(1));
        let mut response = Response { packet: &asked, question, capabilities, dice, out: &mut out };
        cached.answer(10, &mut response).map(|_| Message::from_vec(&out).unwrap())
    };
    assert!(put(DATAGRAM).is_none(), "60 servers do not fit into a datagram");
    let whole =
        put(Capabilities { plain_limit: u16::MAX, edns_limit: u16::MAX, ..DATAGRAM }).unwrap();
    assert!(!whole.authoritative && whole.edns.is_some());
    assert_eq!(whole.queries[0].name().to_ascii(), "_S._tcp.FAR.test.");
    let times: BTreeSet<u32> = whole.answers.iter().map(|it| it.ttl).collect();
    assert_eq!(times, (290..350).collect());

    let soon = Answer { answers: vec![record("h.far.test.", 0)], ..answer.clone() };
    assert!(Cached::of(&name, RecordType::SRV, &soon).is_none(), "for once only");
    let failed = Answer { code: ResponseCode::ServFail, ..answer };
    assert!(Cached::of(&name, RecordType::SRV, &failed).is_none());
}
