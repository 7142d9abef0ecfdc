//! Certificates.

use super::super::finding::Finding;
use super::super::member::Member;

/// The flag that asks for certificates, the authority that they come from, and the port.
const PORTS: [(&str, &str, &str); 2] = [
    ("client-cert-auth", "trusted-ca-file", "client"),
    ("peer-client-cert-auth", "peer-trusted-ca-file", "peer"),
];

pub(super) fn check(member: &Member, findings: &mut Vec<Finding>) {
    for (asks, authority, port) in PORTS {
        if member.is_on(asks) && member.setting(authority).is_none() && !member.open {
            let called = member.called(asks);
            let text = format!(
                "{called} asks for certificates on the {port} port, and no authority is named for \
                 them, so those of the system count"
            );
            let advice = format!("name the authority, --{authority}");
            let place = member.place_of(asks);
            findings.push(Finding::warning("client-auth-without-ca", place, text, advice));
        }
    }
}
