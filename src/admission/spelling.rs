use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Limits, Protocol};
use crate::membership::{InitialCluster, MemberId};
use crate::token::TokenPath;

/// The way a request came in: what is known of the URL or token that the node was given.
#[derive(Debug, Clone, Default)]
pub struct Door {
    pub protocol: Protocol,
    /// The prefix of every canonical discovery URL, without a slash at the end.
    pub public_url: String,
    /// The `Host` header.
    pub host: Option<String>,
    /// The query of the URL, without what the protocol adds.
    pub query: Option<String>,
    /// Where the request came from.
    pub from: Option<IpAddr>,
    pub limits: Limits,
}

impl Door {
    /// The spelling of the discovery URL from which this key follows, if it is a plausible one.
    ///
    /// A node's own URL is not part of what it sends; the member id is a hash of it. So the
    /// spellings that people mix up are tried: another name of the same host, another scheme, a
    /// default port, a slash at the end or doubled, the query that came along.
    pub(super) fn spelling_of(
        &self,
        key: MemberId,
        member: &InitialCluster,
        path: &TokenPath,
    ) -> Option<String> {
        let urls: Vec<&str> =
            member.members().flat_map(|(_, urls)| urls).map(|url| url.as_str()).collect();
        let made_from = |text: &String| MemberId::derive(urls.iter().copied(), text) == key;
        if self.protocol == Protocol::V3 {
            // etcd drops odd slashes from the key and leaves them in the id.
            let token = path.token()?;
            let slashes = ["", "/", "//"];
            let slashed = slashes
                .iter()
                .flat_map(|head| slashes.iter().map(move |tail| format!("{head}{token}{tail}")));
            return slashed.chain([path.discovery_url(&self.public_url)]).find(made_from);
        }
        let path = path.as_str();
        let mut tails = vec![path.to_owned(), format!("{path}/"), format!("/{path}")];
        if let Some(query) = &self.query {
            tails.extend([format!("{path}?{query}"), format!("{path}/?{query}")]);
        }
        self.prefixes()
            .iter()
            .flat_map(|prefix| tails.iter().map(move |tail| format!("{prefix}{tail}")))
            .find(made_from)
    }

    /// Everything that may stand in front of the path.
    fn prefixes(&self) -> BTreeSet<String> {
        let (scheme, rest) = self.public_url.split_once("://").unwrap_or(("http", ""));
        let (authority, base) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let mut authorities = BTreeSet::from([authority.to_owned()]);
        authorities.extend(self.host.clone());
        for known in authorities.clone() {
            let port = known.rsplit_once(':').map(|(_, port)| port);
            let port = port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
            for alias in ["localhost", "127.0.0.1", "[::1]", "0.0.0.0"] {
                authorities.insert(match port {
                    Some(port) => format!("{alias}:{port}"),
                    None => alias.to_owned(),
                });
            }
            if port.is_none() {
                authorities.extend([format!("{known}:80"), format!("{known}:443")]);
            }
            for default in [":80", ":443"] {
                authorities.extend(known.strip_suffix(default).map(str::to_owned));
            }
        }
        let schemes = if scheme == "https" { ["https", "http"] } else { ["http", "https"] };
        let bases = if base.is_empty() { vec![""] } else { vec![base, ""] };
        let mut prefixes = BTreeSet::new();
        for scheme in schemes {
            for authority in &authorities {
                for base in &bases {
                    prefixes.insert(format!("{scheme}://{authority}{base}"));
                }
            }
        }
        prefixes
    }
}
