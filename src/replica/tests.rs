mod fuzz;

use std::collections::{BTreeMap, VecDeque};

use prost::Message as _;

use super::*;
use crate::membership::{PeerUrl, RosterEntry};
use crate::proto::quorate::peer;
use crate::proto::quorate::replica::Request;
use crate::proto::quorate::replica::membership_change::Kind;
use crate::raft::{Mark, Payload, SnapshotMeta, kind};

/// Replicas whose disks and networks are instantaneous and perfect.
struct Cluster {
    replicas: BTreeMap<MemberId, Replica>,
    committed: BTreeMap<MemberId, Vec<Committed>>,
    reads: BTreeMap<MemberId, Vec<ReadReady>>,
    unknown: BTreeMap<MemberId, Vec<u64>>,
    cut_off: Option<MemberId>,
    /// All messages so far.
    said: Vec<peer::Message>,
}

pub(super) fn roster(ids: std::ops::RangeInclusive<u64>) -> Roster {
    let url = |id| PeerUrl::parse(&format!("http://127.0.0.1:{}", 3000 + id)).unwrap();
    let entry = |id| (MemberId(id), RosterEntry { peer_urls: vec![url(id)], learner: false });
    Roster { members: ids.map(entry).collect(), ..Roster::default() }
}

pub(super) fn config(id: u64, roster: &Roster, founder: bool) -> Config {
    let founding = SnapshotMeta::founding(roster).mark();
    Config {
        id: MemberId(id),
        roster: roster.clone(),
        applied: Index(0),
        base: if founder { founding } else { Mark::default() },
        hard_state: HardState::default(),
        entries: Vec::new(),
        election_ticks: 10,
        heartbeat_ticks: 1,
        pre_vote: true,
        seed: id,
        max_learners: 1,
        max_queued: 16,
        request_ticks: 70,
        catchup_entries: 100,
        catchup_bytes: 64 << 20,
    }
}

impl Cluster {
    fn founded(size: u64) -> Self {
        let roster = roster(1..=size);
        let replica = |id: u64| (MemberId(id), Replica::new(config(id, &roster, true)).unwrap());
        Self {
            replicas: (1..=size).map(replica).collect(),
            committed: BTreeMap::new(),
            reads: BTreeMap::new(),
            unknown: BTreeMap::new(),
            cut_off: None,
            said: Vec::new(),
        }
    }

    fn step(&mut self, id: MemberId, event: Event) {
        self.replicas.get_mut(&id).unwrap().step(event);
        self.settle();
    }

    fn tick(&mut self, times: usize) {
        for _ in 0..times {
            for replica in self.replicas.values_mut() {
                replica.step(Event::Tick);
            }
            self.settle();
        }
    }

