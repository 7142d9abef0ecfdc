//! Users and roles in the state: changing them, keeping them, and checking every request against
//! them (etcd `server/etcdserver/apply/apply_auth.go`).

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use super::Error;
use crate::auth::{self, Auth, Caller, Kind, Permission, Touched, User};
use crate::lease::{LeaseId, Leases};
use crate::mvcc::{Storage, StorageError};
use crate::proto::authpb::permission::Type;
use crate::proto::quorate::replica::auth_change::Change;
use crate::proto::quorate::replica::{self, request::Op};
use crate::proto::{authpb, etcdserverpb as pb};
use crate::raft::Index;
use pb::request_op::Request as TxnOp;

// Names, keys and values are those of etcd's own buckets.
const ENABLED: &[u8] = b"auth/authEnabled";
const REVISION: &[u8] = b"auth/authRevision";
const USERS: &[u8] = b"authUsers/";
const ROLES: &[u8] = b"authRoles/";

/// What those who hold the tokens of this member must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthNews {
    /// Checks were turned on or off; without checks no token is worth anything.
    Switched(bool),
    /// This token is that user's from now on.
    Assigned { token: String, user: String },
    /// The tokens of this user are void.
    Dropped { user: String },
}

/// Reads what is kept.
pub(super) fn open(storage: &impl Storage) -> Result<Auth, StorageError> {
    let corrupt = |what: &str| StorageError::Corrupt {
        file: storage.name(),
        what: format!("{what} makes no sense"),
    };
    let Some(revision) = storage.meta(REVISION)? else { return Ok(Auth::default()) };
    let revision = revision[..].try_into().map(u64::from_be_bytes);
    let revision = revision.ok().ok_or_else(|| corrupt("the revision of the users"))?;
    let enabled = storage.meta(ENABLED)?.is_some_and(|value| value[..] == [1]);
    let mut users = BTreeMap::new();
    for (_, value) in storage.scan_meta(USERS)? {
        let (name, user) = decode_user(value).ok_or_else(|| corrupt("a user"))?;
        users.insert(name, user);
    }
    let mut roles = BTreeMap::new();
    for (_, value) in storage.scan_meta(ROLES)? {
        let (name, permissions) = decode_role(value).ok_or_else(|| corrupt("a role"))?;
        roles.insert(name, permissions);
    }
    Ok(Auth::restore(enabled, revision, users, roles))
}

/// Makes a change that its caller may make.
pub(super) fn change(
    auth: &mut Auth,
    storage: &mut impl Storage,
    index: Index,
    change: Change,
) -> Result<(String, Option<AuthNews>), Error> {
    let mut token = String::new();
    let mut news = None;
    let touched = match change {
        Change::Enable(_) => {
            news = Some(AuthNews::Switched(true));
            auth.enable()?
        }
        Change::Disable(_) => {
            news = Some(AuthNews::Switched(false));
            auth.disable()
        }
        Change::Authenticate(request) => {
            auth.may_have_token(&request.name, request.auth_revision)?;
            if !request.token_prefix.is_empty() {
                token = format!("{}.{}", request.token_prefix, index.0);
                news = Some(AuthNews::Assigned { token: token.clone(), user: request.name });
            }
            return Ok((token, news));
        }
        Change::UserAdd(request) => {
            let password = (!request.no_password).then_some(request.password);
            auth.add_user(&request.name, password)?
        }
        Change::UserDelete(request) => {
            let touched = auth.delete_user(&request.name)?;
            news = Some(AuthNews::Dropped { user: request.name });
            touched
        }
        Change::UserChangePassword(request) => {
            let touched = auth.change_password(&request.name, request.password)?;
            news = Some(AuthNews::Dropped { user: request.name });
            touched
        }
        Change::UserGrantRole(request) => auth.grant_role(&request.user, &request.role)?,
        Change::UserRevokeRole(request) => auth.revoke_role(&request.name, &request.role)?,
        Change::RoleAdd(request) => auth.add_role(&request.name)?,
        Change::RoleDelete(request) => auth.delete_role(&request.role)?,
        Change::RoleGrantPermission(request) => {
            let permission = request.perm.map(permission).transpose()?;
            auth.grant_permission(&request.name, permission)?
        }
        Change::RoleRevokePermission(request) => {
            auth.revoke_permission(&request.role, &request.key, &request.range_end)?
        }
    };
    keep(auth, storage, &touched);
    Ok((token, news))
}

