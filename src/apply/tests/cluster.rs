use super::{Machine, always, put, range};
use crate::apply::{Response, State};
use crate::membership::{Member, MemberId, PeerUrl, Roster, RosterEntry};
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::request_op::Request as TxnOp;
use crate::proto::etcdserverpb::{AlarmRequest, AlarmType, DowngradeInfo};
use crate::proto::quorate::replica::{PublishAttributes, request::Op};
use crate::raft::{Index, Term};

fn roster(ids: &[u64]) -> Roster {
    let entry = |id: &u64| {
        let url = PeerUrl::parse(&format!("http://127.0.0.1:{id}")).unwrap();
        (MemberId(*id), RosterEntry { peer_urls: vec![url], learner: *id == 9 })
    };
    Roster { members: ids.iter().map(entry).collect(), removed: [MemberId(1)].into() }
}

fn publish(machine: &mut Machine, id: u64, name: &str) {
    let client_urls = vec![format!("http://{name}:2379")];
    let published = PublishAttributes { member_id: id, name: name.to_owned(), client_urls };
    assert_eq!(machine.run(Op::Publish(published)), Ok(Response::Done));
}

fn names(members: &[Member]) -> Vec<(u64, &str)> {
    members.iter().map(|member| (member.id.0, &member.name[..])).collect()
}

#[test]
fn members_are_roster_and_attributes() {
    let mut machine = Machine::new();
    machine.state.set_roster(&roster(&[7, 3]));
    assert_eq!(names(&machine.state.members()), [(3, ""), (7, "")], "ascending, not started");
    publish(&mut machine, 7, "seven");
    publish(&mut machine, 3, "three");
    publish(&mut machine, 8, "eight");
    publish(&mut machine, 7, "sieben");
    assert_eq!(names(&machine.state.members()), [(3, "three"), (7, "sieben")]);
    let Index(index) = machine.state.applied().0;
    machine.state.apply_membership(Index(index + 1), Term(2), &roster(&[3, 9]));
    let members = machine.state.members();
    assert_eq!(names(&members), [(3, "three"), (9, "")]);
    assert_eq!(members[1].peer_urls, ["http://127.0.0.1:9"]);
    assert!(members[1].learner);
    assert_eq!(members[0].client_urls, ["http://three:2379"]);
    // An entry that is in the state already changes nothing.
    machine.state.apply_membership(Index(index + 1), Term(2), &roster(&[7]));
    assert_eq!(machine.state.roster(), &roster(&[3, 9]));
    // A member that comes back has to publish again, after a restart as well.
    machine.state = State::from_bytes(&machine.state.to_bytes()).unwrap();
    machine.state.apply_membership(Index(index + 2), Term(2), &roster(&[3, 7]));
    assert_eq!(names(&machine.state.members()), [(3, "three"), (7, "")]);
}

#[test]
fn alarms_and_downgrades_are_kept_until_they_are_taken_back() {
    let mut machine = Machine::new();
    let alarm = |action: AlarmAction| {
        let (action, alarm) = (action.into(), AlarmType::Nospace.into());
        Op::Alarm(AlarmRequest { action, member_id: 3, alarm })
    };
    let downgrade = |enabled| {
        let target_version = "3.5.0".to_owned();
        Op::Downgrade(DowngradeInfo { enabled, target_version })
    };
    let kept = |machine: &Machine| {
        let copy = State::from_bytes(&machine.state.to_bytes()).unwrap();
        (copy.alarms().list(AlarmType::None).len(), copy.downgrade().enabled)
    };
    assert_eq!(kept(&machine), (0, false));
    machine.run(alarm(AlarmAction::Activate)).unwrap();
    machine.run(downgrade(true)).unwrap();
    assert_eq!(kept(&machine), (1, true));
    machine.run(alarm(AlarmAction::Deactivate)).unwrap();
    machine.run(downgrade(false)).unwrap();
    assert_eq!(kept(&machine), (0, false));
}

#[test]
fn bytes_hold_the_whole_state() {
    let mut machine = Machine::with(&[("a", "1"), ("b", "2"), ("a", "3")]);
    machine.state.set_roster(&roster(&[3, 7]));
    publish(&mut machine, 3, "three");
    machine.grant(5, 60).unwrap();
    machine
        .txn(always([TxnOp::RequestPut(crate::proto::etcdserverpb::PutRequest {
            lease: 5,
            ..put("c", "4")
        })]))
        .unwrap();
    machine.compact(3).unwrap();
    let mut copy = State::from_bytes(&machine.state.to_bytes()).unwrap();
    assert_eq!(copy.applied(), machine.state.applied());
    assert_eq!(copy.hash_kv(0), machine.state.hash_kv(0));
    assert_eq!(copy.members(), machine.state.members());
    assert_eq!(copy.roster(), machine.state.roster());
    assert_eq!(copy.compact_revision(), 3);
    assert!(copy.compacting());
    let all = range("\0", "\0");
    assert_eq!(copy.range(&all), machine.state.range(&all));
    // Both go on alike.
    let Index(index) = copy.applied().0;
    let revoke =
        super::encoded(Op::LeaseRevoke(crate::proto::etcdserverpb::LeaseRevokeRequest { id: 5 }));
    for state in [&mut copy, &mut machine.state] {
        let outcome = state.apply(Index(index + 1), Term(2), &revoke).unwrap().unwrap();
        assert_eq!(outcome.events[0].kv.key, "c");
    }
    assert_eq!(copy.hash_kv(0), machine.state.hash_kv(0));
}
