use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::connect_info::ConnectInfo;
use http::{Extensions, HeaderMap};

use super::Network;

/// A client that a proxy names by what is no address.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address a request came from: the client's own, also when it came through proxies that the
/// listener trusts. `None` for a request that no listener of ours took, and for one of a trusted
/// proxy that does not say whose it is.
pub fn client_address(extensions: &Extensions) -> Option<IpAddr> {
    let client = extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip().to_canonical();
    (!client.is_unspecified()).then_some(client)
}

/// Who asked, as far as trusted proxies tell: the last address of `X-Forwarded-For` that is none of
/// theirs. What stands before it was written by the client and counts for nothing.
pub(super) fn client(socket: SocketAddr, headers: &HeaderMap, trusted: &[Network]) -> SocketAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(socket.ip()) {
        return socket;
    }
    let lines: Vec<&str> =
        headers.get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok()).collect();
    let hops = lines.iter().flat_map(|line| line.split(',')).map(str::trim);
    let mut client = socket;
    for hop in hops.collect::<Vec<_>>().into_iter().rev() {
        // Somebody is there, and it is not the proxy itself.
        let Some(address) = address(hop) else { return UNKNOWN };
        client = address;
        if !is_trusted(address.ip()) {
            break;
        }
    }
    client
}

/// An address with or without a port, as proxies write it.
fn address(text: &str) -> Option<SocketAddr> {
    let alone = || text.trim_matches(['[', ']']).parse().ok().map(|ip| SocketAddr::new(ip, 0));
    text.parse().ok().or_else(alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_say_who_asked() {
        let trusted = ["10.0.0.0/8", "::1"].map(|text| text.parse::<Network>().unwrap());
        for (socket, lines, client_is) in [
            ("10.0.0.1:5", vec!["192.0.2.7"], "192.0.2.7"),
            // What the client claims stands first and is not believed.
            ("10.0.0.1:5", vec!["203.0.113.1, 192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1:5", vec!["203.0.113.1", "192.0.2.7, 10.0.0.9"], "192.0.2.7"),
            ("192.0.2.1:5", vec!["203.0.113.1"], "192.0.2.1"),
            ("10.0.0.1:5", vec![], "10.0.0.1"),
            ("10.0.0.1:5", vec!["192.0.2.7, nonsense"], "0.0.0.0"),
            ("[::1]:5", vec!["[2001:db8::1]:44"], "2001:db8::1"),
            ("[::1]:5", vec!["2001:db8::1"], "2001:db8::1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(FORWARDED_FOR, line.parse().unwrap());
            }
            let found = client(socket.parse().unwrap(), &headers, &trusted);
            assert_eq!(found.ip().to_string(), client_is, "{socket} {lines:?}");
        }
    }
}
