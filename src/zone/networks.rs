use std::net::{Ipv4Addr, Ipv6Addr};

use super::fields::{self, Fields};
use super::lexer::SyntaxError;

/// Networks, `!1:192.0.2.0/24` (RFC 3123 §5).
pub(super) fn networks(fields: &mut Fields<'_, '_>) -> Result<Vec<u8>, SyntaxError> {
    const WANTED: &str = "a network, such as 1:192.0.2.0/24 or !2:2001:db8::/32";
    let mut out = Vec::new();
    while !fields.is_empty() {
        let token = fields.next(WANTED)?;
        let read = fields::plain(token).and_then(network);
        out.extend(read.ok_or_else(|| token.unexpected(WANTED))?);
    }
    Ok(out)
}

fn network(text: &str) -> Option<Vec<u8>> {
    let (negated, text) = match text.strip_prefix('!') {
        Some(rest) => (0x80_u8, rest),
        None => (0, text),
    };
    let (family, rest) = text.split_once(':')?;
    let (address, prefix) = rest.split_once('/')?;
    let bytes = match family {
        "1" => address.parse::<Ipv4Addr>().ok()?.octets().to_vec(),
        "2" => address.parse::<Ipv6Addr>().ok()?.octets().to_vec(),
        _ => return None,
    };
    let prefix: u8 = prefix.parse().ok().filter(|it| usize::from(*it) <= bytes.len() * 8)?;
    let kept = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut out = family.parse::<u16>().ok()?.to_be_bytes().to_vec();
    out.extend([prefix, negated | u8::try_from(kept).ok()?]);
    out.extend(&bytes[..kept]);
    Some(out)
}
