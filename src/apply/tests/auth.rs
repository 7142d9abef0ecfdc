use super::{Machine, bytes, ops, put, range};
use crate::apply::{AuthNews, Error, Listed, Outcome, Response, State};
use crate::auth::{self, Caller};
use crate::lease::LeaseId;
use crate::proto::quorate::replica::auth_change::Change;
use crate::proto::quorate::replica::{self, AuthChange, Request, request::Op};
use crate::proto::{authpb, etcdserverpb as pb};
use crate::raft::{Index, Term};
use pb::request_op::Request as TxnOp;
use prost::Message as _;

fn user(name: &str, revision: u64) -> Caller {
    Caller::User { name: name.to_owned(), revision }
}

fn change(change: Change) -> Op {
    Op::Auth(AuthChange { change: Some(change) })
}

fn permission(key: &str, range_end: &str) -> Option<authpb::Permission> {
    let (key, range_end) = (bytes(key), bytes(range_end));
    Some(authpb::Permission {
        perm_type: authpb::permission::Type::Readwrite.into(),
        key,
        range_end,
    })
}

impl Machine {
    fn outcome_for(&mut self, caller: Caller, op: Op) -> Outcome {
        let (Index(index), _) = self.state.applied();
        let request = Request { id: 7, op: Some(op), caller: caller.into(), term: 0 };
        let data = request.encode_to_vec().into();
        self.state.apply(Index(index + 1), Term(2), &data).unwrap().expect("it is new")
    }

    fn as_user(&mut self, name: &str, op: Op) -> Result<Response, Error> {
        let revision = self.state.auth().revision();
        self.outcome_for(user(name, revision), op).response
    }

    fn set_up(&mut self, changes: Vec<Change>) {
        for made in changes {
            self.outcome_for(Caller::Cluster, change(made)).response.unwrap();
        }
    }
}

fn add_user(name: &str) -> Change {
    let password = bytes("$2a$04$hash");
    Change::UserAdd(replica::UserAdd { name: name.into(), password, no_password: false })
}

fn grant(user: &str, role: &str) -> Change {
    Change::UserGrantRole(pb::AuthUserGrantRoleRequest { user: user.into(), role: role.into() })
}

/// Checks are on; `alice` may do everything from `a` to `c`, `bob` nothing.
fn guarded() -> Machine {
    let mut machine = Machine::with(&[("a", "1"), ("q", "2")]);
    machine.set_up(vec![
        add_user("root"),
        grant("root", "root"),
        add_user("alice"),
        add_user("bob"),
        Change::RoleAdd(pb::AuthRoleAddRequest { name: "r".into() }),
        Change::RoleGrantPermission(pb::AuthRoleGrantPermissionRequest {
            name: "r".into(),
            perm: permission("a", "c"),
        }),
        grant("alice", "r"),
        Change::Enable(pb::AuthEnableRequest {}),
    ]);
    machine
}

const DENIED: Error = Error::Auth(auth::Error::PermissionDenied);
const WHO: Error = Error::Auth(auth::Error::UserEmpty);

#[test]
fn writes_are_checked_where_they_are_applied() {
    let mut machine = guarded();
    machine.as_user("alice", Op::Put(put("a", "2"))).unwrap();
    assert_eq!(machine.as_user("alice", Op::Put(put("q", "3"))), Err(DENIED));
    assert_eq!(machine.run(Op::Put(put("a", "3"))), Err(WHO));
    assert_eq!(machine.as_user("bob", Op::Put(put("a", "3"))), Err(DENIED));
    let old = machine.outcome_for(user("alice", 1), Op::Put(put("a", "3")));
    assert_eq!(old.response, Err(Error::Auth(auth::Error::OldRevision)));
    assert!(old.events.is_empty());
    let delete =
        pb::DeleteRangeRequest { key: bytes("a"), range_end: bytes("d"), ..Default::default() };
    assert_eq!(machine.as_user("alice", Op::DeleteRange(delete)), Err(DENIED));
    let compaction = Op::Compaction(pb::CompactionRequest { revision: 2, physical: false });
    assert_eq!(machine.as_user("alice", compaction.clone()), Err(DENIED));
    machine.as_user("root", compaction).unwrap();
    assert_eq!(machine.state.range(&range("q", "")).unwrap().kvs[0].value, bytes("2"));
}

