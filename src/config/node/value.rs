use std::time::Duration;

use super::gates;
use super::go::{parse_bool, parse_duration, parse_int, parse_uint};
use super::problem::EMPTY_HOST;
use crate::membership::{PeerUrl, UrlError};

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Uint,
    Duration,
    Text,
    /// Features to turn on or off, `Name=true,...`.
    Gates,
    /// Origins of browsers: URLs, or `*`.
    Origins,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Comma-separated URLs of scheme, host and port.
    Urls,
    /// The same, or those of Unix sockets.
    ClientUrls,
    /// Takes no value and has no meaning any more.
    Nothing,
}

/// A value of the kind its flag asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Duration(Duration),
    Text(String),
    Urls(Vec<PeerUrl>),
    Nothing,
}

impl Value {
    /// Reads a value as Go's flag package does; the error is the reason alone.
    pub(super) fn parse(kind: Kind, text: &str) -> Result<Self, String> {
        let bad = || "parse error".to_owned();
        match kind {
            Kind::Bool => parse_bool(text).map(Self::Bool).ok_or_else(bad),
            Kind::Int => parse_int(text).map(Self::Int),
            Kind::Uint => parse_uint(text).map(Self::Uint),
            Kind::Duration => parse_duration(text).map(Self::Duration).ok_or_else(bad),
            Kind::Text => Ok(Self::Text(text.to_owned())),
            Kind::Gates => gates::check(text).map(|()| Self::Text(text.to_owned())),
            Kind::Origins => check_origins(text).map(|()| Self::Text(text.to_owned())),
            Kind::Word(words) if words.contains(&text) => Ok(Self::Text(text.to_owned())),
            Kind::Word(words) => Err(format!("invalid value; it is one of {}", list(words))),
            Kind::Urls => parse_urls(text, PeerUrl::parse).map(Self::Urls),
            Kind::ClientUrls => parse_urls(text, PeerUrl::parse_client).map(Self::Urls),
            Kind::Nothing => Ok(Self::Nothing),
        }
    }
}

fn list(words: &[&str]) -> String {
    let quoted = words.iter().filter(|word| !word.is_empty()).map(|word| format!("`{word}`"));
    quoted.collect::<Vec<_>>().join(", ")
}

/// Origins are compared with what browsers send, which has a scheme and no path.
fn check_origins(text: &str) -> Result<(), String> {
    let origins = text.split(',').map(str::trim).filter(|origin| !matches!(*origin, "" | "*"));
    for origin in origins {
        let Some(host) = ["http://", "https://"].iter().find_map(|it| origin.strip_prefix(it))
        else {
            return Err(format!("URL scheme must be http, https, unix, or unixs: {origin}"));
        };
        if host.contains('/') {
            return Err(format!("URL must not contain a path: {origin}"));
        }
    }
    Ok(())
}

/// Reads comma-separated URLs; an empty text is an empty list, and one that stands twice counts once.
fn parse_urls(
    text: &str,
    parse_url: fn(&str) -> Result<PeerUrl, UrlError>,
) -> Result<Vec<PeerUrl>, String> {
    let parse = |url: &str| {
        if url.contains("://:") {
            return Err(format!("must be \"host:port\" ({EMPTY_HOST} ({url}))"));
        }
        parse_url(url).map_err(|error| error.to_string())
    };
    let mut urls = Vec::new();
    for url in text.split(',').filter(|url| !url.trim().is_empty()) {
        let url = parse(url)?;
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    Ok(urls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_have_the_reasons_of_etcd() {
        let cases = [
            (Kind::Bool, "maybe", "parse error"),
            (Kind::Uint, "abc", "parse error"),
            (Kind::Uint, "-1", "parse error"),
            (Kind::Uint, "99999999999999999999", "value out of range"),
            (
                Kind::Word(&["new", "existing"]),
                "zzz",
                "invalid value; it is one of `new`, `existing`",
            ),
            (
                Kind::Urls,
                "127.0.0.1:1",
                "parse \"127.0.0.1:1\": first path segment in URL cannot contain colon",
            ),
            (
                Kind::Urls,
                "http://:3001",
                "must be \"host:port\" (unexpected empty host (http://:3001))",
            ),
            (
                Kind::Urls,
                "http://h:1,unix://x",
                "members reach each other over TCP, not over a Unix socket: unix://x",
            ),
        ];
        let cases = cases.into_iter().chain([
            (
                Kind::Origins,
                "http://a,b.example",
                "URL scheme must be http, https, unix, or unixs: b.example",
            ),
            (Kind::Origins, "http://a/", "URL must not contain a path: http://a/"),
        ]);
        for (kind, text, reason) in cases {
            assert_eq!(Value::parse(kind, text).unwrap_err(), reason, "{text}");
        }
        assert_eq!(Value::parse(Kind::Bool, "T"), Ok(Value::Bool(true)));
        for origins in ["*", "", "https://a.example,http://b.example:8080,*"] {
            assert!(Value::parse(Kind::Origins, origins).is_ok(), "{origins}");
        }
    }
}
