use tonic::{Request, Response, Status};

use super::caller::Claim;
use super::{On, admit};
use crate::api::base64;
use crate::apply;
use crate::auth::{Caller, Permission, ROOT};
use crate::node::{Error, Handle};
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::auth_change::Change;
use crate::proto::quorate::replica::{UserAdd, UserChangePassword};

/// Users, roles, and tokens for passwords (etcd `server/etcdserver/api/v3rpc/auth.go`).
#[derive(Debug)]
pub(super) struct Auth(pub(super) Handle);

impl Auth {
    /// Puts a change into the log in the caller's name.
    async fn change<T>(
        &self,
        request: Request<T>,
        change: impl FnOnce(T) -> Change,
    ) -> Result<Option<pb::ResponseHeader>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        let caller = Claim::of(&request).caller(&self.0).await?;
        self.0.change_users(caller, change(request.into_inner())).await?;
        Ok(Some(self.0.header()))
    }

    /// Waits until the state is that of now, and says who asks.
    async fn look<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        self.0.linearize().await?;
        Ok(Claim::of(request).caller(&self.0).await?)
    }

    /// Hashes a password for somebody who may set it: hashing is dear.
    async fn hash(&self, caller: &Caller, password: String) -> Result<Vec<u8>, Error> {
        self.0.state().auth().is_root(caller)?;
        self.0.hash_password(password).await
    }
}

impl Auth {
    /// The hash that a client has made itself. Where it has not, there is none that any password fits: etcd
    /// takes the empty password for none when it is changed, and for one when a user is added.
    fn given_hash(
        &self,
        caller: &Caller,
        request: &pb::AuthUserChangePasswordRequest,
    ) -> Result<Vec<u8>, Status> {
        if let Ok(hash) = base64::decode(request.hashed_password.as_bytes()) {
            return Ok(hash);
        }
        let state = self.0.state();
        seen(state.auth().is_root(caller))?;
        match seen(state.auth().user(&request.name))?.password {
            // etcd's words for whatever went wrong with a password.
            Some(_) => seen(Err(crate::auth::Error::NoPasswordUser)),
            None => Ok(Vec::new()),
        }
    }
}

/// What looking at the users gave, in the words of the state machine.
fn seen<T>(looked: Result<T, crate::auth::Error>) -> Result<T, Status> {
    looked.map_err(|error| apply::Error::from(error).into())
}

#[tonic::async_trait]
impl pb::auth_server::Auth for Auth {
    async fn auth_enable(
        &self,
        request: Request<pb::AuthEnableRequest>,
    ) -> Result<Response<pb::AuthEnableResponse>, Status> {
        let header = self.change(request, Change::Enable).await?;
        Ok(Response::new(pb::AuthEnableResponse { header }))
    }

    async fn auth_disable(
        &self,
        request: Request<pb::AuthDisableRequest>,
    ) -> Result<Response<pb::AuthDisableResponse>, Status> {
        let header = self.change(request, Change::Disable).await?;
        Ok(Response::new(pb::AuthDisableResponse { header }))
    }

