//! Addresses: what is listened on, and what others are told.

use std::net::IpAddr;

use super::super::finding::Finding;
use super::super::member::Member;
use super::super::start::Host;
use super::List;
use crate::config::node::Source;
use crate::membership::PeerUrl;

/// What is told to others, and what is listened on for it.
const PAIRS: [(&str, &str); 2] = [
    ("initial-advertise-peer-urls", "listen-peer-urls"),
    ("advertise-client-urls", "listen-client-urls"),
];

pub(super) fn check(member: &Member, findings: &mut Vec<Finding>) {
    for (advertised, listened) in PAIRS {
        unspecified(member, advertised, findings);
        schemes(member, advertised, listened, findings);
    }
    unheard_port(member, findings);
    one_port_twice(member, findings);
    advertise_default(member, findings);
}

/// Nobody can dial 0.0.0.0 on another machine.
fn unspecified(member: &Member, name: &str, findings: &mut Vec<Finding>) {
    let (urls, _) = member.urls(name);
    for url in urls {
        let address = url.host().parse::<IpAddr>();
        if address.is_ok_and(|address| address.is_unspecified()) {
            let text = format!("{} tells others {url}, which leads nowhere", member.called(name));
            let advice = "write the address or the name under which this member is reached";
            let (code, place) = ("advertise-unspecified", member.place_of(name));
            findings.push(if is_alone(member) {
                // It starts, and is reached on its own machine.
                Finding::warning(code, place, text, advice)
            } else {
                Finding::error(code, place, text, advice)
            });
        }
    }
}

/// Whether the list has nobody else in it.
fn is_alone(member: &Member) -> bool {
    let list = member.setting("initial-cluster").map(|it| List::read(&it.word));
    list.is_some_and(|list| list.whole && list.names().len() == 1)
}

/// What is listened on in the clear cannot be dialed with TLS, and the other way round.
fn schemes(member: &Member, advertised: &str, listened: &str, findings: &mut Vec<Finding>) {
    let ((told, _), (heard, true)) = (member.urls(advertised), member.urls(listened)) else {
        return;
    };
    if heard.is_empty() {
        return;
    }
    for url in told {
        if heard.iter().any(|it| it.is_https() == url.is_https()) {
            continue;
        }
        let (place, called) = (member.place_of(advertised), member.called(advertised));
        let text =
            format!("{called} tells others {url}, and {} is {}", member.called(listened), heard[0]);
        let advice = "write http:// in both, or https:// in both";
        findings.push(if advertised == "advertise-client-urls" {
            // Something in front of the port may speak TLS.
            Finding::warning("scheme-differs", place, text, advice)
        } else {
            Finding::error("scheme-differs", place, text, advice)
        });
    }
}

/// A peer port that is told and not listened on. A container has its ports published under others.
fn unheard_port(member: &Member, findings: &mut Vec<Finding>) {
    let (told, listened) = PAIRS[0];
    let ((urls, _), (heard, true)) = (member.urls(told), member.urls(listened)) else { return };
    if heard.is_empty() || matches!(member.host, Host::Container { .. }) {
        return;
    }
    for url in urls.iter().filter(|url| heard.iter().all(|it| it.port() != url.port())) {
        let text = format!(
            "{} tells others {url}, and nothing listens on port {}",
            member.called(told),
            url.port()
        );
        let advice = format!("write the same port in {}", member.called(listened));
        findings.push(Finding::warning("port-differs", member.place_of(told), text, advice));
    }
}

/// Two listeners of one process on one port.
fn one_port_twice(member: &Member, findings: &mut Vec<Finding>) {
    let peers = member.urls("listen-peer-urls").0;
    let clients = member.urls("listen-client-urls").0;
    let same = |a: &PeerUrl, b: &PeerUrl| {
        let any = |url: &PeerUrl| matches!(url.host(), "0.0.0.0" | "::");
        a.port() == b.port() && a.port() != 0 && (a.host() == b.host() || any(a) || any(b))
    };
    if let Some(url) = clients.iter().find(|url| peers.iter().any(|peer| same(peer, url))) {
        let text = format!("clients and members are listened for on the same port, {url}");
        let advice = "give members another port, 2380 is usual";
        let place = member.place_of("listen-client-urls");
        findings.push(Finding::error("port-twice", place, text, advice));
    }
}

/// From a file etcd takes a list of URLs to listen on without one to tell, and tells `localhost`.
fn advertise_default(member: &Member, findings: &mut Vec<Finding>) {
    let Some(listen) = member.setting("listen-client-urls") else { return };
    if listen.source != Source::File || member.setting("advertise-client-urls").is_some() {
        return;
    }
    let text = "clients are told http://localhost:2379, because `advertise-client-urls` is missing";
    let advice = "say under which URLs clients reach this member";
    findings.push(Finding::warning("advertise-missing", &listen.place, text, advice));
}
