use tracing::{error, info, warn};

use super::tls::TlsFailure;
use crate::discovery::{self, TokenTrouble};
use crate::node::bootstrap::BootstrapError;
use crate::node::{DataDirError, StartError};
use crate::transport::ListenError;

/// Why the node stopped before it was told to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Tls(#[from] TlsFailure),
    #[error("{}", .0.source)]
    Bootstrap(Box<Unfound>),
    #[error("the node cannot start")]
    Start(#[from] StartError),
    #[error("{reason}")]
    Stopped { reason: String },
}

/// No cluster was found, and what the explanation needs.
#[derive(Debug)]
pub(super) struct Unfound {
    pub(super) source: BootstrapError,
    pub(super) discovery_url: Option<String>,
    pub(super) name: String,
    pub(super) data_dir: String,
}

impl Failure {
    /// Writes the lines that etcd writes, and what to do about it.
    pub(super) fn log(&self) {
        let text = self.text();
        match self {
            Self::Bootstrap(unfound) => unfound.log(&text),
            Self::Stopped { .. } => error!(error = text, "the node cannot go on"),
            _ => error!(error = text, "failed to start"),
        }
    }

    /// The whole reason in one line.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Bootstrap(unfound) => chain(&unfound.source),
            other => chain(other),
        }
    }
}

impl Unfound {
    fn log(&self, text: &str) {
        let BootstrapError::Discovery(error) = &self.source else {
            error!(error = text, "failed to start");
            return;
        };
        match (error.token_trouble(), &self.discovery_url) {
            (Some(trouble), Some(url)) => {
                let url = discovery::redact(url);
                explain_token(trouble, text, &url, &self.name, &self.data_dir);
            }
            _ => error!(error = text, "discovery failed"),
        }
        if let Some(advice) = error.advice() {
            warn!(advice, "how to go on");
        }
    }
}

/// The lines that etcd ends with when a token did not lead into a cluster.
fn explain_token(trouble: TokenTrouble, text: &str, url: &str, name: &str, data_dir: &str) {
    match trouble {
        TokenTrouble::DuplicateId => {
            error!(discovery_token = url, error = text, "failed to start etcd");
            warn!(discovery_token = url, name, "member has been registered with discovery service");
            warn!(data_dir, "but could not find valid cluster configuration");
            warn!("check data dir if previous bootstrap succeeded");
            warn!("or use a new discovery token if previous bootstrap failed");
        }
        TokenTrouble::DuplicateName => {
            error!(
                discovery_token = url,
                error = text,
                "member with duplicated name has already been registered"
            );
            warn!("cURL the discovery token URL for details");
            warn!("do not reuse discovery token; generate a new one to bootstrap a cluster");
        }
        TokenTrouble::Other => {
            error!(
                discovery_token = url,
                error = text,
                "failed to bootstrap; discovery token was already used"
            );
            info!("do not reuse discovery token; generate a new one to bootstrap a cluster");
        }
    }
}

/// An error and all that caused it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // A transparent wrapper says what its source says.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
