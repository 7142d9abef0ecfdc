use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::certificate::Described;
use super::handshake::{self, Refusal};
use super::node_flags::{ALL_COUNT, NodeFlags};
use crate::cli::node::{dialing, serving};
use crate::cli::output::Format;
use crate::cli::steps::{Steps, Stop, sick};
use crate::cli::{Failure, running};
use crate::config::node::{Certificate, PortTls, Settings};
use crate::membership::PeerUrl;
use crate::transport::chain;
use crate::transport::tls::{
    Allowed, ClientAuth, ClientOptions, Pair, ServerOptions, TlsClient, TlsServer, Verification,
};

/// The TLS flags of a node, an endpoint to shake hands with, or both.
#[derive(Debug, Args)]
#[command(after_help = ALL_COUNT)]
pub(in crate::cli) struct TlsCheck {
    #[command(flatten)]
    node: NodeFlags,
    /// Client or peer URLs, or host:port, to shake hands with, separated by commas
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    endpoints: Vec<String>,
    /// Authority that clients trust, PEM
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Certificate to show to the endpoints
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// One port with its flags.
struct Port<'a> {
    name: &'static str,
    tls: &'a PortTls,
    /// What others dial.
    advertised: Vec<PeerUrl>,
}

impl TlsCheck {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let mut steps = Steps::new(self.output);
        let outcome = self.check(&mut steps).await;
        steps.end(outcome)
    }

    async fn check(&self, steps: &mut Steps) -> Result<(), Stop> {
        if self.endpoints.is_empty() || !self.node.is_empty() {
            let Some(settings) = self.node.settle(steps) else { return Ok(()) };
            self.configuration(steps, &settings).await?;
        }
        for endpoint in &self.endpoints {
            self.endpoint(steps, endpoint).await?;
        }
        Ok(())
    }

    async fn configuration(&self, steps: &mut Steps, settings: &Settings) -> Result<(), Stop> {
        let client_urls = settings.node.advertise_client_urls.iter();
        let client_urls = client_urls.filter_map(|url| PeerUrl::parse_client(url).ok());
        let ports = [
            Port {
                name: "client port",
                tls: &settings.tls.client,
                advertised: client_urls.collect(),
            },
            Port {
                name: "peer port",
                tls: &settings.tls.peer,
                advertised: settings.bootstrap.peer_urls.clone(),
            },
        ];
        let mut used = false;
        for port in &ports {
            match &port.tls.certificate {
                Certificate::None => {}
                Certificate::SelfSigned { .. } => {
                    used = true;
                    steps.ok(
                        port.name,
                        "the node makes a certificate of its own, which nobody verifies",
                    );
                }
                Certificate::Files(pair) => {
                    used = true;
                    self.port(steps, settings, port, pair).await;
                }
            }
        }
        if used {
            return Ok(());
        }
        let cure =
            "give --cert-file, --key-file, --peer-cert-file, ... of the node, or --endpoints";
        Err(sick("certificates", "these flags name none", cure))
    }

    async fn port(&self, steps: &mut Steps, settings: &Settings, port: &Port<'_>, pair: &Pair) {
        if let Some(described) = Described::read(&pair.cert) {
            described.describe(steps, port.name);
        }
        secret(steps, port.name, &pair.key);
        let options = serving(settings, port.tls, pair);
        let server = match TlsServer::load(options.clone()) {
            Ok(server) => server,
            Err(error) => {
                let cure = "name files that the user of the node can read and that belong together";
                return steps.fail(port.name, chain(&error), cure);
            }
        };
        steps.ok(port.name, "key, authorities and revocation list can be used");
        if port.name == "peer port" {
            return peers(steps, settings, port, &server).await;
        }
        self.clients(steps, port, options, pair).await;
    }

    /// Clients take the certificate for the advertised hosts, and the gateway is let in with it.
    async fn clients(
        &self,
        steps: &mut Steps,
        port: &Port<'_>,
        options: ServerOptions,
        pair: &Pair,
    ) {
        let open = ServerOptions { client_auth: ClientAuth::None, ..options.clone() };
        let ca = self.cacert.clone().or_else(|| options.client_ca.clone());
        let client = ClientOptions { ca: ca.clone(), ..ClientOptions::default() };
        match (TlsServer::load(open), TlsClient::load(client), ca) {
            (_, _, None) => {
                steps.open(
                    port.name,
                    "whether clients take it depends on their authority: give --cacert",
                );
            }
            (Ok(server), Ok(client), Some(_)) => {
                each_host(steps, port, &server, &client).await;
            }
            (Err(error), ..) | (_, Err(error), _) => {
                steps.fail(port.name, chain(&error), "name files of certificates");
            }
        }
        if options.client_auth == ClientAuth::None {
            return;
        }
        let own = port.tls.client_pair.clone().unwrap_or_else(|| pair.clone());
        let gateway = ClientOptions {
            pair: Some(own),
            verification: Verification::Skipped,
            allowed: Allowed::Anyone,
            ..ClientOptions::default()
        };
        let loaded = TlsServer::load(options).and_then(|it| Ok((it, TlsClient::load(gateway)?)));
        let Ok((server, gateway)) = loaded else { return };
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        match handshake::rehearse(&server, &gateway, "localhost", here).await {
            Ok(()) => steps.ok(port.name, "etcd's JSON gateway is let in with it"),
            Err(Refusal::ByClient(why) | Refusal::ByServer(why) | Refusal::Unreached(why)) => steps.warn(
                port.name,
                format!("etcd's JSON gateway, which shows it to its own port, is refused: {why}"),
                "sign it for clients too (extended key usage clientAuth), or give another one with \
                 --client-cert-file and --client-key-file; quorate-node needs neither",
            ),
        }
    }

    async fn endpoint(&self, steps: &mut Steps, endpoint: &str) -> Result<(), Stop> {
        let url = match endpoint.contains("://") {
            true => endpoint.to_owned(),
            false => format!("https://{endpoint}"),
        };
        let url = PeerUrl::parse(&url).map_err(|error| {
            sick("endpoints", error.to_string(), "write https://host:port or host:port")
        })?;
        let pair = self.cert.clone().zip(self.key.clone());
        let pair = pair.map(|(cert, key)| Pair { cert, key });
        let options = ClientOptions { pair, ca: self.cacert.clone(), ..ClientOptions::default() };
        let wrong = |error| Failure::Configuration(Box::new(error));
        let client = TlsClient::load(options.clone()).map_err(wrong)?;
        let step = url.as_str();
        match handshake::with_endpoint(&client, url.host(), url.port()).await {
            Ok(shown) => {
                if let Some(shown) = shown {
                    shown.describe(steps, step);
                }
                steps.ok(step, "both sides take each other's certificates");
                return Ok(());
            }
            Err(refusal) => {
                let (what, cure) = refusal.told(options.pair.is_some());
                steps.fail(step, what, cure);
            }
        }
        // What it shows helps to see why it was not taken.
        let anyone = ClientOptions { verification: Verification::Skipped, ..options };
        let anyone = TlsClient::load(anyone).map_err(running)?;
        if let Ok(Some(shown)) = handshake::with_endpoint(&anyone, url.host(), url.port()).await {
            shown.describe(steps, step);
        }
        Ok(())
    }
}

