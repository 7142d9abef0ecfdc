//! Packets that were damaged: whatever comes, the answer is a well-formed message or none.
//!
//! `QUORATE_FUZZ_SECONDS=3600 cargo test --lib fuzz` goes on for an hour, from another seed.

use std::net::Ipv4Addr;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::super::handler::{Asker, Handler, Scratch, Transport};
use super::super::limit::Limiter;
use super::super::reply::Reply;
use super::*;

const ROUNDS: u64 = 20_000;

fn handler() -> Handler {
    let zones = TempDir::new().unwrap();
    std::fs::write(zones.path().join("rfc.test.zone"), RFC_ZONE).unwrap();
    let catalog = Arc::new(Catalog::load(zones.path()).unwrap().0);
    catalog.set_cluster_domain(&Name::from_ascii("clusters.test.").unwrap(), &[]).unwrap();
    let members = "a=http://10.9.0.1:2380,b=http://10.9.0.2:2380".parse().unwrap();
    catalog.publish("prod", &members).unwrap();
    let counters = catalog.counters().clone();
    let limiter = Limiter::new(Vec::new(), None);
    Handler { catalog, counters, settings: Settings::default(), limiter }
}

fn seeds() -> Vec<Vec<u8>> {
    let names = [
        "_etcd-server._tcp.rfc.test.",
        "n0.rfc.test.",
        "host.wild.rfc.test.",
        "x.sub.rfc.test.",
        "x.dn.rfc.test.",
        "alias.rfc.test.",
        "nope.rfc.test.",
        "_big._tcp.rfc.test.",
        "_etcd-server._tcp.prod.clusters.test.",
        "no.prod.clusters.test.",
        "elsewhere.example.",
        ".",
    ];
    let kinds = [RecordType::A, RecordType::SRV, RecordType::ANY, RecordType::SOA];
    let mut seeds = Vec::new();
    for (name, kind) in names.iter().flat_map(|name| kinds.map(|kind| (name, kind))) {
        let mut message = question(name, kind);
        seeds.push(message.to_vec().unwrap());
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        seeds.push({
            message.set_edns(edns.clone());
            message.to_vec().unwrap()
        });
        edns.options_mut().insert(EdnsOption::Unknown(10, vec![7; 8]));
        edns.options_mut().insert(EdnsOption::Unknown(3, Vec::new()));
        message.set_edns(edns);
        seeds.push(message.to_vec().unwrap());
    }
    seeds
}

fn damage(packet: &mut Vec<u8>, others: &[Vec<u8>], random: &mut SmallRng) {
    for _ in 0..random.random_range(1..5) {
        let at = random.random_range(0..=packet.len());
        match random.random_range(0..7) {
            0 if at < packet.len() => packet[at] = random.random(),
            1 if at < packet.len() => packet[at] ^= 1 << random.random_range(0..8),
            2 => packet.truncate(at),
            3 => packet.insert(at, random.random()),
            4 if at < packet.len() => drop(packet.remove(at)),
            5 if at < packet.len() => packet[at] = [0, 1, 0x3f, 0x40, 0xc0, 0xff][at % 6],
            _ => {
                let other = &others[random.random_range(0..others.len())];
                packet.extend_from_slice(&other[at.min(other.len())..]);
            }
        }
    }
}

#[test]
fn damaged_packets_get_a_whole_answer_or_none() {
    let seconds = std::env::var("QUORATE_FUZZ_SECONDS").ok().and_then(|it| it.parse().ok());
    let until = seconds.map(|it| Instant::now() + Duration::from_secs(it));
    let seed = if until.is_some() { rand::random() } else { 1 };
    let (handler, seeds) = (handler(), seeds());
    let mut random = SmallRng::seed_from_u64(seed);
    let mut scratch = Scratch::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut answered = 0_u64;
    for round in 0.. {
        if until.map_or(round == ROUNDS, |until| round % 1024 == 0 && Instant::now() > until) {
            break;
        }
        let mut packet = seeds[random.random_range(0..seeds.len())].clone();
        damage(&mut packet, &seeds, &mut random);
        packet.truncate(65535);
        let transport = if round % 2 == 0 { Transport::Udp } else { Transport::Tcp };
        let asker = Asker { address: (Ipv4Addr::LOCALHOST, 9).into(), transport };
        let mut out = Vec::new();
        if !handler.answer_at_once(&packet, asker, &mut scratch, &mut out) {
            assert!(out.is_empty());
            if let Reply::One(bytes) = runtime.block_on(handler.reply(&packet, asker)) {
                out = bytes;
            }
        }
        if out.is_empty() {
            continue;
        }
        answered += 1;
        let context = || format!("seed {seed}, round {round}: {packet:02x?} -> {out:02x?}");
        let reply =
            Message::from_vec(&out).unwrap_or_else(|error| panic!("{error}: {}", context()));
        assert_eq!(out[..2], packet[..2], "{}", context());
        assert_eq!(reply.message_type, MessageType::Response, "{}", context());
        assert!(transport == Transport::Tcp || out.len() <= 1232, "{}", context());
    }
    assert!(answered > ROUNDS / 4, "{answered}");
}
