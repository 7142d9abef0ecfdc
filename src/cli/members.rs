//! How members of a cluster are asked, by the flags of `etcdctl`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use super::Failure;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::auth_client::AuthClient;
use crate::proto::etcdserverpb::cluster_client::ClusterClient;
use crate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use crate::transport::connect;
use crate::transport::tls::{ClientOptions, Pair, TlsClient};

/// How long a connection and a call may take: as with `etcdctl`.
const DIAL: Duration = Duration::from_secs(2);
const CALL: Duration = Duration::from_secs(5);

/// Where the members serve clients, and who asks.
#[derive(Debug, Clone, Args)]
pub(super) struct Endpoints {
    /// Client URLs of members, or host:port, separated by commas
    #[arg(
        long,
        value_name = "URLS",
        value_delimiter = ',',
        default_value = "127.0.0.1:2379",
        env = "ETCDCTL_ENDPOINTS"
    )]
    pub(super) endpoints: Vec<String>,
    /// Authority of https:// endpoints, PEM; those of the system without it
    #[arg(long, value_name = "FILE", env = "ETCDCTL_CACERT")]
    pub(super) cacert: Option<PathBuf>,
    /// Certificate to show to endpoints that ask for one
    #[arg(long, value_name = "FILE", env = "ETCDCTL_CERT", requires = "key")]
    pub(super) cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", env = "ETCDCTL_KEY", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// User of a cluster with authentication, NAME:PASSWORD
    #[arg(long, value_name = "USER", env = "ETCDCTL_USER", hide_env_values = true)]
    user: Option<String>,
    /// The password, if --user has the name alone
    #[arg(long, value_name = "PASSWORD", env = "ETCDCTL_PASSWORD", hide_env_values = true)]
    password: Option<String>,
}

/// Why a member did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silence {
    #[error("{0}")]
    Address(String),
    #[error("{0}")]
    Unreached(String),
    #[error("{}", said(.0))]
    Refused(Status),
}

/// A member that took the connection.
#[derive(Debug, Clone)]
pub(super) struct Member {
    channel: Channel,
    login: Option<AsciiMetadataValue>,
}

impl Endpoints {
    /// The TLS of these flags, if any of them asks for it.
    pub(super) fn tls(&self) -> Result<Option<TlsClient>, Failure> {
        let asked = self.endpoints.iter().any(|text| text.starts_with("https://"));
        if !asked && !self.is_secure() {
            return Ok(None);
        }
        let wrong = |error| Failure::Configuration(Box::new(error));
        TlsClient::load(self.certificates()).map(Some).map_err(wrong)
    }

    /// What is shown to the members, and what they have to show.
    pub(super) fn certificates(&self) -> ClientOptions {
        let pair = self.cert.clone().zip(self.key.clone());
        let pair = pair.map(|(cert, key)| Pair { cert, key });
        ClientOptions { pair, ca: self.cacert.clone(), ..ClientOptions::default() }
    }

    /// The URL of an endpoint, which may be written without its scheme.
    pub(super) fn url(&self, endpoint: &str) -> String {
        match (endpoint.contains("://"), self.is_secure()) {
            (true, _) => endpoint.to_owned(),
            (false, true) => format!("https://{endpoint}"),
            (false, false) => format!("http://{endpoint}"),
        }
    }

    fn is_secure(&self) -> bool {
        self.cacert.is_some() || self.cert.is_some()
    }

    /// Connects to one endpoint, and logs in.
    pub(super) async fn reach(
        &self,
        endpoint: &str,
        tls: Option<&TlsClient>,
    ) -> Result<Member, Silence> {
        let to = Endpoint::from_shared(self.url(endpoint))
            .map_err(|error| Silence::Address(format!("`{endpoint}`: {error}")))?
            .connect_timeout(DIAL);
        let connected = tokio::time::timeout(CALL, connect(&to, tls)).await;
        let channel = connected
            .map_err(|_elapsed| Silence::Unreached(format!("no answer within {CALL:?}")))?
            .map_err(|error| Silence::Unreached(deepest(&error)))?;
        let member = Member { channel, login: None };
        match self.login() {
            None => Ok(member),
            Some(question) => member.logged_in(question).await,
        }
    }

    fn login(&self) -> Option<pb::AuthenticateRequest> {
        let user = self.user.as_ref()?;
        let (name, password) = match (&self.password, user.split_once(':')) {
            (Some(password), _) => (user.clone(), password.clone()),
            (None, Some((name, password))) => (name.to_owned(), password.to_owned()),
            (None, None) => (user.clone(), String::new()),
        };
        Some(pb::AuthenticateRequest { name, password })
    }
}

