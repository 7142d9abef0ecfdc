use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::admission::{ClusterSize, Founding, Registered, UnixMillis};
use crate::membership::InitialCluster;
use crate::token::TokenPath;

/// The format of all documents; another one is a registry of a newer version.
pub(super) const FORMAT: u32 = 1;

/// What the whole registry shares. Every write changes it, so that two writers cannot both succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeadDocument {
    pub(super) format: u32,
    pub(super) cluster_id: String,
    pub(super) last_index: u64,
    pub(super) timeline_seq: u64,
    pub(super) timeline_hash: String,
}

/// A token and everybody who registered with it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TokenDocument {
    path: String,
    size: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    label: Option<String>,
    created_index: u64,
    index: u64,
    created_at: u64,
    expires_at: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    revoked_at: Option<u64>,
    noted: u32,
    expiry_recorded: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    client_port: Option<u16>,
    #[serde(default)]
    first_entry: u64,
    founders: Vec<RegisteredDocument>,
    surplus: Vec<RegisteredDocument>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RegisteredDocument {
    index: u64,
    member: String,
    value: String,
    at: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    from: Option<IpAddr>,
}

impl TokenDocument {
    pub(super) fn of(founding: &Founding) -> Self {
        let all = |held: &[Arc<Registered>]| held.iter().map(|one| one.as_ref().into()).collect();
        Self {
            path: founding.path.as_str().to_owned(),
            size: founding.size.get(),
            label: founding.label.as_ref().map(|label| label.as_str().to_owned()),
            created_index: founding.created_index,
            index: founding.index,
            created_at: founding.created_at.0,
            expires_at: founding.expires_at.0,
            revoked_at: founding.revoked_at.map(|at| at.0),
            noted: founding.noted,
            expiry_recorded: founding.expiry_recorded,
            client_port: founding.client_port,
            first_entry: founding.first_entry,
            founders: all(&founding.founders),
            surplus: all(&founding.surplus),
        }
    }

    /// The token, if the document makes sense.
    pub(super) fn founding(self) -> Option<Founding> {
        let all = |held: Vec<RegisteredDocument>| {
            held.into_iter().map(|one| one.registered().map(Arc::new)).collect::<Option<Vec<_>>>()
        };
        Some(Founding {
            path: TokenPath::stored(self.path),
            size: ClusterSize::stored(self.size)?,
            label: self.label.map(|text| text.parse()).transpose().ok()?,
            created_index: self.created_index,
            index: self.index,
            created_at: UnixMillis(self.created_at),
            expires_at: UnixMillis(self.expires_at),
            revoked_at: self.revoked_at.map(UnixMillis),
            noted: self.noted,
            expiry_recorded: self.expiry_recorded,
            client_port: self.client_port,
            first_entry: self.first_entry,
            founders: all(self.founders)?,
            surplus: all(self.surplus)?,
        })
    }
}

impl From<&Registered> for RegisteredDocument {
    fn from(held: &Registered) -> Self {
        Self {
            index: held.index,
            member: held.key.to_string(),
            value: held.value.clone(),
            at: held.at.0,
            from: held.from,
        }
    }
}

impl RegisteredDocument {
    fn registered(self) -> Option<Registered> {
        self.value.parse::<InitialCluster>().ok()?;
        Some(Registered {
            key: self.member.parse().ok()?,
            value: self.value,
            index: self.index,
            at: UnixMillis(self.at),
            from: self.from,
        })
    }
}
