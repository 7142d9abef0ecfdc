//! The parameters of SVCB and HTTPS records (RFC 9460 §2.1, Appendix A).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::fields::{self, Fields};
use super::forms;
use super::lexer::{SyntaxError, Token};

const KEYS: [(&str, u16); 8] = [
    ("mandatory", 0),
    ("alpn", 1),
    ("no-default-alpn", 2),
    ("port", 3),
    ("ipv4hint", 4),
    ("ech", 5),
    ("ipv6hint", 6),
    ("dohpath", 7),
];

/// Reads `key=value` to the end of the line; the wire form has the keys in ascending order.
pub(super) fn parameters(
    fields: &mut Fields<'_, '_>,
    out: &mut Vec<u8>,
) -> Result<(), SyntaxError> {
    const WANTED: &str = "a parameter, such as alpn=h2 or port=8443";
    let mut read: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    while !fields.is_empty() {
        let token = fields.next(WANTED)?;
        let wrong = || token.unexpected(WANTED);
        let text = fields::plain(token).ok_or_else(wrong)?;
        let (name, written) = match text.split_once('=') {
            Some((name, "")) => (name, quoted_behind(token, fields)?),
            Some((name, value)) => {
                let value = Token { at: token.at, quoted: true, text: value.as_bytes() };
                (name, Some(fields::octets(value)?))
            }
            None => (text, None),
        };
        let key = key(name).ok_or_else(wrong)?;
        let value = value(key, written.as_deref()).ok_or_else(wrong)?;
        if read.insert(key, value).is_some() {
            return Err(token.unexpected("each parameter once"));
        }
    }
    for (key, value) in read {
        out.extend(key.to_be_bytes());
        // A line has no value that is longer; the data as a whole is bounded where it is decoded.
        out.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(value);
    }
    Ok(())
}

/// The string that stands right behind `key=`.
fn quoted_behind(
    token: Token<'_>,
    fields: &mut Fields<'_, '_>,
) -> Result<Option<Vec<u8>>, SyntaxError> {
    let width = u32::try_from(token.text.len()).unwrap_or(u32::MAX);
    let behind = |next: &Token<'_>| {
        next.quoted
            && next.at.line == token.at.line
            && next.at.column == token.at.column.saturating_add(width)
    };
    match fields.peek().filter(behind) {
        Some(_) => Ok(Some(fields::octets(fields.next("a value")?)?)),
        None => Ok(Some(Vec::new())),
    }
}

fn key(name: &str) -> Option<u16> {
    let known = KEYS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    known.or_else(|| name.strip_prefix("key")?.parse().ok())
}

fn value(key: u16, written: Option<&[u8]>) -> Option<Vec<u8>> {
    let text = || std::str::from_utf8(written?).ok();
    let mut out = Vec::new();
    match key {
        0 => {
            let mut keys = text()?.split(',').map(self::key).collect::<Option<Vec<_>>>()?;
            keys.sort_unstable();
            keys.iter().for_each(|key| out.extend(key.to_be_bytes()));
        }
        1 => {
            for name in list(written?) {
                let length = u8::try_from(name.len()).ok().filter(|length| *length > 0)?;
                out.push(length);
                out.extend(name);
            }
        }
        2 => return written.is_none_or(<[u8]>::is_empty).then_some(out),
        3 => out.extend(text()?.parse::<u16>().ok()?.to_be_bytes()),
        4 => {
            for address in text()?.split(',') {
                out.extend(address.parse::<Ipv4Addr>().ok()?.octets());
            }
        }
        5 => out = forms::base64(written?)?,
        6 => {
            for address in text()?.split(',') {
                out.extend(address.parse::<Ipv6Addr>().ok()?.octets());
            }
        }
        _ => out.extend(written.unwrap_or_default()),
    }
    Some(out)
}

/// Items between commas; a backslash takes the special meaning from the byte behind it.
fn list(value: &[u8]) -> Vec<Vec<u8>> {
    let mut items = vec![Vec::new()];
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        let last = items.last_mut().expect("starts with one item and only grows");
        match byte {
            b'\\' => last.extend(bytes.next()),
            b',' => items.push(Vec::new()),
            byte => last.push(*byte),
        }
    }
    items
}
