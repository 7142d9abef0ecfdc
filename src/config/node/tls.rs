use std::path::PathBuf;

use super::values::Values;
use super::{Note, Problem, Treatment};
use crate::membership::PeerUrl;
use crate::transport::tls::{Allowed, ClientAuth, ClientOptions, Pair, Policy, Verification};

/// How the two ports speak TLS.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    pub client: PortTls,
    pub peer: PortTls,
    pub policy: Policy,
    /// Years that a certificate of our own making is valid.
    pub self_signed_years: u64,
    /// The name that members have to show when SRV records named them and no authority was given.
    pub peer_server_name: Option<String>,
}

/// The settings of one port, `--cert-file` and the like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortTls {
    pub certificate: Certificate,
    /// Shown where this member is the client; without one the certificate of the port.
    pub client_pair: Option<Pair>,
    pub client_auth: ClientAuth,
    /// Whether the common name of a client's certificate is a user.
    pub names_users: bool,
    pub ca: Option<PathBuf>,
    pub crl: Option<PathBuf>,
    pub allowed: Allowed,
    /// Whether the names in a certificate have to fit the address of whoever shows it.
    pub check_addresses: bool,
}

/// Where the certificate of a port comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    None,
    Files(Pair),
    /// Made at the first start for these hosts, in `fixtures/` of the data directory.
    SelfSigned {
        hosts: Vec<String>,
    },
}

impl PortTls {
    /// What this member shows and asks for where it is the client.
    pub fn dialing(&self, pair: Option<&Pair>, policy: &Policy) -> ClientOptions {
        ClientOptions {
            pair: self.client_pair.as_ref().or(pair).cloned(),
            ca: self.ca.clone(),
            server_name: None,
            verification: match self.certificate {
                Certificate::SelfSigned { .. } => Verification::Skipped,
                _ => Verification::Full,
            },
            allowed: self.allowed.clone(),
            policy: policy.clone(),
        }
    }
}

/// Composes the TLS settings; what is wrong goes to `problems`.
pub(super) fn settle(values: &Values, notes: &mut Vec<Note>, problems: &mut Vec<Problem>) -> Tls {
    let policy = policy(values, notes).unwrap_or_else(|error| {
        problems.push(Problem::of(
            &["tls-min-version", "tls-max-version", "cipher-suites"],
            error.to_string(),
        ));
        Policy::default()
    });
    let years = values.uint("self-signed-cert-validity");
    let makes_one = values.bool("auto-tls") || values.bool("peer-auto-tls");
    if years == 0 && makes_one {
        problems.push(Problem::of(
            &["self-signed-cert-validity"],
            "selfSignedCertValidity is invalid,it should be greater than 0",
        ));
    }
    let client = port(values, &Names::CLIENT, notes, problems);
    let peer = port(values, &Names::PEER, notes, problems);
    // etcd: `if strings.Contains(clusterStr, "https://") && cfg.PeerTLSInfo.TrustedCAFile == ""`.
    let peer_server_name = (values.is_set("discovery-srv") && peer.ca.is_none())
        .then(|| values.text("discovery-srv").trim_end_matches('.').to_owned());
    Tls { client, peer, policy, self_signed_years: years, peer_server_name }
}

fn policy(
    values: &Values,
    notes: &mut Vec<Note>,
) -> Result<Policy, crate::transport::tls::PolicyError> {
    let version = |name: &str| match values.text(name).as_str() {
        "" => Ok(None),
        text => text.parse().map(Some),
    };
    let suites = values.text("cipher-suites");
    let suites: Vec<&str> =
        suites.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let (policy, not_spoken) =
        Policy::new(version("tls-min-version")?, version("tls-max-version")?, &suites)?;
    if !not_spoken.is_empty() {
        notes.push(Note::WithoutEffect {
            setting: format!("cipher-suites={}", not_spoken.join(",")),
            meaning: "suites without forward secrecy or authenticated encryption are not spoken"
                .to_owned(),
        });
    }
    Ok(policy)
}

