use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, NULL, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, BinEncodable, Restrict};

use super::fields::Fields;
use super::forms;
use super::lexer::{Fault, SyntaxError, Token};
use super::location::location;
use super::networks::networks;

/// Type names that the message library does not know.
const MORE_TYPES: [(&str, u16); 33] = [
    ("MD", 3),
    ("MF", 4),
    ("MB", 7),
    ("MG", 8),
    ("MR", 9),
    ("MINFO", 14),
    ("RP", 17),
    ("AFSDB", 18),
    ("X25", 19),
    ("ISDN", 20),
    ("RT", 21),
    ("PX", 26),
    ("GPOS", 27),
    ("LOC", 29),
    ("KX", 36),
    ("APL", 42),
    ("IPSECKEY", 45),
    ("DHCID", 49),
    ("NSEC3PARAM", 51),
    ("HIP", 55),
    ("ZONEMD", 63),
    ("SPF", 99),
    ("NID", 104),
    ("L32", 105),
    ("L64", 106),
    ("LP", 107),
    ("EUI48", 108),
    ("EUI64", 109),
    ("URI", 256),
    ("AVC", 258),
    ("DOA", 259),
    ("TA", 32768),
    ("DLV", 32769),
];
const LOC: RecordType = RecordType::Unknown(29);
const APL: RecordType = RecordType::Unknown(42);

/// The type that a word names, in one of its spellings: `SRV`, `TYPE33`.
pub(super) fn record_type(text: &str) -> Option<RecordType> {
    let upper = text.to_ascii_uppercase();
    if let Some(number) = upper.strip_prefix("TYPE") {
        return number.parse::<u16>().ok().map(RecordType::from);
    }
    if let Some((_, number)) = MORE_TYPES.iter().find(|(name, _)| *name == upper) {
        return Some(RecordType::from(*number));
    }
    upper.parse().ok()
}

/// A type that only questions have, or that belongs to one message.
pub(super) fn is_meta(kind: RecordType) -> bool {
    matches!(u16::from(kind), 0 | 41 | 128..=255)
}

/// The data of one record of type `kind`.
pub(super) fn read(
    kind: RecordType,
    at: Token<'_>,
    fields: &mut Fields<'_, '_>,
    origin: &Name,
) -> Result<RData, SyntaxError> {
    if fields.peek().is_some_and(|token| !token.quoted && token.text == b"\\#") {
        return generic(kind, fields);
    }
    let data = match kind {
        RecordType::A => RData::A(A(fields.value::<Ipv4Addr>("an IPv4 address")?)),
        RecordType::AAAA => RData::AAAA(AAAA(fields.value::<Ipv6Addr>("an IPv6 address")?)),
        RecordType::CNAME => RData::CNAME(CNAME(fields.name(origin, "the name it stands for")?)),
        RecordType::NS => RData::NS(NS(fields.name(origin, "the name of a name server")?)),
        RecordType::PTR => RData::PTR(PTR(fields.name(origin, "the name it points to")?)),
        RecordType::MX => RData::MX(MX::new(
            fields.value("a preference (0 to 65535)")?,
            fields.name(origin, "the name of a mail server")?,
        )),
        RecordType::SRV => RData::SRV(SRV::new(
            fields.value("a priority (0 to 65535)")?,
            fields.value("a weight (0 to 65535)")?,
            fields.value("a port (0 to 65535)")?,
            fields.name(origin, "the name of a target")?,
        )),
        RecordType::SOA => RData::SOA(soa(fields, origin)?),
        RecordType::TXT => {
            let strings = strings(fields)?;
            RData::TXT(TXT::from_bytes(strings.iter().map(Vec::as_slice).collect()))
        }
        LOC => decode(kind, at, &location(fields)?)?,
        APL => decode(kind, at, &networks(fields)?)?,
        _ => match forms::wire(kind, fields, origin)? {
            Some(wire) => decode(kind, at, &wire)?,
            None => return Err(at.fail(Fault::NoTextForm { kind: at.shown() })),
        },
    };
    Ok(data)
}

fn soa(fields: &mut Fields<'_, '_>, origin: &Name) -> Result<SOA, SyntaxError> {
    let mname = fields.name(origin, "the name of the primary server")?;
    let rname = fields.name(origin, "the mailbox of the person responsible, as a name")?;
    let serial = fields.value("a serial number (0 to 4294967295)")?;
    let mut time = |wanted| fields.time(wanted);
    let refresh = time("the refresh time")?;
    let retry = time("the retry time")?;
    let expire = time("the expire time")?;
    let minimum = time("the negative caching time")?;
    let signed = |time: u32| i32::try_from(time).expect("times are at most 2^31 - 1");
    Ok(SOA::new(mname, rname, serial, signed(refresh), signed(retry), signed(expire), minimum))
}

fn strings(fields: &mut Fields<'_, '_>) -> Result<Vec<Vec<u8>>, SyntaxError> {
    let mut strings = vec![fields.string("a string")?];
    while !fields.is_empty() {
        strings.push(fields.string("a string")?);
    }
    Ok(strings)
}

/// A name as it is sent without compression.
pub(super) fn wire_name(name: &Name) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 1);
    for label in name {
        bytes.push(u8::try_from(label.len()).expect("labels have at most 63 bytes"));
        bytes.extend(label);
    }
    bytes.push(0);
    bytes
}

/// `\# length hexadecimal`, for types without a text form (RFC 3597 §5).
fn generic(kind: RecordType, fields: &mut Fields<'_, '_>) -> Result<RData, SyntaxError> {
    let at = fields.next("`\\#`")?;
    let length: u16 = fields.value("a length in bytes (0 to 65535)")?;
    let mut digits = Vec::new();
    while !fields.is_empty() {
        let token = fields.next("hexadecimal digits")?;
        if token.quoted || !token.text.iter().all(u8::is_ascii_hexdigit) {
            return Err(token.unexpected("hexadecimal digits"));
        }
        digits.extend_from_slice(token.text);
    }
    if digits.len() != usize::from(length) * 2 {
        let found = format!("{} digits for {length} bytes", digits.len());
        return Err(at.fail(Fault::Unexpected { wanted: "two digits for each byte", found }));
    }
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit.to_ascii_lowercase() - b'a' + 10,
    };
    let bytes: Vec<u8> =
        digits.chunks_exact(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect();
    decode(kind, at, &bytes)
}

/// The data whose wire form these bytes are.
///
/// What the message library would not send back as it came is kept as the bytes it is.
fn decode(kind: RecordType, at: Token<'_>, bytes: &[u8]) -> Result<RData, SyntaxError> {
    let wrong = || at.fail(Fault::Data { kind: kind.to_string() });
    let length = u16::try_from(bytes.len()).map_err(|_too_long| wrong())?;
    let mut decoder = BinDecoder::new(bytes);
    match RData::read(&mut decoder, kind, Restrict::new(length)) {
        Ok(data) if decoder.is_empty() => {
            let same = data.to_bytes().is_ok_and(|again| again == bytes);
            let raw = || RData::Unknown { code: kind, rdata: NULL::with(bytes.to_vec()) };
            Ok(if same { data } else { raw() })
        }
        _ => Err(wrong()),
    }
}
