use std::time::Duration;

use super::Problem;
use super::values::Values;
use crate::discovery::{Credentials, TokenV3Request};
use crate::transport::tls::{ClientOptions, Pair, Verification};

/// Settings that say who and where in v3 discovery.
const SETTINGS: [&str; 7] = [
    "discovery-token",
    "discovery-endpoints",
    "discovery-cert",
    "discovery-key",
    "discovery-cacert",
    "discovery-user",
    "discovery-password",
];

/// How long a request may take when what was said leaves no time; the default of the setting.
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a probe is waited for when nothing else was said: gRPC's own default.
const GRPC_PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// As etcd says it.
pub(super) const BOTH_DISCOVERIES: &str = "both v2 discovery settings (discovery, discovery-proxy) and v3 discovery settings \
     (discovery-token, discovery-endpoints, discovery-cert, discovery-key, discovery-cacert, discovery-user, \
     discovery-password) are set";

/// Whether the way by v3 discovery is meant.
pub(super) fn is_v3(values: &Values) -> bool {
    SETTINGS.iter().any(|name| values.is_set(name))
}

/// The token and the endpoints, checked.
pub(super) fn request(values: &Values, problems: &mut Vec<Problem>) -> TokenV3Request {
    let mut wrong =
        |settings: &[&'static str], text: &str| problems.push(Problem::of(settings, text));
    if !values.is_set("discovery-token") || !values.is_set("discovery-endpoints") {
        wrong(
            &["discovery-token", "discovery-endpoints"],
            "both --discovery-token and --discovery-endpoints must be set",
        );
    }
    if values.is_set("discovery-proxy") {
        wrong(&["discovery-proxy"], BOTH_DISCOVERIES);
    }
    let list = values.text("discovery-endpoints");
    let mut endpoints: Vec<String> = Vec::new();
    for endpoint in list.split(',').map(str::trim).filter(|_| !list.is_empty()) {
        match check_endpoint(endpoint) {
            Ok(()) if endpoints.iter().any(|known| known == endpoint) => {}
            Ok(()) => endpoints.push(endpoint.to_owned()),
            Err(text) => wrong(&["discovery-endpoints"], &text),
        }
    }
    let tls = tls(values);
    if let Some(ClientOptions { pair: Some(Pair { cert, key }), .. }) = &tls
        && (cert.as_os_str().is_empty() || key.as_os_str().is_empty())
    {
        wrong(
            &["discovery-cert", "discovery-key"],
            &format!(
                "KeyFile and CertFile must both be present[key: {}, cert: {}]",
                key.display(),
                cert.display()
            ),
        );
    }
    let (user, password) = (values.text("discovery-user"), values.text("discovery-password"));
    if user.is_empty() != password.is_empty() {
        wrong(
            &["discovery-user", "discovery-password"],
            "--discovery-user and --discovery-password must be set together",
        );
    }
    let duration = |name: &str, instead: Duration| match values.duration(name) {
        Duration::ZERO => instead,
        duration => duration,
    };
    let request_timeout = duration("discovery-request-timeout", DEFAULT_REQUEST_TIMEOUT);
    TokenV3Request {
        token: values.text("discovery-token"),
        endpoints,
        dial_timeout: duration("discovery-dial-timeout", request_timeout),
        request_timeout,
        keepalive_time: values.duration("discovery-keepalive-time"),
        keepalive_timeout: duration("discovery-keepalive-timeout", GRPC_PROBE_TIMEOUT),
        tls,
        credentials: (!user.is_empty()).then_some(Credentials { user, password }),
    }
}

/// What TLS to the endpoints shows and trusts, when a setting asks for it.
fn tls(values: &Values) -> Option<ClientOptions> {
    let asked = values.is_set("discovery-cert")
        || values.is_set("discovery-key")
        || values.is_set("discovery-cacert")
        || values.bool("discovery-insecure-skip-tls-verify")
        || !values.bool("discovery-insecure-transport");
    let has_pair = values.is_set("discovery-cert") || values.is_set("discovery-key");
    asked.then(|| ClientOptions {
        pair: has_pair.then(|| Pair {
            cert: values.text("discovery-cert").into(),
            key: values.text("discovery-key").into(),
        }),
        ca: values.is_set("discovery-cacert").then(|| values.text("discovery-cacert").into()),
        verification: if values.bool("discovery-insecure-skip-tls-verify") {
            Verification::Skipped
        } else {
            Verification::Full
        },
        ..ClientOptions::default()
    })
}

fn check_endpoint(text: &str) -> Result<(), String> {
    let (scheme, authority) = text.split_once("://").unwrap_or(("http", text));
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    match scheme {
        _ if text.is_empty() => {
            Err("--discovery-endpoints must not contain empty endpoints".to_owned())
        }
        "http" | "https" if authority.rsplit_once(':').is_some_and(|(_, port)| is_port(port)) => {
            Ok(())
        }
        _ => Err(format!(
            "--discovery-endpoints: `{text}` is no endpoint; endpoints look like host:port, \
             http://host:port or https://host:port"
        )),
    }
}