/// Measured on etcd 3.4.23; 3.5.1 refuses the same in other words.
#[test]
fn a_caller_known_by_what_is_still_to_come_may_write_and_not_read() {
    let mut machine = guarded();
    let current = machine.state.auth().revision();
    let ahead = user("alice", current + 1);
    let written = machine.outcome_for(ahead.clone(), Op::Put(put("a", "2")));
    assert!(written.response.is_ok(), "{:?}", written.response);
    let read = |caller: &Caller, key: &str| {
        machine.state.range_scan::<Listed>(caller, &range(key, "")).map(drop).err()
    };
    let old = Some(Error::Auth(auth::Error::OldRevision));
    assert_eq!(read(&user("alice", current), "a"), None);
    assert_eq!(read(&ahead, "a"), old);
    assert_eq!(read(&ahead, "q"), Some(DENIED));
    assert_eq!(read(&user("alice", current - 1), "a"), old);
    assert_eq!(read(&user("alice", 0), "a"), Some(WHO));
    let get = pb::TxnRequest::default();
    assert_eq!(
        machine.state.txn_read(&ahead, &get).map(drop),
        Err(Error::Auth(auth::Error::OldRevision))
    );
    assert!(machine.state.txn_read(&Caller::Nobody, &get).is_ok(), "it reads nothing");
    assert_eq!(machine.outcome_for(user("alice", 0), Op::Put(put("a", "3"))).response, Err(WHO));
}

/// etcd before 3.5.28 and 3.6.9 looks at the outermost operations only.
#[test]
fn a_transaction_is_checked_on_both_branches_at_any_depth() {
    let mut machine = guarded();
    let reading = |key: &str| TxnOp::RequestRange(range(key, ""));
    let writing = |key: &str| TxnOp::RequestPut(put(key, "9"));
    let nested =
        |op| TxnOp::RequestTxn(pb::TxnRequest { failure: ops([op]), ..Default::default() });
    for (op, allowed) in [
        (reading("a"), true),
        (reading("q"), false),
        (writing("b"), true),
        (writing("q"), false),
        (nested(reading("a")), true),
        (nested(reading("q")), false),
        (nested(nested(writing("q"))), false),
    ] {
        // It would take the other branch.
        let request = pb::TxnRequest { failure: ops([op.clone()]), ..Default::default() };
        let read = machine.as_user("alice", Op::Txn(request));
        assert_eq!(read.is_ok(), allowed, "{op:?}");
    }
    let comparing = pb::Compare { key: bytes("q"), ..Default::default() };
    let request = pb::TxnRequest { compare: vec![comparing], ..Default::default() };
    let alice = user("alice", machine.state.auth().revision());
    assert_eq!(machine.state.txn_read(&alice, &request), Err(DENIED));
    assert_eq!(machine.as_user("alice", Op::Txn(request)), Err(DENIED));
}

#[test]
fn a_lease_is_as_dear_as_its_keys() {
    let mut machine = guarded();
    let lease = |id| Op::LeaseGrant(pb::LeaseGrantRequest { id, ttl: 10 });
    let revoke = |id| Op::LeaseRevoke(pb::LeaseRevokeRequest { id });
    let leased = |key: &str, lease| Op::Put(pb::PutRequest { lease, ..put(key, "v") });
    assert_eq!(machine.run(lease(1)), Err(WHO));
    for id in [1, 2] {
        machine.as_user("bob", lease(id)).unwrap();
    }
    machine.as_user("root", leased("q", 1)).unwrap();
    assert_eq!(machine.as_user("alice", leased("a", 1)), Err(DENIED), "its other key is not hers");
    machine.as_user("alice", leased("a", 2)).unwrap();
    assert_eq!(machine.as_user("alice", revoke(1)), Err(DENIED));
    assert_eq!(machine.as_user("bob", revoke(2)), Err(DENIED));
    let alice = user("alice", machine.state.auth().revision());
    assert_eq!(machine.state.may_read_leased(&alice, LeaseId(1)), Err(DENIED));
    assert_eq!(machine.state.may_read_leased(&alice, LeaseId(2)), Ok(()));
    machine.as_user("alice", revoke(2)).unwrap();
    // The lease ran out.
    machine.outcome_for(Caller::Cluster, revoke(1)).response.unwrap();
    assert_eq!(machine.state.range(&range("\0", "\0")).unwrap().count, 0);
}