/// The flags of one port.
struct Names {
    port: &'static str,
    listen: &'static [&'static str],
    treatment: Treatment,
    cert: &'static str,
    key: &'static str,
    client_cert: &'static str,
    client_key: &'static str,
    auth: &'static str,
    ca: &'static str,
    crl: &'static str,
    auto: &'static str,
    allowed_names: &'static str,
    allowed_hosts: &'static str,
    /// The setting that frees clients from showing the names of their own address; without one they
    /// are free of it.
    skip_addresses: Option<&'static str>,
}

impl Names {
    const CLIENT: Self = Self {
        port: "client",
        listen: &["listen-client-urls", "listen-client-http-urls"],
        treatment: Treatment::ClientTls,
        cert: "cert-file",
        key: "key-file",
        client_cert: "client-cert-file",
        client_key: "client-key-file",
        auth: "client-cert-auth",
        ca: "trusted-ca-file",
        crl: "client-crl-file",
        auto: "auto-tls",
        allowed_names: "client-cert-allowed-cn",
        allowed_hosts: "client-cert-allowed-hostname",
        skip_addresses: None,
    };
    const PEER: Self = Self {
        port: "peer",
        listen: &["listen-peer-urls"],
        treatment: Treatment::PeerTls,
        cert: "peer-cert-file",
        key: "peer-key-file",
        client_cert: "peer-client-cert-file",
        client_key: "peer-client-key-file",
        auth: "peer-client-cert-auth",
        ca: "peer-trusted-ca-file",
        crl: "peer-crl-file",
        auto: "peer-auto-tls",
        allowed_names: "peer-cert-allowed-cn",
        allowed_hosts: "peer-cert-allowed-hostname",
        skip_addresses: Some("peer-skip-client-san-verification"),
    };
}

fn port(
    values: &Values,
    names: &Names,
    notes: &mut Vec<Note>,
    problems: &mut Vec<Problem>,
) -> PortTls {
    let urls: Vec<PeerUrl> = names.listen.iter().flat_map(|name| values.urls(name)).collect();
    let changed = values.changed(names.treatment);
    if !changed.is_empty() {
        let plain = urls.iter().filter(|url| !url.is_https());
        notes.extend(plain.map(|url| Note::NothingEncrypted {
            port: names.port,
            url: url.to_string(),
            settings: changed.clone(),
            client_auth: changed.iter().all(|name| name == names.auth || name == names.ca),
        }));
    }
    let path = |name: &str| values.is_set(name).then(|| PathBuf::from(values.text(name)));
    let is_used = is_used(values, names, &urls);
    let allowed = allowed(values, names, is_used, problems);
    // As in etcd, naming an authority asks for certificates, but only the flag makes users of them.
    let asks = values.bool(names.auth) || values.is_set(names.ca);
    if allowed != Allowed::Anyone && !asks && urls.iter().any(PeerUrl::is_https) {
        let set = [names.allowed_names, names.allowed_hosts];
        let set: Vec<&str> = set.into_iter().filter(|name| values.is_given(name)).collect();
        notes.push(Note::WithoutEffect {
            setting: set.join(","),
            meaning: format!(
                "nobody is asked for a certificate on the {} port; --{} or --{} asks",
                names.port, names.auth, names.ca
            ),
        });
    }
    let certificate = certificate(values, names, &urls, is_used, notes, problems);
    let client_pair = match (path(names.client_cert), path(names.client_key)) {
        (Some(cert), Some(key)) => Some(Pair { cert, key }),
        (None, None) => None,
        (cert, key) => {
            let show = |path: Option<PathBuf>| path.unwrap_or_default().display().to_string();
            problems.push(Problem::of(&[names.client_cert, names.client_key], format!(
                "ClientKeyFile and ClientCertFile must both be present or both absent: key: {}, \
                 cert: {}]",
                show(key),
                show(cert)
            )));
            None
        }
    };
    PortTls {
        certificate,
        client_pair,
        client_auth: if asks { ClientAuth::Required } else { ClientAuth::None },
        names_users: values.bool(names.auth),
        ca: path(names.ca),
        crl: path(names.crl),
        allowed,
        check_addresses: names.skip_addresses.is_some_and(|skip| !values.bool(skip)),
    }
}

