use std::time::Duration;

use super::{Checkpoint, Deadlines, LeaseId, Leases, Renewal, until_known};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn is_due(deadlines: &mut Deadlines, now: Duration) -> bool {
    until_known(|| deadlines.is_due(now))
}

fn expired(deadlines: &mut Deadlines, now: Duration, limit: usize) -> Vec<LeaseId> {
    until_known(|| deadlines.expired(now, limit))
}

fn take_checkpoints(deadlines: &mut Deadlines, now: Duration, limit: usize) -> Vec<Checkpoint> {
    until_known(|| deadlines.take_checkpoints(now, limit))
}

fn keys(leases: &Leases, id: i64) -> Vec<&[u8]> {
    leases.keys(LeaseId(id)).unwrap().collect()
}

#[test]
fn a_key_hangs_on_one_lease_at_a_time() {
    let mut leases = Leases::default();
    assert!(leases.grant(LeaseId(1), 10));
    assert!(leases.grant(LeaseId(-2), 20));
    assert!(!leases.grant(LeaseId(1), 30), "the id is taken");
    leases.attach(b"b", 1);
    leases.attach(b"a", 1);
    assert_eq!(keys(&leases, 1), [b"a", b"b"]);
    leases.attach(b"a", -2);
    assert_eq!((keys(&leases, 1), keys(&leases, -2)), (vec![&b"b"[..]], vec![&b"a"[..]]));
    leases.detach(b"a");
    assert_eq!(leases.owner(b"a"), None);
    leases.attach(b"c", 77);
    assert_eq!(leases.owner(b"c"), None, "there is no lease 77");
    let revoked = leases.revoke(LeaseId(1)).unwrap();
    assert_eq!(revoked.iter().map(|key| &key[..]).collect::<Vec<_>>(), [b"b"]);
    assert_eq!(leases.owner(b"b"), None);
    assert!(leases.revoke(LeaseId(1)).is_none());
    assert_eq!(leases.iter().collect::<Vec<_>>(), [(LeaseId(-2), 20, 0)]);
}

#[test]
fn only_a_leader_has_deadlines() {
    let mut deadlines = Deadlines::default();
    deadlines.grant(LeaseId(1), 10, seconds(0));
    assert_eq!(deadlines.remaining(LeaseId(1), seconds(0)), None);
    deadlines.promote([(LeaseId(1), 10, 0)], seconds(100), seconds(1));
    assert_eq!(deadlines.remaining(LeaseId(1), seconds(100)), Some((11, 10)));
    deadlines.demote();
    assert_eq!(deadlines.renew(LeaseId(1), seconds(100)), None);
    assert_eq!(deadlines.next(), None);
}

#[test]
fn leases_expire_in_order_and_renewal_postpones() {
    let mut deadlines = Deadlines::default();
    deadlines.promote([], seconds(0), seconds(0));
    for (id, ttl) in [(1, 10), (2, 5), (3, 5), (4, 20)] {
        deadlines.grant(LeaseId(id), ttl, seconds(0));
    }
    assert_eq!(expired(&mut deadlines, seconds(4), 10), []);
    assert!(!is_due(&mut deadlines, seconds(1)));
    assert_eq!(deadlines.renew(LeaseId(2), seconds(1)).unwrap().ttl_seconds, 5);
    assert!(is_due(&mut deadlines, seconds(5)));
    assert_eq!(expired(&mut deadlines, seconds(5), 10), [LeaseId(3)]);
    assert!(deadlines.is_ending(LeaseId(3)), "it was given out");
    assert!(!deadlines.is_ending(LeaseId(2)));
    assert_eq!(expired(&mut deadlines, seconds(30), 1), [LeaseId(3)], "the limit holds");
    assert_eq!(deadlines.renew(LeaseId(2), seconds(6)).unwrap().ttl_seconds, 5, "overdue");
    assert_eq!(expired(&mut deadlines, seconds(10), 10), [LeaseId(3), LeaseId(1)]);
    deadlines.revoke(LeaseId(3));
    assert_eq!(deadlines.by_expiry(), [1, 2, 4].map(LeaseId));
    assert_eq!(deadlines.remaining(LeaseId(1), seconds(13)), Some((-3, 10)));
    assert_eq!(deadlines.renew(LeaseId(3), seconds(13)), None);
}