    async fn auth_status(
        &self,
        request: Request<pb::AuthStatusRequest>,
    ) -> Result<Response<pb::AuthStatusResponse>, Status> {
        let caller = self.look(&request).await?;
        let (enabled, auth_revision) = {
            let state = self.0.state();
            seen(state.auth().is_root(&caller))?;
            (state.auth().enabled(), state.auth().revision())
        };
        let header = Some(self.0.header());
        Ok(Response::new(pb::AuthStatusResponse { header, enabled, auth_revision }))
    }

    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        let pb::AuthenticateRequest { name, password } = request.into_inner();
        let token = self.0.authenticate(name, password).await?;
        let header = Some(self.0.header());
        Ok(Response::new(pb::AuthenticateResponse { header, token }))
    }

    async fn user_add(
        &self,
        request: Request<pb::AuthUserAddRequest>,
    ) -> Result<Response<pb::AuthUserAddResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        let caller = Claim::of(&request).caller(&self.0).await?;
        let pb::AuthUserAddRequest { name, password, options, .. } = request.into_inner();
        let no_password = options.is_some_and(|options| options.no_password);
        let password = if no_password { Vec::new() } else { self.hash(&caller, password).await? };
        let add = UserAdd { name, password: password.into(), no_password };
        self.0.change_users(caller, Change::UserAdd(add)).await?;
        Ok(Response::new(pb::AuthUserAddResponse { header: Some(self.0.header()) }))
    }

    async fn user_get(
        &self,
        request: Request<pb::AuthUserGetRequest>,
    ) -> Result<Response<pb::AuthUserGetResponse>, Status> {
        let caller = self.look(&request).await?;
        let name = request.into_inner().name;
        let roles = {
            let state = self.0.state();
            seen(state.auth().may_see_user(&caller, &name))?;
            seen(state.auth().user(&name))?.roles.iter().cloned().collect()
        };
        Ok(Response::new(pb::AuthUserGetResponse { header: Some(self.0.header()), roles }))
    }

    async fn user_list(
        &self,
        request: Request<pb::AuthUserListRequest>,
    ) -> Result<Response<pb::AuthUserListResponse>, Status> {
        let caller = self.look(&request).await?;
        let users = {
            let state = self.0.state();
            seen(state.auth().is_root(&caller))?;
            state.auth().users().map(|(name, _)| name.to_owned()).collect()
        };
        Ok(Response::new(pb::AuthUserListResponse { header: Some(self.0.header()), users }))
    }

    async fn user_delete(
        &self,
        request: Request<pb::AuthUserDeleteRequest>,
    ) -> Result<Response<pb::AuthUserDeleteResponse>, Status> {
        let header = self.change(request, Change::UserDelete).await?;
        Ok(Response::new(pb::AuthUserDeleteResponse { header }))
    }

    async fn user_change_password(
        &self,
        request: Request<pb::AuthUserChangePasswordRequest>,
    ) -> Result<Response<pb::AuthUserChangePasswordResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        let caller = Claim::of(&request).caller(&self.0).await?;
        let request = request.into_inner();
        let password = if request.password.is_empty() {
            self.given_hash(&caller, &request)?
        } else {
            self.hash(&caller, request.password).await?
        };
        let (name, password) = (request.name, password.into());
        let change = Change::UserChangePassword(UserChangePassword { name, password });
        self.0.change_users(caller, change).await?;
        Ok(Response::new(pb::AuthUserChangePasswordResponse { header: Some(self.0.header()) }))
    }

    async fn user_grant_role(
        &self,
        request: Request<pb::AuthUserGrantRoleRequest>,
    ) -> Result<Response<pb::AuthUserGrantRoleResponse>, Status> {
        let header = self.change(request, Change::UserGrantRole).await?;
        Ok(Response::new(pb::AuthUserGrantRoleResponse { header }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<pb::AuthUserRevokeRoleRequest>,
    ) -> Result<Response<pb::AuthUserRevokeRoleResponse>, Status> {
        let header = self.change(request, Change::UserRevokeRole).await?;
        Ok(Response::new(pb::AuthUserRevokeRoleResponse { header }))
    }

    async fn role_add(
        &self,
        request: Request<pb::AuthRoleAddRequest>,
    ) -> Result<Response<pb::AuthRoleAddResponse>, Status> {
        let header = self.change(request, Change::RoleAdd).await?;
        Ok(Response::new(pb::AuthRoleAddResponse { header }))
    }

    async fn role_get(
        &self,
        request: Request<pb::AuthRoleGetRequest>,
    ) -> Result<Response<pb::AuthRoleGetResponse>, Status> {
        let caller = self.look(&request).await?;
        let name = request.into_inner().role;
        let perm = {
            let state = self.0.state();
            seen(state.auth().may_see_role(&caller, &name))?;
            let granted = seen(state.auth().role(&name))?;
            match name.as_str() {
                // As in etcd 3.6: whatever it was granted.
                ROOT => vec![Permission::everything().into()],
                _ => granted.iter().cloned().map(Into::into).collect(),
            }
        };
        Ok(Response::new(pb::AuthRoleGetResponse { header: Some(self.0.header()), perm }))
    }

    async fn role_list(
        &self,
        request: Request<pb::AuthRoleListRequest>,
    ) -> Result<Response<pb::AuthRoleListResponse>, Status> {
        let caller = self.look(&request).await?;
        let roles = {
            let state = self.0.state();
            seen(state.auth().is_root(&caller))?;
            state.auth().roles().map(|(name, _)| name.to_owned()).collect()
        };
        Ok(Response::new(pb::AuthRoleListResponse { header: Some(self.0.header()), roles }))
    }

    async fn role_delete(
        &self,
        request: Request<pb::AuthRoleDeleteRequest>,
    ) -> Result<Response<pb::AuthRoleDeleteResponse>, Status> {
        let header = self.change(request, Change::RoleDelete).await?;
        Ok(Response::new(pb::AuthRoleDeleteResponse { header }))
    }

    async fn role_grant_permission(
        &self,
        request: Request<pb::AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<pb::AuthRoleGrantPermissionResponse>, Status> {
        let header = self.change(request, Change::RoleGrantPermission).await?;
        Ok(Response::new(pb::AuthRoleGrantPermissionResponse { header }))
    }

    async fn role_revoke_permission(
        &self,
        request: Request<pb::AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<pb::AuthRoleRevokePermissionResponse>, Status> {
        let header = self.change(request, Change::RoleRevokePermission).await?;
        Ok(Response::new(pb::AuthRoleRevokePermissionResponse { header }))
    }
}