/// Writes down what a change has touched, and the revision with it.
fn keep(auth: &Auth, storage: &mut impl Storage, touched: &[Touched]) {
    for touched in touched {
        match touched {
            Touched::Switch => {
                let enabled = Bytes::copy_from_slice(&[u8::from(auth.enabled())]);
                storage.set_meta(ENABLED, Some(enabled));
            }
            Touched::User(name) => {
                let user = auth.user(name).ok().map(|user| encode_user(name, user));
                storage.set_meta(&[USERS, name.as_bytes()].concat(), user);
            }
            Touched::Role(name) => {
                let role = auth.role(name).ok().map(|permissions| encode_role(name, permissions));
                storage.set_meta(&[ROLES, name.as_bytes()].concat(), role);
            }
        }
    }
    if !touched.is_empty() {
        let revision = Bytes::copy_from_slice(&auth.revision().to_be_bytes());
        storage.set_meta(REVISION, Some(revision));
    }
}

/// Whether a caller may have this done. Costs nothing while checks are off.
pub(super) fn permit(
    auth: &Auth,
    leases: &Leases,
    caller: &Caller,
    op: &Op,
) -> Result<(), auth::Error> {
    if !auth.enabled() {
        return Ok(());
    }
    match op {
        Op::Put(request) => {
            auth.may_write(caller, &request.key, &[])?;
            // Whoever cannot write all keys of a lease cannot revoke it, and shall not add to it.
            may_write_leased(auth, leases, caller, request.lease)?;
            if request.prev_kv { auth.may_read(caller, &request.key, &[]) } else { Ok(()) }
        }
        Op::DeleteRange(request) => delete_range(auth, caller, request),
        Op::Txn(request) => txn(auth, caller, request),
        Op::LeaseGrant(_) => auth.is_named(caller),
        Op::LeaseRevoke(request) => {
            auth.is_named(caller)?;
            may_write_leased(auth, leases, caller, request.id)
        }
        Op::Compaction(_) => auth.is_root(caller),
        // Passwords and certificates are there before anybody has a name.
        Op::Auth(replica::AuthChange { change: Some(Change::Authenticate(_)) }) => Ok(()),
        Op::Auth(_) => auth.is_root(caller),
        // Only members write these, or the API has asked who wants them.
        Op::Publish(_) | Op::LeaseCheckpoint(_) | Op::Alarm(_) | Op::Downgrade(_) => Ok(()),
    }
}

/// Whether a caller may read what a transaction reads and write what it writes, in either branch and
/// at any depth, whichever way it would go.
pub(super) fn txn(
    auth: &Auth,
    caller: &Caller,
    request: &pb::TxnRequest,
) -> Result<(), auth::Error> {
    for compare in &request.compare {
        auth.may_read(caller, &compare.key, &compare.range_end)?;
    }
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(TxnOp::RequestRange(range)) => {
                auth.may_read(caller, &range.key, &range.range_end)?;
            }
            Some(TxnOp::RequestPut(put)) => {
                auth.may_write(caller, &put.key, &[])?;
                if put.prev_kv {
                    auth.may_read(caller, &put.key, &[])?;
                }
            }
            Some(TxnOp::RequestDeleteRange(delete)) => delete_range(auth, caller, delete)?,
            Some(TxnOp::RequestTxn(nested)) => txn(auth, caller, nested)?,
            None => {}
        }
    }
    Ok(())
}

fn delete_range(
    auth: &Auth,
    caller: &Caller,
    request: &pb::DeleteRangeRequest,
) -> Result<(), auth::Error> {
    auth.may_write(caller, &request.key, &request.range_end)?;
    if request.prev_kv {
        auth.may_read(caller, &request.key, &request.range_end)?;
    }
    Ok(())
}

