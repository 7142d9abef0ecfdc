use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use reqwest::{Client, ClientBuilder, StatusCode, Url};

use super::{Failure, running};
use crate::transport::tls::{ClientOptions, Pair, TlsClient, TlsError, is_tls, words};

/// How long the service may take; it answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which token to ask for.
#[derive(Debug, Args)]
pub(super) struct New {
    /// Where the service is
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8087",
        env = "QUORATE_SERVICE"
    )]
    service: Url,
    /// Members of the cluster
    #[arg(long, value_name = "N", default_value_t = 3)]
    size: u32,
    /// Label of the cluster: its name below --cluster-domain
    #[arg(long, value_name = "LABEL")]
    name: Option<String>,
    /// How long the token waits for its members, e.g. 2h
    #[arg(long, value_name = "SPAN")]
    ttl: Option<String>,
    /// Authority of an https:// service, PEM; those of the system without it
    #[arg(long, value_name = "FILE", env = "QUORATE_CACERT")]
    cacert: Option<PathBuf>,
    /// Port for clients in the command lines [default: 2379]
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
    #[error("`{service}` answered {status}: {text}")]
    Answer { service: Url, status: StatusCode, text: String },
    #[error("`{service}`: {reason}; name its authority with --cacert FILE")]
    Untrusted { service: Url, reason: String },
    #[error("`{service}` cannot be reached; is `quorate serve` running there?")]
    Unreachable { service: Url, source: reqwest::Error },
}

/// Why the certificate of a service was not taken, if that is what went wrong.
pub(super) fn certificate(error: &reqwest::Error) -> Option<String> {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.downcast_ref::<std::io::Error>().filter(|error| is_tls(error)).map(words)
}

/// An HTTP client that trusts the authority in that file, or those of the system.
pub(super) fn https_client(cacert: Option<&Path>, patience: Duration) -> Result<Client, Failure> {
    let builder =
        client_builder(cacert, None).map_err(|error| Failure::Configuration(error.into()))?;
    builder.timeout(patience).build().map_err(running)
}

/// The same, to be told how long to wait; it shows that certificate to a service that asks.
pub(super) fn client_builder(
    cacert: Option<&Path>,
    pair: Option<Pair>,
) -> Result<ClientBuilder, TlsError> {
    // Another part of the process may have chosen it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().no_proxy();
    if cacert.is_none() && pair.is_none() {
        return Ok(builder);
    }
    let options = ClientOptions { pair, ca: cacert.map(Path::to_owned), ..Default::default() };
    Ok(builder.tls_backend_preconfigured(TlsClient::load(options)?.http1()))
}

impl New {
    /// Asks the service for a token and prints what the service says about it.
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let answer = self.ask().await?;
        super::output::print(&format!("{answer}\n"))
    }

    async fn ask(&self) -> Result<String, Failure> {
        let unreachable =
            |source| running(Error::Unreachable { service: self.service.clone(), source });
        let client = https_client(self.cacert.as_deref(), PATIENCE)?;
        let answer = client.post(self.request()).send().await;
        let answer = answer.map_err(|source| match certificate(&source) {
            Some(reason) => running(Error::Untrusted { service: self.service.clone(), reason }),
            None => unreachable(source),
        })?;
        let status = answer.status();
        let text = answer.text().await.map_err(unreachable)?;
        let text = text.trim().to_owned();
        match status {
            StatusCode::OK => Ok(text),
            status if status.is_client_error() => {
                Err(Failure::Configuration(Error::Refused(text).into()))
            }
            status => Err(running(Error::Answer { service: self.service.clone(), status, text })),
        }
    }

    fn request(&self) -> Url {
        let mut url = self.service.clone();
        url.set_path("/new");
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
            service: Url::parse("http://h:8087").unwrap(),
            size: 5,
            name: Some("prod".to_owned()),
            ttl: None,
            cacert: None,
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
