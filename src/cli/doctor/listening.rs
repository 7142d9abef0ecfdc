//! Addresses: whether hosts have some, whether they fit each other, and whether the ports can be had.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use crate::cli::node::{authority, join};
use crate::cli::steps::Steps;
use crate::config::node::Settings;
use crate::discovery::Request;
use crate::membership::{InitialCluster, PeerUrl};
use crate::transport::{Bound, ListenError, chain};

/// How long a name may take.
const RESOLVE: Duration = Duration::from_secs(5);

/// A host of the list, and what it leads to from here.
struct Host<'a> {
    member: &'a str,
    host: &'a str,
    addresses: Vec<IpAddr>,
}

impl Host<'_> {
    fn is_loopback(&self) -> bool {
        !self.addresses.is_empty() && self.addresses.iter().all(IpAddr::is_loopback)
    }

    fn is_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }
}

/// Looks all hosts of the list up.
pub(super) async fn addresses(steps: &mut Steps, request: &Request, list: &InitialCluster) {
    const STEP: &str = "addresses";
    let mut hosts = Vec::new();
    let mut unknown = Vec::new();
    for (member, urls) in list.members() {
        for host in urls.iter().map(PeerUrl::host).collect::<BTreeSet<_>>() {
            match resolve(host).await {
                Ok(addresses) => hosts.push(Host { member, host, addresses }),
                Err(error) => unknown.push(format!("`{host}` of {member}: {error}")),
            }
        }
    }
    for unknown in &unknown {
        let cure =
            "give the name a record in DNS or in /etc/hosts; the members look for it until then";
        steps.warn(STEP, unknown, cure);
    }
    let several = list.len() > 1;
    let (own, others): (Vec<&Host<'_>>, Vec<&Host<'_>>) =
        hosts.iter().partition(|host| host.member == request.name);
    for host in hosts.iter().filter(|host| host.addresses.iter().any(IpAddr::is_unspecified)) {
        let what = format!("{} of {} is every address and none", host.host, host.member);
        let cure = "listen on it, and advertise an address under which the others reach the member";
        match several {
            true => steps.fail(STEP, what, cure),
            false => steps.warn(STEP, what, cure),
        }
    }
    let far = others.iter().any(|host| !host.is_loopback());
    for host in own.iter().filter(|host| several && far && host.is_loopback()) {
        let cure = "advertise an address of the network that the members share";
        let what = format!("{} of this member is loopback here, and others are not", host.host);
        match host.is_name() {
            // What it is elsewhere nobody here can tell.
            true => steps.warn(
                STEP,
                what,
                "look into /etc/hosts, where some systems list their own name as 127.0.1.1",
            ),
            false => steps.fail(STEP, what, cure),
        }
    }
    for host in &own {
        let elsewhere = host.addresses.iter().find(|address| is_elsewhere(**address));
        if let Some(address) = elsewhere {
            let what = format!("{address} is no address of this machine");
            let cure = "right behind NAT, in a container, or where this does not run on the machine of \
                        the node";
            steps.warn(STEP, what, cure);
        }
    }
    if unknown.is_empty() {
        steps.ok(STEP, "every host of the list has one");
    }
}

/// All addresses of a host.
async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((host, 0))).await??;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.dedup();
    Ok(addresses)
}

fn is_elsewhere(address: IpAddr) -> bool {
    let bound = std::net::UdpSocket::bind((address, 0));
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

/// Binds what the node would bind, and compares it with what is advertised to `members`.
pub(super) async fn ports(steps: &mut Steps, settings: &Settings, members: usize) {
    // Held until the end: the ports must be different from each other too.
    let mut held = Vec::new();
    for (step, urls) in [
        ("peer port", &settings.listen_peer_urls),
        ("client port", &settings.listen_client_urls),
        ("metrics port", &settings.listen_metrics_urls),
    ] {
        let mut seen = BTreeSet::new();
        for url in urls {
            // An address may serve clients with TLS and without.
            if url.socket().is_some() || !seen.insert(authority(url)) {
                continue;
            }
            match Bound::bind(&authority(url)).await {
                Ok(bound) => {
                    steps.ok(step, format!("{url} can be listened on"));
                    held.push(bound);
                }
                Err(error) => {
                    steps.fail(step, chain(&error), cure(&error, url));
                }
            }
        }
    }
    advertised(steps, settings, members);
}

fn cure(error: &ListenError, url: &PeerUrl) -> String {
    let kind = match error {
        ListenError::InUse { .. } => io::ErrorKind::AddrInUse,
        ListenError::Io { source, .. } | ListenError::Unix { source, .. } => source.kind(),
    };
    match kind {
        io::ErrorKind::AddrInUse => format!(
            "if that is the node itself, it runs already; else stop whoever has the port (`ss -ltnp \
             sport = :{}` names it) or take another one",
            url.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            "listen on an address that this machine has, or on 0.0.0.0".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE; take a higher one".to_owned()
        }
        _ => "compare the URL with the addresses of this machine (`ip address`)".to_owned(),
    }
}

/// Whether those who follow the advertised URLs come out where this member listens.
fn advertised(steps: &mut Steps, settings: &Settings, members: usize) {
    const STEP: &str = "advertised";
    let listens = &settings.listen_peer_urls;
    let is_loopback = |url: &PeerUrl| {
        url.host() == "localhost" || url.host().parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    };
    let advertised = &settings.bootstrap.peer_urls;
    let far: Vec<&PeerUrl> = advertised.iter().filter(|url| !is_loopback(url)).collect();
    if !listens.is_empty() && listens.iter().all(is_loopback) && !far.is_empty() {
        let what = format!(
            "the node listens at {} only, and others are sent to {}",
            join(listens),
            far[0]
        );
        let cure = "give --listen-peer-urls the advertised address, or 0.0.0.0";
        match members {
            1 => steps.warn(STEP, what, cure),
            _ => steps.fail(STEP, what, cure),
        }
        return;
    }
    let mut fits = true;
    for url in advertised {
        let there: Vec<&PeerUrl> = listens.iter().filter(|it| it.port() == url.port()).collect();
        if there.is_empty() {
            let what =
                format!("others are sent to {url}, and the node listens at {}", join(listens));
            steps.warn(STEP, what, "right with a port mapping only; else make the ports the same");
            fits = false;
        } else if there.iter().all(|it| it.is_https() != url.is_https()) {
            let what = format!("others are sent to {url}, and the node listens at {}", there[0]);
            steps.fail(STEP, what, "write the same scheme in both");
            fits = false;
        }
    }
    if fits {
        steps.ok(STEP, format!("others find {} where the node listens", join(advertised)));
    }
}
