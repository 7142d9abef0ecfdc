use std::time::SystemTime;

use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::{Service, refuse};
use crate::proto::etcdserverpb as pb;

/// Tokens for the passwords of `--discovery-users`; of etcd's `Auth`, nothing else.
#[derive(Debug)]
pub(super) struct Auth(pub(super) Service);

impl Service {
    /// Refuses callers without a token while there are users. The texts are etcd's: its clients log in
    /// again when they read them.
    pub(super) fn admit(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let Some(accounts) = &self.config().accounts else { return Ok(()) };
        let token = metadata.get("token").or_else(|| metadata.get("authorization"));
        let Some(token) = token else {
            return Err(Status::invalid_argument("etcdserver: user name is empty"));
        };
        let text = token.to_str().unwrap_or_default();
        let text = text.strip_prefix("Bearer ").unwrap_or(text);
        if accounts.admits(text, SystemTime::now()) {
            return Ok(());
        }
        Err(Status::unauthenticated("etcdserver: invalid auth token"))
    }
}

refuse::service! {
    impl pb::auth_server::Auth for Auth {
        async fn authenticate(
            &self,
            request: Request<pb::AuthenticateRequest>,
        ) -> Result<Response<pb::AuthenticateResponse>, Status> {
            self.log_in(request.into_inner()).await.map(Response::new)
        }
    }
    absent {
        auth_enable: AuthEnableRequest -> AuthEnableResponse,
        auth_disable: AuthDisableRequest -> AuthDisableResponse,
        auth_status: AuthStatusRequest -> AuthStatusResponse,
        user_add: AuthUserAddRequest -> AuthUserAddResponse,
        user_get: AuthUserGetRequest -> AuthUserGetResponse,
        user_list: AuthUserListRequest -> AuthUserListResponse,
        user_delete: AuthUserDeleteRequest -> AuthUserDeleteResponse,
        user_change_password: AuthUserChangePasswordRequest -> AuthUserChangePasswordResponse,
        user_grant_role: AuthUserGrantRoleRequest -> AuthUserGrantRoleResponse,
        user_revoke_role: AuthUserRevokeRoleRequest -> AuthUserRevokeRoleResponse,
        role_add: AuthRoleAddRequest -> AuthRoleAddResponse,
        role_get: AuthRoleGetRequest -> AuthRoleGetResponse,
        role_list: AuthRoleListRequest -> AuthRoleListResponse,
        role_delete: AuthRoleDeleteRequest -> AuthRoleDeleteResponse,
        role_grant_permission: AuthRoleGrantPermissionRequest -> AuthRoleGrantPermissionResponse,
        role_revoke_permission: AuthRoleRevokePermissionRequest -> AuthRoleRevokePermissionResponse,
    }
}

impl Auth {
    async fn log_in(
        &self,
        request: pb::AuthenticateRequest,
    ) -> Result<pb::AuthenticateResponse, Status> {
        let Some(accounts) = self.0.config().accounts.clone() else {
            return Err(Status::failed_precondition("etcdserver: authentication is not enabled"));
        };
        let compared = tokio::task::spawn_blocking(move || {
            let right = accounts.is_right(&request.name, &request.password);
            right.then(|| accounts.token(SystemTime::now()))
        });
        match compared.await {
            Ok(Some(token)) => {
                let header = self.0.header(self.0.registry().index());
                Ok(pb::AuthenticateResponse { header, token })
            }
            Ok(None) => Err(Status::invalid_argument(
                "etcdserver: authentication failed, invalid user ID or password",
            )),
            Err(_stopping) => Err(refuse::stopping()),
        }
    }
}
