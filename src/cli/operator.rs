//! Our own client of the operators' API.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::Value;

use super::service::{self, Reach};
use super::{Failure, running};
use crate::admission::Label;
use crate::discovery_server::{SecretsError, first_key};
use crate::token::{PublicId, Token, TokenPath};

/// How long the service may take beyond what it was asked to wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// Exit codes beyond 0, 1, 2 and that of a service that cannot be reached; `quorate token --help` tells
/// them.
pub(super) const TIMED_OUT: u8 = 3;
pub(super) const GONE: u8 = 4;
pub(super) const EXPIRED: u8 = 5;

/// Where the service is, and with which key it is asked.
#[derive(Debug, Clone, Args)]
pub(super) struct Operator {
    #[command(flatten)]
    reach: Reach,
    /// File with the key of an operator [default: admin.key in --data-dir]
    #[arg(long, value_name = "FILE", env = "QUORATE_ADMIN_KEY_FILE", global = true)]
    admin_key_file: Option<PathBuf>,
    /// Data directory of the service, when it runs on this machine
    #[arg(
        long,
        value_name = "DIR",
        default_value = "quorate.data",
        env = "QUORATE_DATA_DIR",
        global = true
    )]
    data_dir: PathBuf,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Service(#[from] service::Error),
    #[error("{code}: {detail}")]
    Problem { status: StatusCode, code: String, detail: String },
    #[error("`{url}` answered {status} and no JSON; is it a quorate service?")]
    Foreign { url: Url, status: StatusCode },
    #[error("--admin-key-file")]
    Key(#[source] SecretsError),
    #[error("give --admin-key-file, or --data-dir of a service on this machine")]
    NoKey(#[source] SecretsError),
    #[error("`{0}` is no token: give its public id, the token, its discovery URL or its label")]
    NoToken(String),
    #[error("no token has the label `{0}`; `quorate token ls` shows those there are")]
    NoLabel(String),
}

impl Error {
    /// Whether the same question may be answered later: a service that restarts, or has trouble.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Service(service::Error::Unreachable { .. }) => true,
            Self::Problem { status, .. } => status.is_server_error(),
            // A success without JSON was cut off on its way.
            Self::Foreign { status, .. } => status.is_server_error() || status.is_success(),
            _ => false,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Service(error) => error.into(),
            Error::Problem { ref code, .. } => match code.as_str() {
                "Q1081" | "Q1004" => Self::Code(GONE, error.into()),
                "Q1002" => Self::Code(EXPIRED, error.into()),
                _ => running(error),
            },
            Error::Key(_) | Error::NoKey(_) | Error::NoToken(_) => {
                Self::Configuration(error.into())
            }
            Error::NoLabel(_) => Self::Code(GONE, error.into()),
            Error::Foreign { .. } => running(error),
        }
    }
}

impl Operator {
    /// Asks the API and reads the JSON of its answer.
    pub(super) async fn json(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<Value>,
    ) -> Result<Value, Error> {
        let answer = self.ask(method, path, query, body).await?;
        let status = answer.status();
        answer
            .json_text()
            .await
            .ok_or_else(|| Error::Foreign { url: self.reach.url.clone(), status })
    }

    /// Asks the API; an answer that is no success is an error.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<Value>,
    ) -> Result<Response, Error> {
        let key = self.admin_key()?;
        let mut url = self.reach.target(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let client = self.reach.client()?.connect_timeout(PATIENCE).read_timeout(2 * PATIENCE);
        let client = client.build().map_err(service::Error::Client)?;
        let mut request = client.request(method, url).bearer_auth(key);
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.map_err(|error| self.reach.failed(error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let foreign = Error::Foreign { url: self.reach.url.clone(), status };
        let Some(problem) = answer.json_text().await else { return Err(foreign) };
        let text = |name: &str| problem[name].as_str().map(str::to_owned);
        match (text("code"), text("detail")) {
            (Some(code), Some(detail)) => Err(Error::Problem { status, code, detail }),
            _ => Err(foreign),
        }
    }

    /// The public id of what somebody typed, who may know a token by its label only.
    pub(super) async fn id_of(&self, typed: &str) -> Result<String, Error> {
        let wrong = match public_id(typed) {
            Ok(id) => return Ok(id.to_string()),
            Err(wrong) => wrong,
        };
        let Ok(label) = typed.parse::<Label>() else { return Err(wrong) };
        let query = [("label", label.as_str().to_owned()), ("limit", "1000".to_owned())];
        let found = self.json(Method::GET, "/api/v1/tokens", &query, None).await?;
        let tokens = found["tokens"].as_array().map_or(&[][..], Vec::as_slice);
        let lives = |token: &&Value| matches!(token["state"].as_str(), Some("open" | "full"));
        // One at most lives; of those that do not, the last is meant.
        let meant = tokens.iter().find(lives).or_else(|| tokens.last());
        let id = meant.and_then(|token| token["id"].as_str());
        id.map(str::to_owned).ok_or_else(|| Error::NoLabel(typed.to_owned()))
    }

    fn admin_key(&self) -> Result<String, Error> {
        match &self.admin_key_file {
            Some(path) => first_key(path).map_err(Error::Key),
            None => {
                let path = self.data_dir.join(super::files::ADMIN_KEY_FILE);
                first_key(&path).map_err(Error::NoKey)
            }
        }
    }
}

trait JsonText {
    async fn json_text(self) -> Option<Value>;
}

impl JsonText for Response {
    async fn json_text(self) -> Option<Value> {
        serde_json::from_str(&self.text().await.ok()?).ok()
    }
}

/// The public id of what somebody typed. A token itself is not sent: URLs end up in logs.
pub(super) fn public_id(typed: &str) -> Result<PublicId, Error> {
    if let Ok(id) = typed.parse() {
        return Ok(id);
    }
    let path = match Url::parse(typed) {
        Ok(url) => url.path().to_owned(),
        Err(_no_url) => typed.to_owned(),
    };
    let no_token = || Error::NoToken(typed.to_owned());
    if let Some((_, key)) = path.split_once("/v2/keys/") {
        let raw = TokenPath::raw(key.split('/').filter(|part| !part.is_empty()));
        return raw.map(|path| path.public_id()).map_err(|_reason| no_token());
    }
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    last.parse::<Token>().map(|token| token.public_id()).map_err(|_reason| no_token())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_whatever_people_have_of_it() {
        let token: Token = "6c007a14875d53d9bf0ef5a6fc0257c8".parse().unwrap();
        let id = token.public_id();
        for typed in [
            id.as_str().to_owned(),
            token.secret().to_owned(),
            format!("http://h:1/{}", token.secret()),
            format!("https://h/base/{}/", token.secret()),
        ] {
            assert_eq!(public_id(&typed).unwrap(), id, "{typed}");
        }
        let raw = TokenPath::raw(["discovery", "prod"]).unwrap().public_id();
        assert_eq!(public_id("http://h/v2/keys/discovery/prod").unwrap(), raw);
        for wrong in ["", "prod", "http://h/", "http://h/v2/keys/"] {
            assert!(public_id(wrong).is_err(), "{wrong}");
        }
    }
}
