use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use url::Url;

use super::Problems;
use super::sources::Setting;
use crate::admission::Ttl;
use crate::discovery_server::{Rate, RateError};
use crate::dns_server::Network;
use crate::telemetry::Format;

/// The prefix of discovery URLs as it was spelled, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| {
            format!("{error}; write the whole URL, such as http://discovery.example:8087")
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("the scheme must be http or https".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("a query or a fragment cannot stand in front of a token".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("nodes send no user name and no password; leave them out".to_owned());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }

    /// The URL of a service that is known by nothing but its address.
    ///
    /// Nobody can connect to a wildcard, so that becomes the loopback address.
    pub fn of_address(scheme: &str, mut address: SocketAddr) -> Self {
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        Self(format!("{scheme}://{address}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn log_format(text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err("choose text or json".to_owned()),
    }
}

/// Reads addresses to listen on, such as the usual one; `off`, alone, is none.
pub(super) fn addresses(
    name: &str,
    usual: SocketAddr,
    settings: &[Setting],
    problems: &mut Problems,
) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    if let [one] = settings
        && one.text == "off"
    {
        return addresses;
    }
    if settings.is_empty() {
        problems.add(format!("{name} is an empty list; write `off` to serve none"));
    }
    for setting in settings {
        let place = setting.place(name);
        match setting.text.parse::<SocketAddr>() {
            Ok(address) if addresses.contains(&address) && address.port() != 0 => {
                problems.add(format!("{place} is given twice"));
            }
            Ok(address) => addresses.push(address),
            Err(_) if setting.text == "off" => {
                problems.add(format!("{place} stands beside addresses; give one or the other"));
            }
            Err(_) => problems.add(format!(
                "{place}: an IP address and a port are expected, such as {usual}, 0.0.0.0:{port} or \
                 [::]:{port}",
                port = usual.port()
            )),
        }
    }
    addresses
}

/// Reads a DNS server: an address, and a port when it is not 53.
pub(super) fn upstream(text: &str) -> Result<SocketAddr, String> {
    const DNS_PORT: u16 = 53;
    let alone = || text.parse().map(|address: IpAddr| SocketAddr::new(address, DNS_PORT));
    text.parse().or_else(|_no_port| alone()).map_err(|_reason| {
        "an IP address is expected, with a port when it is not 53, such as 10.0.0.1 or [::1]:5353"
            .to_owned()
    })
}

pub(super) fn network(text: &str) -> Result<Network, String> {
    text.parse::<Network>().map_err(|error| error.to_string())
}

pub(super) fn default_address(text: &str) -> SocketAddr {
    text.parse().expect("the default addresses are well-formed")
}

pub(super) fn domain(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let fits = name.len() <= 180
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(plain)
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    if fits {
        Ok(name.to_ascii_lowercase())
    } else {
        Err("a domain name is expected, such as clusters.example.org".to_owned())
    }
}

/// Reads a number between these.
pub(super) fn number<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String>
where
    T: FromStr + PartialOrd + fmt::Display,
{
    move |text| match text.parse::<T>() {
        Ok(number) if (&least..=&most).contains(&&number) => Ok(number),
        _ => Err(format!("a number from {least} to {most} is expected")),
    }
}

/// No request of ours is longer.
const LARGEST_BODY: usize = 4 << 20;

pub(super) fn body_bytes(text: &str) -> Result<usize, String> {
    number(1024, LARGEST_BODY)(text)
}

/// Reads a time span: `500ms`, `30s`, `5m`, `1h`.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let read = units.into_iter().find_map(|(unit, milliseconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(milliseconds)
    });
    match read {
        Some(milliseconds @ 1..=86_400_000) => Ok(Duration::from_millis(milliseconds)),
        _ => Err("a time span up to a day is expected, such as 500ms, 30s or 5m".to_owned()),
    }
}

/// What fits into an option and onto a line.
pub(super) fn nsid(text: &str) -> Result<String, String> {
    match text.len() {
        1..=128 => Ok(text.to_owned()),
        _ => Err("1 to 128 bytes are expected, such as the name of this host".to_owned()),
    }
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_reason| "true or false is expected".to_owned())
}

pub(super) fn rate_limit(text: &str) -> Result<Option<u32>, String> {
    match text.parse::<u32>() {
        Ok(rate @ 1..) => Ok(Some(rate)),
        _ if text == "off" => Ok(None),
        _ => Err("a number of answers per second, or `off`, is expected".to_owned()),
    }
}

/// Sizes above this are no clusters that anybody can run.
const LARGEST_MAX_SIZE: u32 = 64;

pub(super) fn max_size(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(size) if (1..=LARGEST_MAX_SIZE).contains(&size) => Ok(size),
        _ => Err(format!("a number from 1 to {LARGEST_MAX_SIZE} is expected")),
    }
}

pub(super) fn ttl(text: &str) -> Result<Ttl, String> {
    text.parse::<Ttl>().map_err(|error| error.to_string())
}

pub(super) fn log_level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err("choose error, warn, info, debug or trace".to_owned()),
    }
}

pub(super) fn rate(text: &str) -> Result<Option<Rate>, String> {
    match text {
        "off" => Ok(None),
        text => text.parse().map(Some).map_err(|error: RateError| error.to_string()),
    }
}

/// The largest limit that is taken; more is a slip of the pen.
const LARGEST_COUNT: usize = 10_000_000;

pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(count) if (1..=LARGEST_COUNT).contains(&count) => Ok(count),
        _ => Err(format!("a number from 1 to {LARGEST_COUNT} is expected")),
    }
}
