use std::net::IpAddr;

use super::words::shorten;
use super::{Door, Refusal};
use crate::membership::{InitialCluster, MemberId, ParseError, PeerUrl, UrlError};
use crate::token::TokenPath;

/// A registration that is right in itself: one reachable member under its own id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    pub key: MemberId,
    /// As the node sent it.
    pub value: String,
    /// The value, parsed; exactly one member.
    pub member: InitialCluster,
    /// The canonical discovery URL of the token, for words about it.
    pub url: String,
    /// Where it came from.
    pub from: Option<IpAddr>,
}

impl Application {
    /// Judges a key and a value that came through `door` for the token at `path`.
    pub fn check(key: &str, value: &str, path: &TokenPath, door: &Door) -> Result<Self, Refusal> {
        let limits = door.limits;
        if value.len() > limits.value_bytes {
            return Err(Refusal::ValueTooLong { bytes: value.len(), max: limits.value_bytes });
        }
        let member: InitialCluster =
            value.parse().map_err(|ParseError(reason)| no_list(value, reason))?;
        let (name, urls) = match member.members().next() {
            Some(one) if member.len() == 1 => one,
            _ => return Err(Refusal::Names { value: shorten(value), names: member.len() }),
        };
        if name.is_empty() || name.len() > limits.name_bytes || name.contains(char::is_control) {
            return Err(Refusal::Name { name: shorten(name), max: limits.name_bytes });
        }
        if urls.len() > limits.urls {
            return Err(Refusal::TooManyUrls { urls: urls.len(), max: limits.urls });
        }
        if let Err(twice) = member.check_unique_urls() {
            return Err(Refusal::UrlTwice { url: twice.url });
        }
        for url in urls {
            if let Some(what) = unreachable_because(url) {
                return Err(Refusal::Unreachable { url: url.to_string(), what });
            }
        }
        let key = check_key(key, name, &member, value, path, door)?;
        let url = path.discovery_url(&door.public_url);
        Ok(Self { key, value: value.to_owned(), member, url, from: door.from })
    }

    /// The name of the member.
    pub fn name(&self) -> &str {
        self.member.members().next().map(|(name, _)| name).unwrap_or_default()
    }

    /// Its peer URLs as they are spelled, sorted.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.member.members().flat_map(|(_, urls)| urls).map(PeerUrl::as_str)
    }
}

/// What is wrong with a value that is no member list. A comma in a name leaves a piece without any URL, of
/// which etcd's words say nothing.
fn no_list(value: &str, reason: UrlError) -> Refusal {
    let has_no_url =
        |pair: &&str| pair.split_once('=').is_none_or(|(_, url)| url.trim().is_empty());
    let pair = value.split(',').filter(|pair| !pair.is_empty()).find(has_no_url);
    let value = shorten(value);
    match (reason, pair) {
        (UrlError::Scheme { text }, Some(pair)) if text.is_empty() => {
            Refusal::NoUrl { value, pair: shorten(pair) }
        }
        (reason, _) => Refusal::Value { value, reason },
    }
}

/// Compares the key a node chose with the id that its value and the canonical URL or token make.
fn check_key(
    key: &str,
    name: &str,
    member: &InitialCluster,
    value: &str,
    path: &TokenPath,
    door: &Door,
) -> Result<MemberId, Refusal> {
    // The printed form is the only one that nodes recognise as their own.
    let no_id = || Refusal::Key { key: shorten(key) };
    let parsed: MemberId = key.parse().map_err(|_not_hexadecimal| no_id())?;
    if parsed.to_string() != key || parsed.0 == 0 {
        return Err(no_id());
    }
    let protocol = door.protocol;
    let canonical = protocol.salt(path, &door.public_url);
    let expected = member.member_id(name, &canonical).ok_or_else(no_id)?;
    if parsed == expected {
        return Ok(parsed);
    }
    let value = shorten(value);
    Err(match door.spelling_of(parsed, member, path) {
        Some(used) => {
            Refusal::OtherSpelling { key: parsed, value, protocol, canonical, expected, used }
        }
        None => Refusal::ForeignKey { key: parsed, value, protocol, canonical, expected },
    })
}

/// Why nobody but the node itself could use this URL. Loopback is fine: whole clusters live there.
fn unreachable_because(url: &PeerUrl) -> Option<&'static str> {
    if url.port() == 0 {
        return Some("port 0 is no port");
    }
    let address: IpAddr = url.host().parse().ok()?;
    let address = address.to_canonical();
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    match address {
        _ if address.is_unspecified() => Some("it is a wildcard to listen on, not an address"),
        _ if link_local => Some("a link-local address means another machine on every network"),
        _ if address.is_multicast() => Some("it is a multicast address"),
        IpAddr::V4(address) if address.is_broadcast() => Some("it is the broadcast address"),
        _ => None,
    }
}
