//! The hosts file: an address and its names on each line (hosts(5)).

use std::net::IpAddr;

use hickory_proto::rr::Name;

use super::text::{self, Fault, Finding};

/// One line of a hosts file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub address: IpAddr,
    /// Never empty.
    pub names: Vec<Name>,
}

/// Reads a hosts file. What is wrong in it costs its own word or line and nothing else.
pub fn read(text: &str) -> (Vec<Host>, Vec<Finding>) {
    let mut hosts = Vec::new();
    let mut findings = Vec::new();
    for (line, text) in text::lines(text) {
        let content = text.split('#').next().unwrap_or_default();
        let mut words = content.split_whitespace();
        let Some(first) = words.next() else { continue };
        let mut find = |fault| findings.push(Finding { line, fault });
        let Ok(address) = first.parse() else {
            find(Fault::Address { text: first.to_owned() });
            continue;
        };
        let words: Vec<&str> = words.collect();
        if words.is_empty() {
            find(Fault::NoNames { address: first.to_owned() });
        }
        let mut names = Vec::new();
        for word in words {
            match text::name(word) {
                Ok(name) => names.push(name),
                Err(fault) => find(fault),
            }
        }
        if !names.is_empty() {
            hosts.push(Host { address, names });
        }
    }
    (hosts, findings)
}
