use std::time::Duration;

use super::{Deadlines, LeaseId, Leases};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
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
    assert_eq!(leases.iter().collect::<Vec<_>>(), [(LeaseId(-2), 20)]);
}

#[test]
fn only_a_leader_has_deadlines() {
    let mut deadlines = Deadlines::default();
    deadlines.grant(LeaseId(1), 10, seconds(0));
    assert_eq!(deadlines.remaining(LeaseId(1), seconds(0)), None);
    deadlines.promote([(LeaseId(1), 10)], seconds(100), seconds(1));
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
    assert_eq!(deadlines.expired(seconds(4), 10), []);
    assert_eq!(deadlines.expired(seconds(5), 10), [LeaseId(2), LeaseId(3)]);
    assert_eq!(deadlines.expired(seconds(30), 1), [LeaseId(2)], "the limit holds");
    assert_eq!(deadlines.renew(LeaseId(2), seconds(6)), Some(5));
    assert_eq!(deadlines.expired(seconds(10), 10), [LeaseId(3), LeaseId(1)]);
    deadlines.revoke(LeaseId(3));
    assert_eq!(deadlines.by_expiry().collect::<Vec<_>>(), [1, 2, 4].map(LeaseId));
    assert_eq!(deadlines.remaining(LeaseId(1), seconds(13)), Some((-3, 10)));
    assert_eq!(deadlines.renew(LeaseId(3), seconds(13)), None);
}

#[test]
fn the_longest_lease_fits() {
    let mut deadlines = Deadlines::default();
    deadlines.promote([(LeaseId(1), super::MAX_TTL_SECONDS)], seconds(5), seconds(0));
    assert_eq!(
        deadlines.remaining(LeaseId(1), seconds(5)),
        Some((super::MAX_TTL_SECONDS, super::MAX_TTL_SECONDS))
    );
}