impl Member {
    /// Who is in the cluster, as far as this member knows.
    pub(super) async fn members(&self) -> Result<pb::MemberListResponse, Silence> {
        let question = self.request(pb::MemberListRequest::default());
        in_time(ClusterClient::new(self.channel.clone()).member_list(question)).await
    }

    pub(super) async fn status(&self) -> Result<pb::StatusResponse, Silence> {
        let question = self.request(pb::StatusRequest {});
        in_time(MaintenanceClient::new(self.channel.clone()).status(question)).await
    }

    pub(super) async fn alarms(&self) -> Result<pb::AlarmResponse, Silence> {
        let question = self.request(pb::AlarmRequest::default());
        in_time(MaintenanceClient::new(self.channel.clone()).alarm(question)).await
    }

    async fn logged_in(self, question: pb::AuthenticateRequest) -> Result<Self, Silence> {
        let asked = AuthClient::new(self.channel.clone());
        let answer = in_time({
            let mut asked = asked;
            async move { asked.authenticate(question).await }
        });
        let token = match answer.await {
            Ok(answer) => answer.token,
            // Who gives a name to a cluster without users may go on without.
            Err(Silence::Refused(status)) if status.message().contains("not enabled") => {
                return Ok(self);
            }
            Err(silence) => return Err(silence),
        };
        let odd = |_| Silence::Unreached("the token is no header value".to_owned());
        Ok(Self { login: Some(token.parse().map_err(odd)?), ..self })
    }

    fn request<Q>(&self, question: Q) -> Request<Q> {
        let mut request = Request::new(question);
        if let Some(login) = &self.login {
            request.metadata_mut().insert("token", login.clone());
        }
        request
    }
}

async fn in_time<A>(call: impl Future<Output = Result<Response<A>, Status>>) -> Result<A, Silence> {
    let late = || Status::deadline_exceeded(format!("no answer within {CALL:?}"));
    let answer = tokio::time::timeout(CALL, call).await.unwrap_or_else(|_elapsed| Err(late()));
    answer.map(Response::into_inner).map_err(Silence::Refused)
}

/// What a member said; or what broke the connection, which a status only hints at.
fn said(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(broken) => deepest(broken),
        None => status.message().to_owned(),
    }
}

/// The reason below all others, which names the cause.
pub(super) fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

impl Silence {
    /// Whether the other side ended the connection, of which a handshake by itself tells more.
    pub(super) fn is_broken(&self) -> bool {
        match self {
            Self::Address(_) => false,
            Self::Unreached(text) => text.contains("remote error: tls"),
            Self::Refused(status) => std::error::Error::source(status).is_some(),
        }
    }

    /// What to do about it.
    pub(super) fn cure(&self) -> &'static str {
        let text = self.to_string();
        match self {
            Self::Address(_) => "write host:port or http://host:port",
            Self::Refused(status) => match status.code() {
                tonic::Code::Unimplemented => "this is no client port of an etcd or quorate-node",
                tonic::Code::PermissionDenied
                | tonic::Code::Unauthenticated
                | tonic::Code::InvalidArgument => "the cluster has users: --user NAME:PASSWORD",
                _ if self.is_broken() => {
                    "the connection broke: a port that speaks TLS does that to http://, and one that does not \
                     to https://"
                }
                _ => "see the log of the member",
            },
            Self::Unreached(_) if text.contains("https://") => {
                "write https://, and name --cacert FILE"
            }
            Self::Unreached(_) if text.contains("x509") => {
                "name the authority with --cacert FILE, and the host as the certificate has it"
            }
            Self::Unreached(_) if text.contains("tls") => {
                "compare the scheme, --cacert, --cert and --key with the TLS flags of the member"
            }
            Self::Unreached(_) => "is the member running there? check host, port and firewalls",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(user: Option<&str>, password: Option<&str>) -> Endpoints {
        Endpoints {
            endpoints: Vec::new(),
            cacert: None,
            cert: None,
            key: None,
            user: user.map(str::to_owned),
            password: password.map(str::to_owned),
        }
    }

    #[test]
    fn a_password_may_stand_apart() {
        for (user, password, login) in [
            (None, None, None),
            (Some("ann:a:b"), None, Some(("ann", "a:b"))),
            (Some("ann"), Some("p"), Some(("ann", "p"))),
            (Some("ann"), None, Some(("ann", ""))),
        ] {
            let found = endpoints(user, password).login();
            let found = found.as_ref().map(|it| (it.name.as_str(), it.password.as_str()));
            assert_eq!(found, login);
        }
    }
}
