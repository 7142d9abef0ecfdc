//! The resolver's configuration file: the addresses of name servers (resolv.conf(5)).

use std::net::IpAddr;

use super::text::{self, Fault, Finding};

/// Reads the name servers; whatever else stands in the file is for others.
pub fn read(text: &str) -> (Vec<IpAddr>, Vec<Finding>) {
    let mut servers = Vec::new();
    let mut findings = Vec::new();
    for (line, text) in text::lines(text) {
        let mut words = text.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let server = words.next().unwrap_or_default();
        match server.parse() {
            Ok(address) if servers.contains(&address) => {}
            Ok(address) => servers.push(address),
            Err(_reason) => {
                findings.push(Finding { line, fault: Fault::NoServer { text: server.to_owned() } });
            }
        }
    }
    (servers, findings)
}