/// A member shakes hands with one that has the same flags: the others have an own certificate of the same kind.
async fn peers(steps: &mut Steps, settings: &Settings, port: &Port<'_>, server: &TlsServer) {
    let Some(options) = dialing(settings, None) else { return };
    match TlsClient::load(options) {
        Ok(client) => each_host(steps, port, server, &client).await,
        Err(error) => steps.fail(port.name, chain(&error), "name files of certificates"),
    }
}

/// Rehearses a handshake for every host that others dial.
async fn each_host(steps: &mut Steps, port: &Port<'_>, server: &TlsServer, client: &TlsClient) {
    let hosts: BTreeSet<&str> =
        port.advertised.iter().filter(|url| url.is_https()).map(PeerUrl::host).collect();
    if hosts.is_empty() {
        return steps.open(port.name, "no https:// URL is advertised for which it would be asked");
    }
    for host in hosts {
        // Others see this member come from there.
        let from = match host.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) => {
                match tokio::net::lookup_host((host, 0)).await.map(|mut found| found.next()) {
                    Ok(Some(found)) => found.ip(),
                    _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
                }
            }
        };
        match handshake::rehearse(server, client, host, SocketAddr::new(from, 0)).await {
            Ok(()) => steps.ok(port.name, format!("others take it for {host}")),
            Err(Refusal::ByServer(why)) => steps.fail(
                port.name,
                format!("as a client, at another member, it is refused: {why}"),
                "members show the same certificate as servers and as clients: it needs the extended key \
                 usages serverAuth and clientAuth, an authority in --peer-trusted-ca-file, and the address \
                 or name it comes from (or --peer-skip-client-san-verification)",
            ),
            Err(Refusal::ByClient(why) | Refusal::Unreached(why)) => {
                let cure = format!(
                    "sign it with an authority that others trust, for servers, with `{host}` among its names: \
                     `quorate certs node NAME --host {host}`"
                );
                steps.fail(port.name, format!("others refuse it for {host}: {why}"), cure);
            }
        }
    }
}

/// A key is for its owner.
fn secret(steps: &mut Steps, step: &str, key: &Path) {
    const OTHERS: u32 = 0o077;
    let Ok(found) = std::fs::metadata(key) else { return };
    let mode = found.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        let what =
            format!("`{}` may be read by others than its owner (mode {mode:o})", key.display());
        steps.warn(step, what, format!("chmod 600 {}", key.display()));
    }
}
