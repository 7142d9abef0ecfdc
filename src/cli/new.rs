use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use reqwest::{StatusCode, Url};

use super::service::Reach;
use super::{Failure, running};
use crate::discovery_server::{SecretsError, first_key};

/// How long the service may take; it answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which token to ask for.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong flags, 6 the service cannot be reached."
)]
pub(super) struct New {
    #[command(flatten)]
    reach: Reach,
    /// File with a key to make tokens with, for a service that asks for one
    #[arg(long, value_name = "FILE", env = "QUORATE_NEW_KEY_FILE")]
    new_key_file: Option<PathBuf>,
    /// Members of the cluster
    #[arg(long, value_name = "N", default_value_t = 3)]
    size: u32,
    /// Label of the cluster: its name below --cluster-domain
    #[arg(long, value_name = "LABEL")]
    name: Option<String>,
    /// How long the token waits for its members, e.g. 2h [default: that of the service]
    #[arg(long, value_name = "SPAN")]
    ttl: Option<String>,
    /// Port on which members will serve clients: in command lines, and in DNS [default: 2379]
    #[arg(long, value_name = "PORT")]
    client_port: Option<String>,
    /// How to print: the bare URL, all about the token, or the settings with which a member joins
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
    /// Release that the settings are for: 3.4, 3.5, 3.6, 3.7 or quorate-node [default: 3.5]
    #[arg(long, value_name = "RELEASE")]
    etcd: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Env,
    Yaml,
    Flags,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Refused(String),
    #[error("{text}; name a file with a key, --new-key-file FILE")]
    NoKey { text: String },
    #[error("`{url}` answered {status}: {text}")]
    Answer { url: Url, status: StatusCode, text: String },
    #[error("--new-key-file")]
    KeyFile(#[source] SecretsError),
}

impl New {
    /// Asks the service for a token and prints what the service says about it.
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let answer = self.ask().await?;
        super::output::print(&format!("{answer}\n"))
    }

    async fn ask(&self) -> Result<String, Failure> {
        let failed = |error| Failure::from(self.reach.failed(error));
        let key = self.new_key_file.as_deref().map(first_key).transpose();
        let key = key.map_err(|error| Failure::Configuration(Error::KeyFile(error).into()))?;
        let client = self.reach.client()?.timeout(PATIENCE).build().map_err(running)?;
        let mut request = client.post(self.request());
        if let Some(key) = &key {
            request = request.bearer_auth(key);
        }
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let text = answer.text().await.map_err(failed)?;
        let text = text.trim().to_owned();
        match status {
            StatusCode::OK => Ok(text),
            // What was asked for cannot be had; another flag may help.
            StatusCode::BAD_REQUEST | StatusCode::CONFLICT => {
                Err(Failure::Configuration(Error::Refused(text).into()))
            }
            StatusCode::UNAUTHORIZED if key.is_none() => Err(running(Error::NoKey { text })),
            StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS => {
                Err(running(Error::Refused(text)))
            }
            status => Err(running(Error::Answer { url: self.reach.url.clone(), status, text })),
        }
    }

    fn request(&self) -> Url {
        let mut url = self.reach.target("/new");
        let mut query = url.query_pairs_mut();
        query.clear().append_pair("size", &self.size.to_string());
        let format = match self.output {
            Format::Text => None,
            Format::Json => Some("json"),
            Format::Env => Some("env"),
            Format::Yaml => Some("yaml"),
            Format::Flags => Some("flags"),
        };
        for (key, value) in [
            ("name", &self.name),
            ("ttl", &self.ttl),
            ("client-port", &self.client_port),
            ("format", &format.map(str::to_owned)),
            ("etcd", &self.etcd),
        ] {
            if let Some(value) = value {
                query.append_pair(key, value);
            }
        }
        drop(query);
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_stands_in_the_request() {
        let new = New {
            reach: crate::cli::service::tests::reach("http://h:8087"),
            new_key_file: None,
            size: 5,
            name: Some("prod".to_owned()),
            ttl: None,
            client_port: None,
            output: Format::Text,
            etcd: None,
        };
        assert_eq!(new.request().as_str(), "http://h:8087/new?size=5&name=prod");
        let env = New { output: Format::Env, etcd: Some("3.6".to_owned()), ..new };
        assert_eq!(
            env.request().as_str(),
            "http://h:8087/new?size=5&name=prod&format=env&etcd=3.6"
        );
    }
}
