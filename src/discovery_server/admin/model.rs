use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admission::{Founding, Label, Protocol, Registered, State};
use crate::discovery_server::Service;
use crate::membership::ClusterId;
use crate::registry;
use crate::token::TokenPath;

/// Where a token stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TokenState {
    Open,
    Full,
    Expired,
    Revoked,
}

/// A token. Times are milliseconds since 1970.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Token {
    /// The public id: the first 12 hexadecimal digits of the SHA-256 of the token.
    pub(super) id: String,
    pub(super) label: Option<String>,
    /// What stands before a token that was made by hand, such as `/v2/keys/discovery/`.
    pub(super) prefix: Option<String>,
    pub(super) state: TokenState,
    pub(super) size: u32,
    /// `v2` or `v3`, from the first registration on.
    pub(super) protocol: Option<String>,
    /// Where members serve clients, if `/new` was told so.
    pub(super) client_port: Option<u16>,
    pub(super) created_at: u64,
    pub(super) expires_at: u64,
    pub(super) revoked_at: Option<u64>,
    /// The cluster's id, once it is complete.
    pub(super) cluster_id: Option<String>,
    /// In the order of their registration.
    pub(super) founders: Vec<Member>,
    /// Nodes that came after the cluster was complete.
    pub(super) surplus: Vec<Member>,
    /// The member list as `--initial-cluster` takes it, once it is complete.
    pub(super) initial_cluster: Option<String>,
}

/// A node that registered.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) peer_urls: Vec<String>,
    /// The index of the registration.
    pub(super) index: u64,
    pub(super) registered_at: u64,
    /// The address that it came from.
    pub(super) from: Option<String>,
}

/// Some tokens, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Tokens {
    pub(super) tokens: Vec<Token>,
    /// Give this as `after` to see more; absent at the end.
    pub(super) next: Option<u64>,
}

/// A token that was waited for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Waited {
    /// What was waited for has happened.
    pub(super) reached: bool,
    pub(super) token: Token,
}

/// How the service is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Health {
    pub(super) version: String,
    /// Whether registrations can be taken.
    pub(super) writable: bool,
    /// The index of the last change.
    pub(super) index: u64,
    pub(super) open: u64,
    pub(super) full: u64,
    pub(super) expired: u64,
    pub(super) revoked: u64,
    /// Long polls and watches that wait now.
    pub(super) waiting: u64,
    /// The time of the service, milliseconds since 1970.
    pub(super) now: u64,
}

/// What may be asked of the service at most.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Limits {
    pub(super) size: u32,
    pub(super) value_bytes: u64,
    pub(super) name_bytes: u64,
    pub(super) urls: u64,
    /// Registrations of one token beyond its size.
    pub(super) surplus: u64,
    pub(super) waiters: u64,
    pub(super) waiters_per_token: u64,
    /// `/new` of one address or one key; absent without a limit.
    pub(super) new_rate: Option<String>,
}

impl From<State> for TokenState {
    fn from(state: State) -> Self {
        match state {
            State::Open => Self::Open,
            State::Full => Self::Full,
            State::Expired => Self::Expired,
            State::Revoked => Self::Revoked,
        }
    }
}

impl From<TokenState> for State {
    fn from(state: TokenState) -> Self {
        match state {
            TokenState::Open => Self::Open,
            TokenState::Full => Self::Full,
            TokenState::Expired => Self::Expired,
            TokenState::Revoked => Self::Revoked,
        }
    }
}

impl Token {
    pub(super) fn of(founding: &Founding) -> Self {
        let protocol = founding.protocol().map(|protocol| match protocol {
            Protocol::V2 => "v2".to_owned(),
            Protocol::V3 => "v3".to_owned(),
        });
        Self {
            id: founding.path.public_id().to_string(),
            label: founding.label.as_ref().map(Label::as_str).map(str::to_owned),
            prefix: prefix(&founding.path),
            state: founding.state(registry::now()).into(),
            size: founding.size.get(),
            protocol,
            client_port: founding.client_port,
            created_at: founding.created_at.0,
            expires_at: founding.expires_at.0,
            revoked_at: founding.revoked_at.map(|at| at.0),
            cluster_id: founding
                .is_full()
                .then(|| ClusterId::derive(founding.founders.iter().map(|held| held.key)))
                .map(|id| id.to_string()),
            founders: founding.founders.iter().map(|held| Member::of(held)).collect(),
            surplus: founding.surplus.iter().map(|held| Member::of(held)).collect(),
            initial_cluster: founding.initial_cluster().map(|whole| whole.to_string()),
        }
    }
}

/// The path of a token by hand without the secret at its end.
fn prefix(path: &TokenPath) -> Option<String> {
    let secret = path.end()?;
    path.as_str().strip_suffix(secret.secret()).map(str::to_owned)
}

impl Member {
    fn of(held: &Registered) -> Self {
        Self {
            id: held.key.to_string(),
            name: held.name().to_owned(),
            peer_urls: held.urls().map(str::to_owned).collect(),
            index: held.index,
            registered_at: held.at.0,
            from: held.from.map(|address| address.to_string()),
        }
    }
}

impl Health {
    pub(super) fn of(service: &Service) -> Self {
        let now = registry::now();
        let counts = service.registry().counts(now);
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            writable: service.registry().is_writable(),
            index: service.registry().index(),
            open: counts.open,
            full: counts.full,
            expired: counts.expired,
            revoked: counts.revoked,
            waiting: service.metrics().waiting(),
            now: now.0,
        }
    }
}

impl Limits {
    pub(super) fn of(service: &Service) -> Self {
        let config = service.config();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Self {
            size: config.max_size,
            value_bytes: count(config.limits.value_bytes),
            name_bytes: count(config.limits.name_bytes),
            urls: count(config.limits.urls),
            surplus: count(config.limits.surplus),
            waiters: count(config.waiters.total),
            waiters_per_token: count(config.waiters.per_token),
            new_rate: config.new_rate.map(|rate| rate.to_string()),
        }
    }
}
