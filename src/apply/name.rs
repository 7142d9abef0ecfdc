use crate::proto::quorate::replica::auth_change::Change;
use crate::proto::quorate::replica::{AuthChange, request::Op};

/// etcd's name for what a request asks for, as in the label `op` of `etcd_server_apply_duration_seconds`.
pub(super) fn of(op: &Op) -> &'static str {
    match op {
        Op::Put(_) => "Put",
        Op::DeleteRange(_) => "DeleteRange",
        Op::Txn(_) => "Txn",
        Op::Compaction(_) => "Compaction",
        Op::LeaseGrant(_) => "LeaseGrant",
        Op::LeaseRevoke(_) => "LeaseRevoke",
        Op::LeaseCheckpoint(_) => "LeaseCheckpoint",
        Op::Alarm(_) => "Alarm",
        Op::Downgrade(_) => "DowngradeInfoSet",
        Op::Publish(_) => "ClusterMemberAttrSet",
        Op::Auth(AuthChange { change }) => change.as_ref().map_or("unknown", change_of_users),
    }
}

fn change_of_users(change: &Change) -> &'static str {
    match change {
        Change::Authenticate(_) => "Authenticate",
        Change::Enable(_) => "AuthEnable",
        Change::Disable(_) => "AuthDisable",
        Change::UserAdd(_) => "AuthUserAdd",
        Change::UserDelete(_) => "AuthUserDelete",
        Change::UserChangePassword(_) => "AuthUserChangePassword",
        Change::UserGrantRole(_) => "AuthUserGrantRole",
        Change::UserRevokeRole(_) => "AuthUserRevokeRole",
        Change::RoleAdd(_) => "AuthRoleAdd",
        Change::RoleDelete(_) => "AuthRoleDelete",
        Change::RoleGrantPermission(_) => "AuthRoleGrantPermission",
        Change::RoleRevokePermission(_) => "AuthRoleRevokePermission",
    }
}
