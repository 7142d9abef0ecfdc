//! Users in the traffic: who asks, and changes of who may.

use bytes::Bytes;
use prost::Message as _;

use super::client::KEYS;
use crate::apply::State;
use crate::auth::Caller;
use crate::mvcc::Memory;
use crate::proto::quorate::replica::auth_change::Change;
use crate::proto::quorate::replica::{AuthChange, Request, UserAdd, request::Op};
use crate::proto::{authpb, etcdserverpb as pb};
use crate::raft::Draw;

const USER: &str = "u";
const ROLE: &str = "r";

/// Who makes a request: often the cluster itself, so that much succeeds whatever the users are.
pub(super) fn caller(draw: &mut Draw, state: &State<Memory>) -> Caller {
    match draw.below(10) {
        0..=3 => Caller::Cluster,
        4 => Caller::Nobody,
        // Known by the users of the member that is asked, which may be behind.
        _ => Caller::User { name: USER.to_owned(), revision: state.auth().revision() },
    }
}

/// A change of users, by the cluster itself; many of them are refused, which all must do alike.
pub(super) fn change(draw: &mut Draw, id: u64) -> Bytes {
    let root = "root".to_owned();
    let (user, role) = (USER.to_owned(), ROLE.to_owned());
    let add = |name: String| UserAdd { name, password: Bytes::new(), no_password: true };
    let change = match draw.below(12) {
        0 => Change::UserAdd(add(root)),
        1 => Change::UserGrantRole(pb::AuthUserGrantRoleRequest { user: root.clone(), role: root }),
        2 | 3 => Change::Enable(pb::AuthEnableRequest {}),
        4 => Change::UserAdd(add(user)),
        5 => Change::RoleAdd(pb::AuthRoleAddRequest { name: role }),
        6 => Change::UserGrantRole(pb::AuthUserGrantRoleRequest { user, role }),
        7 | 8 => Change::RoleGrantPermission(pb::AuthRoleGrantPermissionRequest {
            name: role,
            perm: Some(authpb::Permission {
                perm_type: authpb::permission::Type::Readwrite.into(),
                key: Bytes::from(format!("key-{}", draw.below(KEYS))),
                range_end: Bytes::new(),
            }),
        }),
        9 => Change::RoleRevokePermission(pb::AuthRoleRevokePermissionRequest {
            role,
            key: Bytes::from(format!("key-{}", draw.below(KEYS))),
            range_end: Bytes::new(),
        }),
        10 => Change::UserDelete(pb::AuthUserDeleteRequest { name: user }),
        _ => Change::Disable(pb::AuthDisableRequest {}),
    };
    let op = Op::Auth(AuthChange { change: Some(change) });
    Request { id, op: Some(op), caller: Caller::Cluster.into(), term: 0 }.encode_to_vec().into()
}
