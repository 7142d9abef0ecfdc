use super::handshake::{is_tls_spoken, with_endpoint};
use crate::cli::members::{Endpoints, Silence};
use crate::membership::PeerUrl;
use crate::transport::tls::TlsClient;

/// What is wrong with an endpoint that did not answer, and what to do about it. Where the connection broke, a
/// handshake tells why.
pub(in crate::cli) async fn told(
    cluster: &Endpoints,
    endpoint: &str,
    silence: &Silence,
) -> (String, &'static str) {
    let known = (silence.to_string(), silence.cure());
    let url = PeerUrl::parse(&cluster.url(endpoint));
    let (true, Ok(url)) = (silence.is_broken(), url) else { return known };
    if !url.is_https() {
        let cure = "write https://, and name --cacert FILE";
        return match is_tls_spoken(url.host(), url.port()).await {
            true => ("the port speaks TLS".to_owned(), cure),
            false => known,
        };
    }
    let certificates = cluster.certificates();
    let shows = certificates.pair.is_some();
    let Ok(client) = TlsClient::load(certificates) else { return known };
    match with_endpoint(&client, url.host(), url.port()).await {
        Err(refusal) => refusal.told(shows),
        Ok(_) => known,
    }
}
