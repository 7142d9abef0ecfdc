use tracing::{error, info, warn};

use super::tls::TlsFailure;
use crate::cli::explain::codes_in;
use crate::discovery::{self, TokenTrouble};
use crate::node::bootstrap::BootstrapError;
use crate::node::{DataDirError, StartError};
use crate::transport::ListenError;
use crate::transport::chain;

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

    /// Whether this member has no place in its cluster any more. To start it again is of no use, so
    /// it ends as etcd does, without fault: what restarts programs that failed leaves it alone.
    pub(super) fn is_farewell(&self) -> bool {
        matches!(self, Self::Start(StartError::Removed))
    }

    /// The whole reason in one line.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Bootstrap(unfound) => unfound.text(),
            other => chain(other),
        }
    }
}

impl Unfound {
    /// The whole reason, without the token: a refusal repeats what it is about.
    fn text(&self) -> String {
        let text = chain(&self.source);
        match &self.discovery_url {
            Some(url) => hide(&text, url),
            None => text,
        }
    }

    fn log(&self, text: &str) {
        let BootstrapError::Discovery(error) = &self.source else {
            error!(error = text, "failed to start");
            return;
        };
        let (trouble, url) = (error.token_trouble(), self.discovery_url.as_deref());
        if let (Some(_), Some(url), Some(code)) = (trouble, url, codes_in(text).next()) {
            // etcd's words fit none of these; the service has said what is wrong and what helps.
            let url = discovery::redact(url);
            error!(
                discovery_token = url,
                error = text,
                "the discovery service refused this member"
            );
            warn!(code = code.code, advice = code.cure, "how to go on");
            return;
        }
        match (trouble, url) {
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

/// A text with the token of this URL, or this bare token, cut as it is cut everywhere in the log.
fn hide(text: &str, url: &str) -> String {
    let last = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let token = last.split(['?', '#']).next().unwrap_or_default();
    if token.is_empty() { text.to_owned() } else { text.replace(token, &discovery::redact(token)) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_in_a_refusal() {
        let text = "105: Key exists (/6c007a14875d53d9bf0e/8 (Q1032: start with http://h/6c007a14875d53d9bf0e)) [1]";
        for url in [
            "http://h/6c007a14875d53d9bf0e",
            "http://h/6c007a14875d53d9bf0e/",
            "http://h/6c007a14875d53d9bf0e?a=b",
            "6c007a14875d53d9bf0e",
        ] {
            let hidden = hide(text, url);
            assert!(!hidden.contains("6c007a14875d53d9bf0e"), "{url}: {hidden}");
            assert!(
                hidden.contains("http://h/6c007a14...") && hidden.contains("Q1032"),
                "{hidden}"
            );
        }
        assert_eq!(hide(text, ""), text);
    }
}