/// Whether anything is encrypted with these settings. The peer's are read without an encrypted URL
/// too, because members dial with them; those of clients are then ignored with a note.
fn is_used(values: &Values, names: &Names, urls: &[PeerUrl]) -> bool {
    let more: &[&str] = match names.port {
        "peer" => &["initial-advertise-peer-urls"],
        _ => &["listen-metrics-urls"],
    };
    let dials = [names.cert, names.key, names.ca];
    urls.iter()
        .chain(&more.iter().flat_map(|name| values.urls(name)).collect::<Vec<_>>())
        .any(PeerUrl::is_https)
        || names.port == "peer" && dials.iter().any(|name| values.is_set(name))
}

/// Who is let in. A list that was given and names nobody lets nobody in, as in etcd: an empty text is
/// a value that is missing rather than the wish for an open port.
fn allowed(values: &Values, names: &Names, is_used: bool, problems: &mut Vec<Problem>) -> Allowed {
    let list = |name: &str| {
        let text = values.is_given(name).then(|| values.text(name))?;
        let items = text.split(',').filter(|item| !item.trim().is_empty());
        Some(items.map(str::to_owned).collect::<Vec<_>>())
    };
    match (list(names.allowed_names), list(names.allowed_hosts)) {
        (None, None) => Allowed::Anyone,
        (None, Some(hosts)) => {
            Allowed::Hosts(hosts.iter().map(|host| host.trim().to_owned()).collect())
        }
        // Not trimmed: a space is part of a name.
        (Some(common_names), None) => Allowed::CommonNames(common_names),
        (Some(_), Some(_)) if !is_used => Allowed::Anyone,
        (Some(common_names), Some(hosts)) => {
            let quoted = |items: &[String]| {
                items.iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(" ")
            };
            problems.push(Problem::of(&[names.allowed_names, names.allowed_hosts], format!(
                "AllowedCNs and AllowedHostnames are mutually exclusive (cns=[{}], hostnames=[{}])",
                quoted(&common_names),
                quoted(&hosts)
            )));
            Allowed::Anyone
        }
    }
}

fn certificate(
    values: &Values,
    names: &Names,
    urls: &[PeerUrl],
    is_used: bool,
    notes: &mut Vec<Note>,
    problems: &mut Vec<Problem>,
) -> Certificate {
    let (cert, key) = (values.text(names.cert), values.text(names.key));
    let auto = values.bool(names.auto);
    let secure = urls.iter().find(|url| url.is_https());
    match (cert.is_empty(), key.is_empty()) {
        (false, false) => {
            if auto {
                notes.push(Note::NoAutoTls { port: names.port });
            }
            Certificate::Files(Pair { cert: cert.into(), key: key.into() })
        }
        (true, true) if auto => {
            let hosts = urls.iter().map(|url| url.host().to_owned()).collect();
            Certificate::SelfSigned { hosts }
        }
        (true, true) => {
            if let Some(url) = secure {
                problems.push(Problem::of(&[names.listen[0], names.cert, names.key], if names.port == "peer" {
                    let address = url.as_str().trim_start_matches("https://");
                    format!(
                        "cannot listen on TLS for {address}: KeyFile and CertFile are not \
                         presented (--peer-cert-file, --peer-key-file)"
                    )
                } else {
                    format!(
                        "TLS key/cert (--cert-file, --key-file) must be provided for client url \
                         {url} with HTTPS scheme"
                    )
                }));
            }
            Certificate::None
        }
        _ if !is_used => Certificate::None,
        _ => {
            problems.push(Problem::of(
                &[names.cert, names.key],
                format!("KeyFile and CertFile must both be present[key: {key}, cert: {cert}]"),
            ));
            Certificate::None
        }
    }
}