/// Whether a caller may write every key that hangs on a lease; `root` and a lease without keys always.
pub(super) fn may_write_leased(
    auth: &Auth,
    leases: &Leases,
    caller: &Caller,
    lease: i64,
) -> Result<(), auth::Error> {
    if lease == 0 || auth.is_root(caller).is_ok() {
        return Ok(());
    }
    let mut keys = leases.keys(LeaseId(lease)).into_iter().flatten();
    keys.try_for_each(|key| auth.may_write(caller, key, &[]))
}

/// Whether a caller may know every key that hangs on a lease.
pub(super) fn may_read_leased(
    auth: &Auth,
    leases: &Leases,
    caller: &Caller,
    lease: i64,
) -> Result<(), auth::Error> {
    if auth.is_root(caller).is_ok() {
        return Ok(());
    }
    let mut keys = leases.keys(LeaseId(lease)).into_iter().flatten();
    keys.try_for_each(|key| auth.may_read(caller, key, &[]))
}

impl From<replica::Caller> for Caller {
    fn from(caller: replica::Caller) -> Self {
        match caller {
            replica::Caller { cluster: true, .. } => Self::Cluster,
            // No user is known by this revision. A certificate without a name has the present one.
            replica::Caller { user, auth_revision: 0, .. } if user.is_empty() => Self::Nobody,
            replica::Caller { user, auth_revision, .. } => {
                Self::User { name: user, revision: auth_revision }
            }
        }
    }
}

impl From<Caller> for Option<replica::Caller> {
    fn from(caller: Caller) -> Self {
        match caller {
            Caller::Nobody => None,
            Caller::Cluster => Some(replica::Caller { cluster: true, ..Default::default() }),
            Caller::User { name, revision } => {
                Some(replica::Caller { cluster: false, user: name, auth_revision: revision })
            }
        }
    }
}

impl From<Permission> for authpb::Permission {
    fn from(permission: Permission) -> Self {
        let kind = match permission.kind {
            Kind::Read => Type::Read,
            Kind::Write => Type::Write,
            Kind::ReadWrite => Type::Readwrite,
        };
        let Permission { key, range_end, .. } = permission;
        Self { perm_type: kind.into(), key, range_end }
    }
}

fn permission(message: authpb::Permission) -> Result<Permission, auth::Error> {
    let kind = match Type::try_from(message.perm_type) {
        Ok(Type::Read) => Kind::Read,
        Ok(Type::Write) => Kind::Write,
        Ok(Type::Readwrite) => Kind::ReadWrite,
        Err(_) => return Err(auth::Error::InvalidManagement),
    };
    Ok(Permission { kind, key: message.key, range_end: message.range_end })
}

fn encode_user(name: &str, user: &User) -> Bytes {
    let message = authpb::User {
        name: Bytes::copy_from_slice(name.as_bytes()),
        password: user.password.clone().unwrap_or_default(),
        roles: user.roles.iter().cloned().collect(),
        options: Some(authpb::UserAddOptions { no_password: user.password.is_none() }),
    };
    message.encode_to_vec().into()
}

fn decode_user(value: Bytes) -> Option<(String, User)> {
    let message = authpb::User::decode(value).ok()?;
    let name = String::from_utf8(message.name.to_vec()).ok()?;
    let no_password = message.options.is_some_and(|options| options.no_password);
    let password = (!no_password).then_some(message.password);
    Some((name, User { password, roles: message.roles.into_iter().collect() }))
}

fn encode_role(name: &str, permissions: &[Permission]) -> Bytes {
    let message = authpb::Role {
        name: Bytes::copy_from_slice(name.as_bytes()),
        key_permission: permissions.iter().cloned().map(Into::into).collect(),
    };
    message.encode_to_vec().into()
}

fn decode_role(value: Bytes) -> Option<(String, Vec<Permission>)> {
    let message = authpb::Role::decode(value).ok()?;
    let name = String::from_utf8(message.name.to_vec()).ok()?;
    let permissions = message.key_permission.into_iter().map(permission);
    Some((name, permissions.collect::<Result<_, _>>().ok()?))
}