    /// Carries out effects and delivers messages until nothing moves.
    fn settle(&mut self) {
        let mut network = VecDeque::new();
        loop {
            let mut moved = false;
            for (id, replica) in &mut self.replicas {
                let effects = replica.effects();
                moved |= !effects.is_empty();
                network.extend(effects.send);
                self.reads.entry(*id).or_default().extend(effects.reads);
                self.unknown.entry(*id).or_default().extend(effects.unknown);
                if let Some(persist) = effects.persist {
                    replica.step(Event::Persisted { batch: persist.batch });
                    network.extend(persist.then_send);
                }
                for committed in effects.committed {
                    replica.step(match &committed {
                        Committed::Snapshot { meta, data } => {
                            let bytes: [u8; 8] = data[..].try_into().unwrap();
                            let roster = roster(1..=u64::from_be_bytes(bytes));
                            Event::Installed { index: meta.index, roster }
                        }
                        other => Event::Applied { index: other.index() },
                    });
                    self.committed.entry(*id).or_default().push(committed);
                }
                if effects.snapshot_wanted {
                    let last = self.committed[id].last().unwrap();
                    let mark = Mark { index: last.index(), term: last.term() };
                    let data = replica.roster().members.len() as u64;
                    replica.step(Event::SnapshotReady {
                        meta: SnapshotMeta::at(mark, replica.roster()),
                        data: Bytes::from(data.to_be_bytes().to_vec()),
                    });
                }
            }
            self.said.extend(network.iter().cloned());
            while let Some(message) = network.pop_front() {
                let (from, to) = (MemberId(message.from), MemberId(message.to));
                if [Some(from), Some(to)].contains(&self.cut_off) {
                    continue;
                }
                if message.snapshot.is_some() {
                    let sent = Event::SnapshotSent { to, delivered: true };
                    self.replicas.get_mut(&from).unwrap().step(sent);
                }
                if let Some(replica) = self.replicas.get_mut(&to) {
                    replica.step(Event::Receive(message));
                }
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    fn elect(&mut self) -> MemberId {
        for _ in 0..100 {
            self.tick(1);
            let leads =
                |(_, replica): &(&MemberId, &Replica)| replica.status().role == Role::Leader;
            let leader = self
                .replicas
                .iter()
                .filter(|(id, _)| Some(**id) != self.cut_off)
                .filter(leads)
                .max_by_key(|(_, replica)| replica.status().term);
            if let Some((id, _)) = leader {
                return *id;
            }
        }
        panic!("no leader after 100 ticks");
    }

    fn requests(&self, id: MemberId) -> Vec<&[u8]> {
        let data = |committed: &'_ Committed| match committed {
            Committed::Request { .. } => true,
            Committed::Membership { .. } | Committed::Snapshot { .. } => false,
        };
        self.committed[&id]
            .iter()
            .filter(|committed| data(committed))
            .filter_map(|committed| match committed {
                Committed::Request { data, .. } if !data.is_empty() => Some(&data[..]),
                _ => None,
            })
            .collect()
    }
}

fn change(kind: Kind, id: u64) -> MembershipChange {
    let peer_urls = vec![format!("http://127.0.0.1:{}", 3000 + id)];
    MembershipChange { id: 1, kind: kind.into(), member_id: id, peer_urls, max_learners: None }
}

#[test]
fn three_members_elect_and_replicate() {
    let mut cluster = Cluster::founded(3);
    let leader = cluster.elect();
    assert_eq!(cluster.replicas[&leader].status().term, Term(2), "etcd's first leader has term 2");
    for id in 1..=3 {
        cluster.step(MemberId(id), Event::Propose(Bytes::from(format!("from {id}"))));
    }
    cluster.tick(2);
    for id in 1..=3 {
        assert_eq!(cluster.requests(MemberId(id)), [b"from 1", b"from 2", b"from 3"]);
    }
}

#[test]
fn one_member_needs_no_other() {
    let mut cluster = Cluster::founded(1);
    let leader = cluster.elect();
    cluster.step(leader, Event::Propose(Bytes::from_static(b"alone")));
    cluster.step(leader, Event::Read { context: 7 });
    assert_eq!(cluster.requests(leader), [b"alone"]);
    // Index 1 is the founder, 2 opens the term.
    assert_eq!(cluster.reads[&leader], [ReadReady { context: 7, index: Index(3) }]);
}

#[test]
fn who_rules_alone_knows_it_until_there_is_another_voter() {
    let mut cluster = Cluster::founded(1);
    let member = MemberId(1);
    assert!(
        !cluster.replicas[&member].status().alone,
        "its log may hold what it has not committed yet"
    );
    let leader = cluster.elect();
    cluster.tick(1);
    assert!(cluster.replicas[&leader].status().alone);
    cluster.step(leader, Event::ProposeMembership(change(Kind::AddLearner, 2)));
    assert!(cluster.replicas[&leader].status().alone, "a learner has no vote");
    cluster.step(leader, Event::ProposeMembership(change(Kind::Add, 3)));
    assert!(!cluster.replicas[&leader].status().alone);
    let mut three = Cluster::founded(3);
    let leader = three.elect();
    three.tick(2);
    assert!(!three.replicas[&leader].status().alone);
}

#[test]
fn every_member_reads() {
    let mut cluster = Cluster::founded(3);
    cluster.elect();
    for id in 1..=3 {
        cluster.step(MemberId(id), Event::Read { context: id });
        assert_eq!(cluster.reads[&MemberId(id)], [ReadReady { context: id, index: Index(4) }]);
    }
}

#[test]
fn a_read_that_was_lost_is_asked_again() {
    let mut cluster = Cluster::founded(3);
    let leader = cluster.elect();
    cluster.tick(2);
    let follower = *cluster.replicas.keys().find(|id| **id != leader).unwrap();
    cluster.cut_off = Some(follower);
    cluster.step(follower, Event::Read { context: 7 });
    cluster.cut_off = None;
    assert!(cluster.reads[&follower].is_empty());
    cluster.tick(4);
    assert_eq!(cluster.replicas[&follower].status().leader, Some(leader));
    assert_eq!(cluster.reads[&follower], [ReadReady { context: 7, index: Index(4) }]);
}

/// Who applies slowly is not given ever more to apply.
#[test]
fn proposals_are_refused_while_too_much_waits_to_be_applied() {
    let mut replica = Replica::new(config(1, &roster(1..=1), true)).unwrap();
    let settle = |replica: &mut Replica| {
        let mut refused = 0;
        loop {
            let effects = replica.effects();
            if effects.is_empty() {
                return refused;
            }
            refused += effects.refused.len();
            if let Some(persist) = effects.persist {
                replica.step(Event::Persisted { batch: persist.batch });
            }
        }
    };
    while replica.status().role != Role::Leader {
        replica.step(Event::Tick);
        settle(&mut replica);
    }
    let request = || Event::Propose(Bytes::from_static(b"one"));
    let taken = (0..2 * MAX_COMMIT_LEAD).take_while(|_| {
        replica.step(request());
        settle(&mut replica) == 0
    });
    let taken = taken.count() as u64;
    assert!((MAX_COMMIT_LEAD - 5..=MAX_COMMIT_LEAD + 1).contains(&taken), "{taken}");
    replica.step(Event::Applied { index: replica.status().commit });
    replica.step(request());
    assert_eq!(settle(&mut replica), 0);
}

#[test]
fn a_log_and_a_store_that_do_not_fit_are_refused() {
    let start = |applied: u64, entries: &[u64], commit: u64| {
        let entry =
            |index: &u64| Entry { term: Term(2), index: Index(*index), payload: Payload::Empty };
        let started = Replica::new(Config {
            applied: Index(applied),
            base: Mark { index: Index(10), term: Term(2) },
            entries: entries.iter().map(entry).collect(),
            hard_state: HardState { term: Term(2), vote: None, commit: Index(commit) },
            ..config(1, &roster(1..=3), true)
        });
        started.err().map(|error| error.to_string())
    };
    let refused = |text: &str| Some(text.to_owned());
    assert_eq!(start(11, &[11, 12, 13], 12), None);
    assert_eq!(start(13, &[11, 12, 13], 11), None, "what is applied was committed");
    assert_eq!(
        start(14, &[11, 12, 13], 12),
        refused("the store has applied entry 14, but the log ends at 13")
    );
    assert_eq!(
        start(9, &[11, 12, 13], 12),
        refused("the log begins behind entry 10, but the store has applied only 9")
    );
    assert_eq!(
        start(11, &[11, 12, 13], 14),
        refused("entry 14 is committed, but the log ends at 13")
    );
    assert_eq!(start(11, &[11, 13], 11), refused("entry 13 of the log does not follow 11"));
}

#[test]
fn proposals_wait_for_a_leader_within_bounds() {
    let mut replica = Replica::new(config(1, &roster(1..=3), true)).unwrap();
    for number in 0..20_u8 {
        replica.step(Event::Propose(Bytes::from(vec![number])));
    }
    let refused: Vec<u8> = replica.effects().refused.iter().map(|data| data[0]).collect();
    assert_eq!(refused, [16, 17, 18, 19]);
}

#[test]
fn a_new_member_is_sent_a_snapshot() {
    let mut cluster = Cluster::founded(3);
    let leader = cluster.elect();
    cluster.step(leader, Event::Propose(Bytes::from_static(b"before")));
    cluster.step(leader, Event::ProposeMembership(change(Kind::Add, 4)));
    let joiner = Replica::new(config(4, &roster(1..=4), false)).unwrap();
    cluster.replicas.insert(MemberId(4), joiner);
    cluster.tick(5);
    cluster.step(MemberId(4), Event::Propose(Bytes::from_static(b"after")));
    cluster.tick(2);
    let first = &cluster.committed[&MemberId(4)][0];
    assert!(matches!(first, Committed::Snapshot { meta, .. } if meta.conf.voters.len() == 4));
    assert_eq!(cluster.requests(MemberId(4)), [b"after"]);
}

/// It asks as soon as it knows the leader, and what it asked is in the snapshot that it is sent.
#[test]
fn who_asked_before_the_snapshot_hears_that_nobody_can_tell() {
    let mut cluster = Cluster::founded(3);
    let leader = cluster.elect();
    cluster.step(leader, Event::ProposeMembership(change(Kind::Add, 4)));
    let mut joiner = Replica::new(config(4, &roster(1..=4), false)).unwrap();
    let request = Request { id: 7, ..Request::default() }.encode_to_vec();
    joiner.step(Event::Propose(request.clone().into()));
    cluster.replicas.insert(MemberId(4), joiner);
    cluster.tick(5);
    assert_eq!(cluster.requests(leader), [&request[..]]);
    assert_eq!(cluster.unknown[&MemberId(4)], [7]);
    assert_eq!(cluster.requests(MemberId(4)), Vec::<Vec<u8>>::new());
}

#[test]
fn a_removed_leader_steps_down() {
    let mut cluster = Cluster::founded(3);
    let leader = cluster.elect();
    cluster.step(leader, Event::ProposeMembership(change(Kind::Remove, leader.0)));
    assert_ne!(cluster.replicas[&leader].status().role, Role::Leader);
    cluster.cut_off = Some(leader);
    let next = cluster.elect();
    cluster.step(next, Event::Propose(Bytes::from_static(b"goes on")));
    assert_eq!(cluster.requests(next), [b"goes on"]);
}

#[test]
fn invalid_changes_change_nothing() {
    let mut cluster = Cluster::founded(3);
    let leader = cluster.elect();
    let borrowed =
        MembershipChange { peer_urls: change(Kind::Add, 1).peer_urls, ..change(Kind::Add, 9) };
    let cases = [
        (change(Kind::Add, 2), MembershipError::IdExists(MemberId(2))),
        (borrowed, MembershipError::PeerUrlExists("http://127.0.0.1:3001".to_owned())),
        (change(Kind::Remove, 9), MembershipError::NotFound(MemberId(9))),
        (change(Kind::Remove, 0), MembershipError::NotFound(MemberId(0))),
        (change(Kind::Add, 0), MembershipError::Malformed),
        (change(Kind::Promote, 2), MembershipError::NotLearner(MemberId(2))),
        (MembershipChange { kind: 77, ..change(Kind::Add, 9) }, MembershipError::Malformed),
    ];
    for (change, expected) in cases {
        cluster.step(leader, Event::ProposeMembership(change));
        cluster.tick(1);
        let last = cluster.committed[&leader].last().unwrap();
        let Committed::Membership { outcome, roster: after, .. } = last else {
            panic!("{last:?} is no membership change")
        };
        assert_eq!(*outcome, Err(expected));
        assert_eq!(*after, roster(1..=3));
    }
}

#[test]
fn a_removed_id_never_returns() {
    let mut cluster = Cluster::founded(3);
    let leader = cluster.elect();
    let gone = *cluster.replicas.keys().find(|id| **id != leader).unwrap();
    for kind in [Kind::Remove, Kind::Add, Kind::AddLearner] {
        cluster.step(leader, Event::ProposeMembership(change(kind, gone.0)));
        cluster.tick(2);
        let Some(Committed::Membership { outcome, roster, .. }) = cluster.committed[&leader].last()
        else {
            panic!("no membership change")
        };
        let expected =
            if kind == Kind::Remove { Ok(()) } else { Err(MembershipError::NotFound(gone)) };
        assert_eq!(*outcome, expected);
        assert!(!roster.members.contains_key(&gone));
    }
}

#[test]
fn learners_are_limited_and_promoted() {
    let mut cluster = Cluster::founded(1);
    let leader = cluster.elect();
    for (kind, id) in [(Kind::AddLearner, 2), (Kind::AddLearner, 3), (Kind::Remove, 1)] {
        cluster.step(leader, Event::ProposeMembership(change(kind, id)));
    }
    let outcomes: Vec<_> = cluster.committed[&leader]
        .iter()
        .filter_map(|committed| match committed {
            Committed::Membership { outcome, .. } => Some(outcome.clone()),
            _ => None,
        })
        .collect();
    let refused = [MembershipError::TooManyLearners, MembershipError::LastVoter(leader)];
    assert_eq!(outcomes, [Ok(()), Err(refused[0].clone()), Err(refused[1].clone())]);
    cluster.step(leader, Event::ProposeMembership(change(Kind::Promote, 2)));
    let after = cluster.replicas[&leader].roster();
    assert_eq!(after.voters().count(), 2);
}

/// The wrapped crate says term zero of entries that it lacks, so one behind them would seem known.
#[test]
fn an_append_behind_an_entry_of_term_zero_is_refused() {
    let mut cluster = Cluster::founded(3);
    let leader = cluster.elect();
    let follower = MemberId(1 + leader.0 % 3);
    let far = Message {
        kind: 3, // an append
        to: follower.0,
        from: leader.0,
        term: 2,
        index: 930,
        commit: 32,
        ..Message::default()
    };
    cluster.step(follower, Event::Receive(far));
    cluster.tick(30);
    assert_eq!(cluster.elect(), leader, "the follower goes on and the leader stays");
}

#[test]
fn nothing_a_peer_says_stops_a_replica() {
    let mut cluster = Cluster::founded(3);
    let leader = cluster.elect();
    let mut draw = crate::raft::Draw::new(5);
    let numbers = [0, 1, 2, 3, 4, 5, 1 << 40, u64::MAX];
    let entry = |draw: &mut crate::raft::Draw| peer::Entry {
        kind: u32::try_from(draw.below(3)).unwrap(),
        term: numbers[usize::try_from(draw.below(8)).unwrap()],
        index: numbers[usize::try_from(draw.below(8)).unwrap()],
        data: Bytes::from_static(b"x"),
    };
    for round in 0..20_000 {
        let mut number = || numbers[usize::try_from(draw.below(8)).unwrap()];
        let to = 1 + round % 3;
        let mut message = Message {
            kind: 0,
            to,
            from: number(),
            term: number().min(2),
            log_term: number(),
            index: number(),
            commit: number(),
            commit_term: number(),
            reject_hint: number(),
            ..Message::default()
        };
        message.kind = u32::try_from(draw.below(20)).unwrap();
        message.reject = draw.chance(500);
        message.entries = (0..draw.below(3)).map(|_| entry(&mut draw)).collect();
        if draw.chance(200) {
            message.snapshot = Some(peer::SnapshotMeta {
                index: draw.below(4),
                term: draw.below(3),
                voters: vec![draw.below(3), 2],
                ..Default::default()
            });
        }
        let replica = cluster.replicas.get_mut(&MemberId(to)).unwrap();
        // A snapshot or append of a made-up leader would be believed; those are for the simulator.
        if !matches!(message.kind, 3 | 7 | 16) || to == leader.0 {
            replica.step(Event::Receive(message));
        }
        if round % 7 == 0 {
            cluster.tick(1);
        }
    }
    assert!(cluster.replicas.values().all(|replica| replica.rejected() > 100));
}

#[test]
fn a_request_lost_with_its_leader_is_proposed_again_and_applied_once() {
    let mut cluster = Cluster::founded(3);
    let old = cluster.elect();
    cluster.tick(2);
    let follower = *cluster.replicas.keys().find(|id| **id != old).unwrap();
    let request = Bytes::from(Request { id: 77, ..Request::default() }.encode_to_vec());
    cluster.cut_off = Some(old);
    cluster.step(follower, Event::Propose(request.clone()));
    // The old leader takes one of its own client, which it can never commit.
    let stale = Bytes::from(Request { id: 78, ..Request::default() }.encode_to_vec());
    cluster.step(old, Event::Propose(stale.clone()));
    assert!(cluster.requests(follower).is_empty());
    let new = cluster.elect();
    assert_ne!(new, old);
    cluster.tick(2);
    assert_eq!(cluster.requests(follower), [&request[..]]);
    cluster.cut_off = None;
    cluster.tick(30);
    for id in 1..=3 {
        assert_eq!(cluster.requests(MemberId(id)), [&request[..], &stale[..]], "{id}");
    }
}

#[test]
fn what_a_client_gave_up_on_does_not_happen_later() {
    let mut cluster = Cluster::founded(3);
    let leader = cluster.elect();
    cluster.tick(2);
    let alone = *cluster.replicas.keys().find(|id| **id != leader).unwrap();
    cluster.cut_off = Some(alone);
    let request = |id| Bytes::from(Request { id, ..Request::default() }.encode_to_vec());
    // Proposed to a leader that does not hear it, and then to nobody.
    cluster.step(alone, Event::Propose(request(77)));
    cluster.tick(40);
    assert_eq!(cluster.replicas[&alone].status().leader, None);
    cluster.step(alone, Event::Propose(request(78)));
    cluster.step(alone, Event::ProposeMembership(change(Kind::Remove, leader.0)));
    cluster.tick(71);
    cluster.step(alone, Event::Propose(request(79)));
    cluster.cut_off = None;
    cluster.tick(30);
    for id in 1..=3 {
        assert_eq!(cluster.requests(MemberId(id)), [&request(79)[..]], "{id}");
        assert_eq!(cluster.replicas[&MemberId(id)].roster().members.len(), 3);
    }
}

#[test]
fn a_proposal_forwarded_in_an_earlier_term_is_refused() {
    let mut cluster = Cluster::founded(3);
    let leader = cluster.elect();
    let from = cluster.replicas.keys().copied().find(|id| *id != leader).unwrap();
    let entry = peer::Entry { data: Bytes::from_static(b"late"), ..peer::Entry::default() };
    let term = cluster.replicas[&leader].status().term.0;
    let forwarded = |made_in: u64| {
        Event::Receive(Message {
            kind: kind::PROPOSE,
            to: leader.0,
            from: from.0,
            log_term: made_in,
            entries: vec![entry.clone()],
            ..Message::default()
        })
    };
    cluster.step(leader, forwarded(term - 1));
    cluster.tick(2);
    assert!(cluster.requests(leader).is_empty());
    cluster.step(leader, forwarded(term));
    cluster.tick(2);
    assert_eq!(cluster.requests(leader), [b"late"]);
}
