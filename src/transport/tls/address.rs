use std::io;
use std::net::IpAddr;

use super::PeerIdentity;

/// Checks that a certificate with names belongs to the address it comes from (`checkCertSAN` of
/// etcd). One without names may come from anywhere. The texts are etcd's.
pub(super) async fn check(identity: &PeerIdentity, remote: IpAddr) -> Result<(), String> {
    let remote = remote.to_canonical();
    if identity.addresses.is_empty() && identity.dns_names.is_empty() {
        return Ok(());
    }
    if identity.addresses.contains(&remote) {
        return Ok(());
    }
    if identity.dns_names.is_empty() {
        let valid = identity.addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
        return Err(format!("x509: certificate is valid for {}, not {remote}", valid.join(", ")));
    }
    let mut last = None;
    for name in identity.dns_names.iter().filter(|name| !name.starts_with("*.")) {
        match tokio::net::lookup_host((name.as_str(), 0)).await {
            Ok(mut found) => {
                if found.any(|address| address.ip().to_canonical() == remote) {
                    return Ok(());
                }
            }
            Err(error) => last = Some(format!(" (lookup {name}: {})", reason(&error))),
        }
    }
    let names = identity.dns_names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>();
    Err(format!(
        "tls: \"{remote}\" does not match any of DNSNames [{}]{}",
        names.join(" "),
        last.unwrap_or_default()
    ))
}

fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    if text.contains("not known") || text.contains("No address") {
        return "no such host".to_owned();
    }
    text
}
