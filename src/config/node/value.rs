use std::time::Duration;

use super::flag::Kind;
use super::gates;
use super::problem::EMPTY_HOST;
use crate::membership::{PeerUrl, UrlError};

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

/// Reads a number as Go does where the base is left to the text: `0x10`, `0b1`, `0o17` or `017`, and `1_000`.
fn parse_uint(text: &str) -> Result<u64, String> {
    const PREFIXES: [(&str, u32); 7] =
        [("0x", 16), ("0X", 16), ("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8), ("0", 8)];
    let prefixed = |(prefix, base)| Some((text.strip_prefix(prefix)?, base));
    let (digits, base) = match text {
        "0" => ("0", 10),
        _ => PREFIXES.into_iter().find_map(prefixed).unwrap_or((text, 10)),
    };
    // Underscores stand one by one, each before a digit and none before all of them.
    let is_digit = |c: char| c.is_digit(base) || c == '_';
    let is_set_apart = text.starts_with('_') || digits.contains("__") || digits.ends_with('_');
    if digits.is_empty() || is_set_apart || !digits.chars().all(is_digit) {
        return Err("parse error".to_owned());
    }
    u64::from_str_radix(&digits.replace('_', ""), base)
        .map_err(|_too_large| "value out of range".to_owned())
}

fn parse_int(text: &str) -> Result<i64, String> {
    let out_of_range = |_| "value out of range".to_owned();
    match text.strip_prefix('-') {
        Some(digits) => i64::try_from(-i128::from(parse_uint(digits)?)).map_err(out_of_range),
        None => {
            i64::try_from(parse_uint(text.strip_prefix('+').unwrap_or(text))?).map_err(out_of_range)
        }
    }
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

pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
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

/// Reads a duration as Go writes them: `1h2m3.5s`, `100ms`, `0`.
///
/// The sign of a negative one is not read; what such settings mean says `leeway`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let nanoseconds = nanoseconds(unit)?;
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * nanoseconds / 1e9).ok()?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// Nanoseconds of a unit of time.
fn nanoseconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return None,
    })
}

/// What Go says of a text that is no duration (`time.ParseDuration`).
pub(super) fn no_duration(text: &str) -> String {
    let is_digit = |c: char| c.is_ascii_digit() || c == '.';
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    while rest.starts_with(is_digit) {
        let tail = rest.trim_start_matches(is_digit);
        let (unit, next) = tail.split_at(tail.find(is_digit).unwrap_or(tail.len()));
        if unit.is_empty() {
            return format!("time: missing unit in duration \"{text}\"");
        }
        if nanoseconds(unit).is_none() {
            return format!("time: unknown unit \"{unit}\" in duration \"{text}\"");
        }
        rest = next;
    }
    format!("time: invalid duration \"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let cases = [
            ("5s", Some(Duration::from_secs(5))),
            ("1h2m3.5s", Some(Duration::from_millis(3_723_500))),
            ("100ms", Some(Duration::from_millis(100))),
            ("0", Some(Duration::ZERO)),
            ("0s", Some(Duration::ZERO)),
            ("5000000000ns", Some(Duration::from_secs(5))),
            ("+.5s", Some(Duration::from_millis(500))),
            ("5", None),
            ("", None),
            ("abc", None),
            ("-1s", None),
            ("1d", None),
            ("1e99s", None),
            ("99999999999999999999h", None),
        ];
        for (text, duration) in cases {
            assert_eq!(parse_duration(text), duration, "{text}");
        }
    }

    #[test]
    fn numbers_are_read_as_go_writes_them() {
        let cases = [
            ("0", Ok(0)),
            ("100", Ok(100)),
            ("0x10", Ok(16)),
            ("0X1F", Ok(31)),
            ("0b101", Ok(5)),
            ("0o17", Ok(15)),
            ("017", Ok(15)),
            ("1_000", Ok(1000)),
            ("0_7", Ok(7)),
            ("0x_f", Ok(15)),
            ("1__0", Err("parse error")),
            ("_1", Err("parse error")),
            ("1_", Err("parse error")),
            ("09", Err("parse error")),
            ("0x", Err("parse error")),
            ("+5", Err("parse error")),
            ("1e3", Err("parse error")),
            (" 1", Err("parse error")),
            ("", Err("parse error")),
            ("0x10000000000000000", Err("value out of range")),
        ];
        for (text, number) in cases {
            let number = number.map(Value::Uint).map_err(str::to_owned);
            assert_eq!(Value::parse(Kind::Uint, text), number, "{text}");
        }
        let cases = [
            ("+5", Ok(5)),
            ("-0x10", Ok(-16)),
            ("-1_0", Ok(-10)),
            ("-0x8000000000000000", Ok(i64::MIN)),
            ("0x8000000000000000", Err("value out of range")),
            ("--5", Err("parse error")),
        ];
        for (text, number) in cases {
            let number = number.map(Value::Int).map_err(str::to_owned);
            assert_eq!(Value::parse(Kind::Int, text), number, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_duration_is_told_of_in_the_words_of_go() {
        for (text, words) in [
            ("", "invalid duration \"\""),
            ("abc", "invalid duration \"abc\""),
            ("24", "missing unit in duration \"24\""),
            ("-1", "missing unit in duration \"-1\""),
            ("1h30", "missing unit in duration \"1h30\""),
            ("7d", "unknown unit \"d\" in duration \"7d\""),
            ("1h-5m", "unknown unit \"h-\" in duration \"1h-5m\""),
        ] {
            assert_eq!(no_duration(text), format!("time: {words}"));
        }
    }

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
