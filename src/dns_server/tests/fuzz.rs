//! Packets that were damaged: whatever comes, the answer is a well-formed message or none.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::super::Published;
use super::super::asker::{Asker, Transport};
use super::super::handler::{Handler, Scratch};
use super::super::limit::Limiter;
use super::super::reply::Reply;
use super::*;
use crate::admission::CLIENT_PORT;
use crate::fuzz::Fuzz;

const ROUNDS: u64 = 20_000;
/// Lengths of labels and the marks of pointers.
const DISLIKED: &[u8] = &[0, 1, 0x3f, 0x40, 0xc0, 0xff];

fn handler() -> Handler {
    let zones = TempDir::new().unwrap();
    std::fs::write(zones.path().join("rfc.test.zone"), RFC_ZONE).unwrap();
    let catalog = Arc::new(Catalog::load(zones.path()).unwrap().0);
    catalog.set_cluster_domain(&Name::from_ascii("clusters.test.").unwrap(), &[]).unwrap();
    let cluster = "a=http://10.9.0.1:2380,b=http://10.9.0.2:2380".parse().unwrap();
    let published = Published { cluster, port: CLIENT_PORT, closed: BTreeSet::new() };
    catalog.publish("prod", published).unwrap();
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

#[test]
fn damaged_packets_get_a_whole_answer_or_none() {
    let mut fuzz = Fuzz::new("DNS packets", ROUNDS).with_disliked(DISLIKED);
    let (handler, seeds) = (handler(), seeds());
    let mut scratch = Scratch::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut answered = 0_u64;
    while fuzz.goes_on() {
        let mut packet = fuzz.damaged(&seeds);
        packet.truncate(65535);
        let transport = if fuzz.below(2) == 0 { Transport::Udp } else { Transport::Tcp };
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
        let context = || format!("{}: {packet:02x?} -> {out:02x?}", fuzz.place());
        let reply =
            Message::from_vec(&out).unwrap_or_else(|error| panic!("{error}: {}", context()));
        assert_eq!(out[..2], packet[..2], "{}", context());
        assert_eq!(reply.message_type, MessageType::Response, "{}", context());
        assert!(transport == Transport::Tcp || out.len() <= 1232, "{}", context());
    }
    assert!(answered > ROUNDS / 4, "{answered}");
}