/// Whoever may only write hears nothing of what was there.
#[test]
fn a_write_tells_the_pair_before_it_to_readers_only() {
    let mut machine = guarded();
    let write_only = authpb::Permission {
        perm_type: authpb::permission::Type::Write.into(),
        key: bytes("q"),
        range_end: bytes("s"),
    };
    machine.set_up(vec![
        Change::RoleAdd(pb::AuthRoleAddRequest { name: "w".into() }),
        Change::RoleGrantPermission(pb::AuthRoleGrantPermissionRequest {
            name: "w".into(),
            perm: Some(write_only),
        }),
        grant("bob", "w"),
    ]);
    for prev_kv in [true, false] {
        let put = pb::PutRequest { prev_kv, ..put("q", "3") };
        let (key, range_end) = (bytes("q"), bytes("r"));
        let delete = pb::DeleteRangeRequest { key, range_end, prev_kv };
        let in_txn = |op| Op::Txn(pb::TxnRequest { success: ops([op]), ..Default::default() });
        for op in [
            Op::Put(put.clone()),
            Op::DeleteRange(delete.clone()),
            in_txn(TxnOp::RequestPut(put)),
            in_txn(TxnOp::RequestDeleteRange(delete)),
        ] {
            let written = machine.as_user("bob", op.clone());
            assert_eq!(written.err(), prev_kv.then_some(DENIED), "{op:?}");
        }
    }
}

#[test]
fn users_survive_in_the_store() {
    let machine = guarded();
    let copy = State::from_bytes(&machine.state.to_bytes()).unwrap();
    assert_eq!(format!("{:?}", copy.auth()), format!("{:?}", machine.state.auth()));
    let alice = user("alice", copy.auth().revision());
    assert!(copy.range_scan::<Listed>(&alice, &range("a", "")).is_ok());
    assert_eq!(copy.range_scan::<Listed>(&alice, &range("q", "")).map(drop), Err(DENIED));
    assert_eq!(copy.hash_kv(0), machine.state.hash_kv(0), "users are not part of the hash");
    let mut gone = guarded();
    gone.set_up(vec![
        Change::UserDelete(pb::AuthUserDeleteRequest { name: "alice".into() }),
        Change::RoleDelete(pb::AuthRoleDeleteRequest { role: "r".into() }),
        Change::Disable(pb::AuthDisableRequest {}),
    ]);
    let copy = State::from_bytes(&gone.state.to_bytes()).unwrap();
    assert_eq!(format!("{:?}", copy.auth()), format!("{:?}", gone.state.auth()));
    assert!(!copy.auth().enabled());
}

#[test]
fn tokens_follow_the_log() {
    let mut machine = guarded();
    let authenticate = |auth_revision| {
        change(Change::Authenticate(replica::Authenticate {
            name: "alice".into(),
            token_prefix: "abc".into(),
            auth_revision,
        }))
    };
    let revision = machine.state.auth().revision();
    // Nobody needs a name to get one.
    let outcome = machine.outcome_for(Caller::Nobody, authenticate(revision));
    let token = format!("abc.{}", machine.state.applied().0.0);
    assert_eq!(
        outcome.auth,
        Some(AuthNews::Assigned { token: token.clone(), user: "alice".into() })
    );
    assert!(matches!(outcome.response, Ok(Response::Auth(answer)) if answer.token == token));
    let late = machine.outcome_for(Caller::Nobody, authenticate(revision - 1));
    assert_eq!(late.response, Err(Error::Auth(auth::Error::OldRevision)));
    assert_eq!(late.auth, None);
    let password = replica::UserChangePassword { name: "alice".into(), password: bytes("x") };
    let refused = machine
        .outcome_for(user("alice", revision), change(Change::UserChangePassword(password.clone())));
    assert_eq!((refused.response, refused.auth), (Err(DENIED), None));
    let changed =
        machine.outcome_for(Caller::Cluster, change(Change::UserChangePassword(password)));
    assert_eq!(changed.auth, Some(AuthNews::Dropped { user: "alice".into() }));
    let disable = change(Change::Disable(pb::AuthDisableRequest {}));
    assert_eq!(machine.outcome_for(Caller::Cluster, disable).auth, Some(AuthNews::Switched(false)));
}

#[test]
fn a_permission_of_no_known_kind_is_refused() {
    let mut machine = guarded();
    let perm = Some(authpb::Permission { perm_type: 7, key: bytes("a"), range_end: bytes("") });
    let strange = pb::AuthRoleGrantPermissionRequest { name: "r".into(), perm };
    let refused = machine.as_user("root", change(Change::RoleGrantPermission(strange)));
    assert_eq!(refused, Err(Error::Auth(auth::Error::InvalidManagement)));
}

/// As etcd takes a certificate without a name.
#[test]
fn the_user_without_a_name_may_do_what_needs_no_permission() {
    let mut machine = guarded();
    let lease = Op::LeaseGrant(pb::LeaseGrantRequest { id: 5, ttl: 10 });
    assert!(machine.as_user("", lease).is_ok());
    assert_eq!(machine.as_user("", Op::Put(put("a", "1"))), Err(DENIED));
    let nobody = machine.outcome_for(Caller::Nobody, Op::Put(put("a", "1")));
    assert_eq!(nobody.response, Err(Error::Auth(auth::Error::UserEmpty)));
}
