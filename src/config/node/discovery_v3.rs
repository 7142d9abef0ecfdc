use super::Problem;
use super::values::Values;
use crate::discovery::{Credentials, TokenV3Request};

/// Settings that ask for TLS when they are given.
const TLS: [&str; 4] =
    ["discovery-cert", "discovery-key", "discovery-cacert", "discovery-insecure-skip-tls-verify"];

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

/// Whether the way by v3 discovery is meant.
pub(super) fn is_v3(values: &Values) -> bool {
    SETTINGS.iter().any(|name| values.is_set(name))
}

/// The token and the endpoints, checked.
pub(super) fn request(values: &Values, problems: &mut Vec<Problem>) -> TokenV3Request {
    let mut wrong = |text: &str| problems.push(Problem::setting(text));
    if !values.is_set("discovery-token") || !values.is_set("discovery-endpoints") {
        wrong("both --discovery-token and --discovery-endpoints must be set");
    }
    if values.is_set("discovery-proxy") {
        wrong(
            "both v2 discovery settings (discovery, discovery-proxy) and v3 discovery settings \
             (discovery-token, discovery-endpoints, discovery-cert, discovery-key, \
             discovery-cacert, discovery-user, discovery-password) are set",
        );
    }
    let list = values.text("discovery-endpoints");
    let mut endpoints: Vec<String> = Vec::new();
    for endpoint in list.split(',').map(str::trim).filter(|_| !list.is_empty()) {
        match check_endpoint(endpoint) {
            Ok(()) if endpoints.iter().any(|known| known == endpoint) => {}
            Ok(()) => endpoints.push(endpoint.to_owned()),
            Err(text) => wrong(&text),
        }
    }
    let tls = TLS.iter().find(|name| {
        let is_switch = **name == "discovery-insecure-skip-tls-verify";
        if is_switch { values.bool(name) } else { values.is_set(name) }
    });
    if let Some(name) = tls {
        wrong(&no_tls(&format!("--{name}")));
    } else if !values.bool("discovery-insecure-transport") {
        wrong(&no_tls("--discovery-insecure-transport=false"));
    }
    let (user, password) = (values.text("discovery-user"), values.text("discovery-password"));
    if user.is_empty() != password.is_empty() {
        wrong("--discovery-user and --discovery-password must be set together");
    }
    TokenV3Request {
        token: values.text("discovery-token"),
        endpoints,
        dial_timeout: values.duration("discovery-dial-timeout"),
        request_timeout: values.duration("discovery-request-timeout"),
        keepalive_time: values.duration("discovery-keepalive-time"),
        keepalive_timeout: values.duration("discovery-keepalive-timeout"),
        credentials: (!user.is_empty()).then_some(Credentials { user, password }),
    }
}

fn no_tls(setting: &str) -> String {
    format!(
        "{setting} asks for TLS to the discovery endpoints, which this release does not speak yet; \
         use http:// endpoints on a network you trust"
    )
}

fn check_endpoint(text: &str) -> Result<(), String> {
    let (scheme, authority) = text.split_once("://").unwrap_or(("http", text));
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    match scheme {
        _ if text.is_empty() => {
            Err("--discovery-endpoints must not contain empty endpoints".to_owned())
        }
        "https" => Err(no_tls(&format!("--discovery-endpoints `{text}`"))),
        "http" if authority.rsplit_once(':').is_some_and(|(_, port)| is_port(port)) => Ok(()),
        _ => Err(format!(
            "--discovery-endpoints: `{text}` is no endpoint; endpoints look like host:port or \
             http://host:port"
        )),
    }
}
