use std::sync::Arc;

use super::Network;
use super::cookies::Cookies;
use super::query_log::QueryLog;

/// How the service answers, besides what.
#[derive(Debug)]
pub struct Settings {
    /// The name that this server gives itself to those who ask for it (RFC 5001).
    pub nsid: Option<String>,
    pub cookies: Cookies,
    /// Answers per second and network of clients; none is no limit.
    pub rate_limit: Option<u32>,
    /// Clients that have no limit, besides those on this machine.
    pub unlimited: Vec<Network>,
    pub query_log: Option<Arc<QueryLog>>,
}

/// What a network of strangers may be answered in a second. A bootstrap asks some ten questions a
/// member.
pub const DEFAULT_RATE_LIMIT: u32 = 200;

impl Default for Settings {
    fn default() -> Self {
        Self {
            nsid: None,
            cookies: Cookies::ephemeral(),
            rate_limit: Some(DEFAULT_RATE_LIMIT),
            unlimited: Vec::new(),
            query_log: None,
        }
    }
}
