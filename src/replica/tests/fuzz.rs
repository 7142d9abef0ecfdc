//! Damaged messages of peers: refused or taken, but no member ends by them.

use prost::Message as _;

use super::*;
use crate::fuzz::Fuzz;
use crate::raft::Message;

/// A cluster that has done something, and what its members said meanwhile.
fn talkative() -> (Cluster, Vec<Vec<u8>>) {
    let mut cluster = Cluster::founded(3);
    cluster.tick(30);
    for n in 0..20_u8 {
        let data = Request { id: u64::from(n) + 1, ..Request::default() }.encode_to_vec();
        cluster.step(MemberId(1 + u64::from(n) % 3), Event::Propose(data.into()));
        cluster.step(MemberId(1 + u64::from(n) % 3), Event::Read { context: u64::from(n) + 1 });
        cluster.tick(1);
    }
    let corpus = cluster.said.iter().map(prost::Message::encode_to_vec).collect();
    (cluster, corpus)
}

#[test]
fn damaged_messages_of_peers_end_no_member() {
    let mut fuzz = Fuzz::new("peer messages", 5000);
    let (mut cluster, corpus) = talkative();
    let mut taken = 0_u64;
    while fuzz.goes_on() {
        if fuzz.below(100) == 0 {
            cluster = talkative().0;
        }
        let bytes = fuzz.damaged(&corpus);
        let Ok(mut message) = Message::decode(&bytes[..]) else { continue };
        if fuzz.below(2) == 0 {
            // Most damage is found by this alone.
            message.to = 1 + fuzz.below(3) as u64;
        }
        if let Some(snapshot) = &mut message.snapshot {
            // What is in it comes another way, with a checksum.
            snapshot.data = 3_u64.to_be_bytes().to_vec().into();
        }
        let to = MemberId(message.to);
        if !cluster.replicas.contains_key(&to) {
            continue;
        }
        taken += 1;
        let said = format!("{}: {message:?}", fuzz.place());
        let stepped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            cluster.step(to, Event::Receive(message));
            cluster.tick(1);
        }));
        assert!(stepped.is_ok(), "{said}");
    }
    assert!(taken > 1000, "{taken}");
}