/// Its end may stand in the log already, before or behind the refill of an earlier leader.
#[test]
fn a_refill_does_not_bring_back_a_lease_that_was_given_out() {
    let mut deadlines = Deadlines::default();
    deadlines.promote([(LeaseId(1), 10, 5), (LeaseId(2), 10, 5)], seconds(0), seconds(0));
    deadlines.refilled(LeaseId(2), seconds(4));
    assert_eq!(expired(&mut deadlines, seconds(5), 10), [LeaseId(1)]);
    deadlines.refilled(LeaseId(1), seconds(6));
    assert!(deadlines.is_ending(LeaseId(1)));
    assert_eq!(expired(&mut deadlines, seconds(7), 10), [LeaseId(1)]);
}

/// What an earlier leader told gets into the log in the term of this one.
#[test]
fn a_checkpoint_of_an_earlier_leader_has_to_be_taken_back_as_well() {
    let mut deadlines = Deadlines::default();
    deadlines.promote([(LeaseId(1), 100, 0)], seconds(0), seconds(0));
    assert!(!deadlines.renew(LeaseId(1), seconds(1)).unwrap().refill);
    deadlines.told(LeaseId(1));
    assert!(deadlines.renew(LeaseId(1), seconds(2)).unwrap().refill);
    deadlines.refilled(LeaseId(1), seconds(3));
    assert!(!deadlines.renew(LeaseId(1), seconds(4)).unwrap().refill);
}

#[test]
fn the_longest_lease_fits() {
    let mut deadlines = Deadlines::default();
    deadlines.promote([(LeaseId(1), super::MAX_TTL_SECONDS, 0)], seconds(5), seconds(0));
    assert_eq!(
        deadlines.remaining(LeaseId(1), seconds(5)),
        Some((super::MAX_TTL_SECONDS, super::MAX_TTL_SECONDS))
    );
}

#[test]
fn a_lease_left_alone_is_checkpointed_and_one_kept_alive_is_not() {
    let mut deadlines = Deadlines::default();
    deadlines.promote([], seconds(0), seconds(0));
    deadlines.grant(LeaseId(1), 100, seconds(0));
    deadlines.grant(LeaseId(2), 100, seconds(0));
    for third in 1..20 {
        let now = seconds(33 * third);
        let renewal = deadlines.renew(LeaseId(2), now).unwrap();
        assert_eq!(renewal, Renewal { ttl_seconds: 100, refill: false });
        let taken = take_checkpoints(&mut deadlines, now, 10);
        assert!(taken.iter().all(|checkpoint| checkpoint.id == LeaseId(1)), "{taken:?}");
    }
    deadlines.revoke(LeaseId(2));
    deadlines.renew(LeaseId(1), seconds(1000)).unwrap();
    deadlines.refilled(LeaseId(1), seconds(1000));
    assert_eq!(take_checkpoints(&mut deadlines, seconds(1039), 10), []);
    let taken = take_checkpoints(&mut deadlines, Duration::from_millis(1_040_500), 10);
    let wanted = |remaining_seconds| [Checkpoint { id: LeaseId(1), remaining_seconds }];
    assert_eq!(taken, wanted(60), "rounded up");
    assert_eq!(take_checkpoints(&mut deadlines, seconds(1050), 10), []);
    assert_eq!(take_checkpoints(&mut deadlines, seconds(1051), 10), wanted(49));
    let renewal = deadlines.renew(LeaseId(1), seconds(1060)).unwrap();
    assert!(renewal.refill, "the others know less of it");
    assert!(deadlines.renew(LeaseId(1), seconds(1061)).unwrap().refill, "they still do");
    deadlines.refilled(LeaseId(1), seconds(1062));
    assert!(!deadlines.renew(LeaseId(1), seconds(1063)).unwrap().refill);
}

