//! How `new`, `token` and `backup` reach a service, and why they did not.

use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::{Client, ClientBuilder, Url};

use super::{Failure, running};
use crate::transport::tls::{ClientOptions, Pair, TlsClient, TlsError, is_tls, words};

/// The exit code of a service that cannot be reached.
pub(super) const UNREACHABLE: u8 = 6;

/// Where the service is, and who asks it.
#[derive(Debug, Clone, Args)]
pub(super) struct Reach {
    /// Where the service is; `QUORATE_SERVICE` says the same
    #[arg(
        long,
        visible_alias = "service",
        value_name = "URL",
        default_value = "http://127.0.0.1:8087",
        env = "QUORATE_URL",
        value_parser = service_url,
        global = true
    )]
    pub(super) url: Url,
    /// Authority of an https:// service, PEM; those of the system without it
    #[arg(long, value_name = "FILE", env = "QUORATE_CACERT", global = true)]
    pub(super) cacert: Option<PathBuf>,
    /// Certificate to show to a service with --tls-client-ca
    #[arg(long, value_name = "FILE", env = "QUORATE_CERT", requires = "key", global = true)]
    pub(super) cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", env = "QUORATE_KEY", requires = "cert", global = true)]
    pub(super) key: Option<PathBuf>,
}

/// Why a service was not asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("`{url}` cannot be reached; is `quorate serve` running there? --url says where it is")]
    Unreachable { url: Url, source: reqwest::Error },
    /// The reason ends with what to do about it.
    #[error("`{url}`: {reason}")]
    Misunderstood { url: Url, reason: String },
    #[error("--cacert, --cert, --key")]
    Tls(#[source] TlsError),
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unreachable { .. } | Error::Misunderstood { .. } => {
                Self::Code(UNREACHABLE, error.into())
            }
            Error::Tls(_) => Self::Configuration(error.into()),
            Error::Client(_) => running(error),
        }
    }
}

impl Reach {
    /// The URL of something that the service has below its own URL, which may have a path.
    pub(super) fn target(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        let whole = format!("{}{path}", url.path().trim_end_matches('/'));
        url.set_path(&whole);
        url
    }

    /// A client, to be told how long to wait.
    pub(super) fn client(&self) -> Result<ClientBuilder, Error> {
        let pair = self.cert.clone().zip(self.key.clone());
        let pair = pair.map(|(cert, key)| Pair { cert, key });
        client_builder(self.cacert.as_deref(), pair).map_err(Error::Tls)
    }

    /// Why a request brought no answer.
    pub(super) fn failed(&self, source: reqwest::Error) -> Error {
        let url = self.url.clone();
        match misunderstanding(&source) {
            Some((reason, cure)) => {
                Error::Misunderstood { url, reason: format!("{reason}; {cure}") }
            }
            None => Error::Unreachable { url, source },
        }
    }
}

/// Reads the URL of a service: scheme and host, perhaps a path.
fn service_url(text: &str) -> Result<Url, String> {
    const SHAPE: &str = "write the whole URL, such as http://discovery.example:8087";
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| format!("it does not start with http:// or https://; {SHAPE}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a key in a URL ends up in logs; name the file that has it".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("a query or a fragment means nothing here; {SHAPE}"));
    }
    Ok(url)
}

/// An HTTP client that trusts the authority in that file, or those of the system, and shows that
/// certificate to a service that asks.
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

/// What two sides that reached each other did not agree on, and what to do about it.
pub(super) fn misunderstanding(error: &reqwest::Error) -> Option<(String, &'static str)> {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            let cure = "a port that speaks TLS answers so to http://: write https://";
            return Some((format!("the answer is not HTTP ({cause})"), cure));
        }
        if let Some(error) = cause.downcast_ref::<std::io::Error>().filter(|it| is_tls(it)) {
            let reason = words(error);
            let cure = cure(&reason);
            return Some((reason, cure));
        }
        cause = cause.source()?;
    }
}

/// What to do about a handshake that ended with these words.
pub(super) fn cure(reason: &str) -> &'static str {
    let cures = [
        ("first record does not look like", "the port speaks plain HTTP: write http://"),
        (
            "remote error: tls: ",
            "the service refuses this side: --cert and --key have to be signed by its --tls-client-ca",
        ),
        ("unknown authority", "name its authority with --cacert FILE"),
        ("valid for other names", "ask it by a name or address that its certificate has"),
        ("expired", "give the service a new certificate, and compare the clocks"),
    ];
    let known = cures.into_iter().find(|(words, _)| reason.contains(words));
    known.map_or("compare --cacert, --cert and --key with its TLS settings", |(_, cure)| cure)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cli) fn reach(url: &str) -> Reach {
        Reach { url: service_url(url).unwrap(), cacert: None, cert: None, key: None }
    }

    #[test]
    fn a_service_may_be_below_a_path() {
        for (url, target) in [
            ("http://h:8087", "http://h:8087/new"),
            ("http://h:8087/", "http://h:8087/new"),
            ("https://h/disc", "https://h/disc/new"),
            ("https://h/disc/", "https://h/disc/new"),
        ] {
            assert_eq!(reach(url).target("/new").as_str(), target, "{url}");
        }
    }

    #[test]
    fn a_url_that_is_none_is_told_what_one_looks_like() {
        for wrong in ["127.0.0.1:8087", "localhost:8087", "", "ftp://h", "http://h?a=b"] {
            let reason = service_url(wrong).unwrap_err();
            assert!(reason.contains("such as http://discovery.example:8087"), "{wrong}: {reason}");
        }
        let reason = service_url("http://ann:secret@h").unwrap_err();
        assert!(!reason.contains("secret"), "{reason}");
    }

    #[test]
    fn every_handshake_has_its_own_cure() {
        for (reason, part) in [
            ("tls: first record does not look like a TLS handshake", "write http://"),
            ("remote error: tls: bad certificate", "--tls-client-ca"),
            (
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
                "--cacert",
            ),
            (
                "tls: failed to verify certificate: x509: certificate is valid for other names: a",
                "by a name",
            ),
            ("x509: certificate has expired or is not yet valid: b", "clocks"),
            ("tls: no cipher suite supported by both client and server", "compare"),
        ] {
            assert!(cure(reason).contains(part), "{reason}: {}", cure(reason));
        }
    }
}