#[test]
fn a_new_leader_goes_on_from_the_checkpoint() {
    let mut deadlines = Deadlines::default();
    deadlines.promote([(LeaseId(1), 100, 30), (LeaseId(2), 100, 0)], seconds(500), seconds(1));
    assert_eq!(deadlines.remaining(LeaseId(1), seconds(500)), Some((31, 100)));
    assert_eq!(deadlines.remaining(LeaseId(2), seconds(500)), Some((101, 100)));
    // What the election added is no reason to take the full time away.
    let taken = deadlines.take_all_checkpoints(seconds(500));
    assert_eq!(taken, [Checkpoint { id: LeaseId(1), remaining_seconds: 31 }]);
    // A renewal that the leader before acknowledged may be applied here later than the election.
    deadlines.refilled(LeaseId(1), seconds(501));
    assert_eq!(deadlines.remaining(LeaseId(1), seconds(501)), Some((100, 100)));
    deadlines.refilled(LeaseId(2), seconds(550));
    assert_eq!(deadlines.remaining(LeaseId(2), seconds(550)), Some((51, 100)), "it was full");
}

/// Whatever leaders come and go: at least what was promised, and at most a tenth and the bounds more.
#[test]
fn no_sequence_of_leaders_shortens_a_lease() {
    let mut draw = crate::raft::Draw::new(7);
    for _ in 0..500 {
        let ttl = 2 + i64::try_from(draw.below(300)).unwrap();
        let mut now = seconds(1000);
        let mut leases = Leases::default();
        leases.grant(LeaseId(1), ttl);
        let mut leader = Deadlines::default();
        leader.promote([], now, seconds(0));
        leader.grant(LeaseId(1), ttl, now);
        let mut promised = now + seconds(u64::try_from(ttl).unwrap());
        for _ in 0..40 {
            now += Duration::from_millis(draw.below(20_000));
            if now >= promised {
                break;
            }
            for told in take_checkpoints(&mut leader, now, 9) {
                leases.checkpoint(told.id, told.remaining_seconds);
            }
            match draw.below(4) {
                0 => {
                    if leader.renew(LeaseId(1), now).unwrap().refill {
                        leases.checkpoint(LeaseId(1), 0);
                        leader.refilled(LeaseId(1), now);
                    }
                    promised = now + seconds(u64::try_from(ttl).unwrap());
                }
                1 => leader.promote(leases.iter(), now, seconds(1)),
                _ => {}
            }
            assert_eq!(expired(&mut leader, now, 1), [], "ttl {ttl}");
            let (left, _) = leader.remaining(LeaseId(1), now).unwrap();
            let owed = i64::try_from((promised - now).as_secs()).unwrap();
            assert!(left >= owed, "ttl {ttl}: {left} s are left and {owed} s were promised");
        }
    }
}

/// However many run out in one moment, a step has as much work as is asked for, and between two of them others are
/// granted and renewed.
#[test]
fn a_hundred_thousand_leases_that_end_at_once_end_in_steps() {
    const ALL: i64 = 100_000;
    const STEP: usize = 500;
    let mut deadlines = Deadlines::default();
    deadlines.promote([], seconds(0), seconds(0));
    (1..=ALL).for_each(|id| deadlines.grant(LeaseId(id), 10, seconds(0)));
    let mut checkpointed = 0;
    loop {
        let told = take_checkpoints(&mut deadlines, seconds(4), STEP);
        assert!(told.len() <= STEP);
        checkpointed += told.len();
        if told.is_empty() {
            break;
        }
    }
    assert_eq!(checkpointed, 100_000);
    let mut ended = 0;
    while deadlines.next().is_some_and(|at| at <= seconds(10)) {
        let due = expired(&mut deadlines, seconds(10), STEP);
        assert_eq!(due.len(), STEP);
        assert_eq!(expired(&mut deadlines, seconds(10), STEP), due, "until they are gone");
        let other = LeaseId(ALL + ended + 1);
        deadlines.grant(other, 1000, seconds(10));
        assert!(deadlines.renew(other, seconds(10)).is_some());
        for id in due {
            deadlines.revoke(id);
            ended += 1;
        }
    }
    assert_eq!(ended, ALL);
    assert_eq!(deadlines.by_expiry().len(), 100_000 / STEP);
}

/// They are put in their places again in steps, too, and between two of them others are renewed.
#[test]
fn a_hundred_thousand_leases_that_were_renewed_are_looked_at_in_steps() {
    let mut deadlines = Deadlines::default();
    deadlines.promote([], seconds(0), seconds(0));
    (1..=100_000).for_each(|id| deadlines.grant(LeaseId(id), 10, seconds(0)));
    (2..=100_000).for_each(|id| assert!(deadlines.renew(LeaseId(id), seconds(9)).is_some()));
    let mut steps = 0;
    let ended = loop {
        if let Some(ended) = deadlines.expired(seconds(10), 10) {
            break ended;
        }
        steps += 1;
        assert!(deadlines.renew(LeaseId(2), seconds(10)).is_some());
    };
    assert_eq!((steps, &ended[..]), (100, [LeaseId(1)].as_slice()));
    let later = expired(&mut deadlines, seconds(19), 100_000).len();
    assert_eq!(later, 99_999, "all but the last to be renewed");
}

/// What [`Deadlines`] is to be, without queues: (end, checkpoint, time) of each.
#[derive(Default)]
struct Model(std::collections::BTreeMap<LeaseId, (Duration, Duration, i64)>);

impl Model {
    fn fill(&mut self, id: LeaseId, ttl: i64, now: Duration) {
        let time = seconds(ttl.try_into().unwrap());
        let checkpoint = now + (time * 2 / 5).clamp(seconds(1), seconds(60));
        self.0.insert(id, (now + time, checkpoint, ttl));
    }

    fn due(
        &self,
        now: Duration,
        time: impl Fn(&(Duration, Duration, i64)) -> Duration,
    ) -> Vec<LeaseId> {
        let mut due: Vec<_> = self.0.iter().map(|(id, it)| (time(it), *id)).collect();
        due.retain(|(at, _)| *at <= now);
        due.sort_unstable();
        due.into_iter().map(|(_, id)| id).collect()
    }
}

#[test]
fn queues_that_are_put_right_late_give_what_a_search_through_all_gives() {
    let mut draw = crate::raft::Draw::new(11);
    for _ in 0..200 {
        let (mut now, mut deadlines, mut model) =
            (seconds(9), Deadlines::default(), Model::default());
        deadlines.promote([], now, seconds(0));
        for _ in 0..200 {
            now += Duration::from_millis(draw.below(1500));
            let id = LeaseId(draw.below(12).try_into().unwrap());
            match draw.below(8) {
                0 => {
                    // Also shorter than before.
                    let ttl = 5 * (1 + i64::try_from(draw.below(6)).unwrap());
                    deadlines.grant(id, ttl, now);
                    model.fill(id, ttl, now);
                }
                1 => {
                    deadlines.revoke(id);
                    model.0.remove(&id);
                }
                2 => {
                    let due = model.due(now, |it| it.1);
                    let told = take_checkpoints(&mut deadlines, now, due.len().max(1));
                    assert!(told.iter().all(|it| due.contains(&it.id)), "{told:?} {due:?}");
                    for id in due {
                        let it = model.0.get_mut(&id).unwrap();
                        it.1 = now
                            + (seconds(it.2.try_into().unwrap()) / 10)
                                .clamp(seconds(1), seconds(60));
                    }
                }
                _ => {
                    let renewed = deadlines.renew(id, now).map(|renewal| renewal.ttl_seconds);
                    let ttl = model.0.get(&id).map(|it| it.2);
                    assert_eq!(renewed, ttl);
                    ttl.into_iter().for_each(|ttl| model.fill(id, ttl, now));
                }
            }
            let (ended, all) = (model.due(now, |it| it.0), model.due(Duration::MAX, |it| it.0));
            assert_eq!(
                is_due(&mut deadlines, now),
                !model.due(now, |it| it.0.min(it.1)).is_empty()
            );
            assert_eq!(expired(&mut deadlines, now, 3), ended[..ended.len().min(3)]);
            assert_eq!(expired(&mut deadlines, now, 100), ended);
            assert_eq!(deadlines.by_expiry(), all);
        }
    }
}
