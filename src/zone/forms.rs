//! Text forms of record types as lists of fields; the fields one after the other are the wire form.

use std::net::Ipv4Addr;

use data_encoding::{BASE32HEX_NOPAD, BASE64_NOPAD, HEXLOWER_PERMISSIVE};
use hickory_proto::rr::{Name, RecordType};

use super::fields::{self, Fields};
use super::lexer::{SyntaxError, Token};
use super::rdata;
use super::service_binding;

/// How one field is written, and with it how it is sent.
#[derive(Debug, Clone, Copy)]
enum Form {
    U8(&'static str),
    U16(&'static str),
    U32(&'static str),
    /// A TTL.
    Time(&'static str),
    /// A moment: seconds since 1970 or `YYYYMMDDHHmmSS` (RFC 4034 §3.2).
    Moment(&'static str),
    /// A number, or a word that stands for one.
    Named(&'static str, &'static [(&'static str, u16)], Width),
    Name(&'static str),
    /// A character string behind its length.
    Text(&'static str),
    /// As many of them as there are, at least one.
    Texts(&'static str),
    /// One string without a length; it ends with the data.
    Bare(&'static str),
    V4,
    /// Everything that is left, in hexadecimal or base 64.
    Hex(&'static str),
    Base64(&'static str),
    /// Digits in groups, `00-00-5e-00-53-2a` or `14:4fff:ff20:ee64`, of so many bytes.
    Groups(&'static str, char, usize),
    /// `-` or hexadecimal, behind its length.
    Salt,
    /// Base 32, behind its length.
    Hash,
    /// Types, as a bitmap (RFC 4034 §4.1.2).
    Types,
    /// The mnemonic of one type.
    Type,
    /// The parameters of a service binding (RFC 9460 §2.1).
    Parameters,
}

/// The bytes of a number.
#[derive(Debug, Clone, Copy)]
enum Width {
    One,
    Two,
}

use Form::{
    Bare, Base64, Groups, Hash, Hex, Moment, Named, Parameters, Salt, Text, Texts, Time, Type,
    Types, U8, U16, U32, V4,
};

const ALGORITHM: Form = Named(
    "a DNSSEC algorithm",
    &[
        ("DELETE", 0),
        ("RSAMD5", 1),
        ("DH", 2),
        ("DSA", 3),
        ("RSASHA1", 5),
        ("DSA-NSEC3-SHA1", 6),
        ("RSASHA1-NSEC3-SHA1", 7),
        ("RSASHA256", 8),
        ("RSASHA512", 10),
        ("ECC-GOST", 12),
        ("ECDSAP256SHA256", 13),
        ("ECDSAP384SHA384", 14),
        ("ED25519", 15),
        ("ED448", 16),
        ("INDIRECT", 252),
        ("PRIVATEDNS", 253),
        ("PRIVATEOID", 254),
    ],
    Width::One,
);

const CERTIFICATE: Form = Named(
    "a certificate type",
    &[
        ("PKIX", 1),
        ("SPKI", 2),
        ("PGP", 3),
        ("IPKIX", 4),
        ("ISPKI", 5),
        ("IPGP", 6),
        ("ACPKIX", 7),
        ("IACPKIX", 8),
        ("URI", 253),
        ("OID", 254),
    ],
    Width::Two,
);

/// The fields of a type, or none if it has no text form here.
fn forms(kind: RecordType) -> Option<&'static [Form]> {
    const NAME: Form = Form::Name("a name");
    const KEY: &[Form] = &[U16("flags"), U8("a protocol"), ALGORITHM, Base64("a key in base 64")];
    const DIGEST: &[Form] =
        &[U16("a key tag"), ALGORITHM, U8("a digest type"), Hex("a digest in hexadecimal")];
    const SIGNATURE: &[Form] = &[
        Type,
        ALGORITHM,
        U8("a number of labels"),
        Time("the original TTL"),
        Moment("the end of the signature"),
        Moment("the beginning of the signature"),
        U16("a key tag"),
        Form::Name("the name of the signer"),
        Base64("a signature in base 64"),
    ];
    const BINDING: &[Form] =
        &[U16("a priority (0 to 65535)"), Form::Name("the name of a target"), Parameters];
    Some(match u16::from(kind) {
        // MD, MF, MB, MG, MR, DNAME, ANAME
        3 | 4 | 7 | 8 | 9 | 39 | 65305 => &[NAME],
        13 => &[Text("a machine name"), Text("a system name")],
        14 | 17 => &[Form::Name("a mailbox as a name"), NAME],
        // AFSDB, RT, KX, LP
        18 | 21 | 36 | 107 => &[U16("a preference (0 to 65535)"), NAME],
        // X25, ISDN, SPF
        19 => &[Text("an address")],
        20 | 99 => &[Texts("a string")],
        24 | 46 => SIGNATURE,
        25 | 48 | 60 => KEY,
        26 => &[U16("a preference (0 to 65535)"), NAME, NAME],
        27 => &[Text("a longitude"), Text("a latitude"), Text("an altitude")],
        35 => &[
            U16("an order (0 to 65535)"),
            U16("a preference (0 to 65535)"),
            Text("flags"),
            Text("a service"),
            Text("an expression"),
            Form::Name("a replacement"),
        ],
        37 => &[CERTIFICATE, U16("a key tag"), ALGORITHM, Base64("a certificate in base 64")],
        // DS, CDS, TA, DLV
        43 | 59 | 32768 | 32769 => DIGEST,
        44 => &[U8("an algorithm"), U8("a fingerprint type"), Hex("a fingerprint in hexadecimal")],
        47 => &[Form::Name("the next name"), Types],
        49 => &[Base64("an identifier in base 64")],
        50 => {
            &[U8("a hash algorithm"), U8("flags"), U16("a number of iterations"), Salt, Hash, Types]
        }
        51 => &[U8("a hash algorithm"), U8("flags"), U16("a number of iterations"), Salt],
        // TLSA, SMIMEA
        52 | 53 => &[
            U8("a usage (0 to 255)"),
            U8("a selector (0 to 255)"),
            U8("a matching type (0 to 255)"),
            Hex("the certificate data in hexadecimal"),
        ],
        61 => &[Base64("a key in base 64")],
        62 => &[U32("a serial number"), U16("flags"), Types],
        63 => &[
            U32("a serial number"),
            U8("a scheme"),
            U8("a hash algorithm"),
            Hex("a digest in hexadecimal"),
        ],
        64 | 65 => BINDING,
        // NID, L64
        104 | 106 => &[U16("a preference (0 to 65535)"), Groups("four groups of digits", ':', 8)],
        105 => &[U16("a preference (0 to 65535)"), V4],
        108 => &[Groups("an EUI-48 address", '-', 6)],
        109 => &[Groups("an EUI-64 address", '-', 8)],
        256 => &[U16("a priority (0 to 65535)"), U16("a weight (0 to 65535)"), Bare("a URI")],
        257 => &[U8("flags (0 to 255)"), Text("a property tag"), Bare("a property value")],
        _ => return None,
    })
}

/// The wire form of the data of a type, or none if the type has no text form here.
pub(super) fn wire(
    kind: RecordType,
    fields: &mut Fields<'_, '_>,
    origin: &Name,
) -> Result<Option<Vec<u8>>, SyntaxError> {
    let Some(forms) = forms(kind) else { return Ok(None) };
    let mut out = Vec::new();
    for form in forms {
        form.read(fields, origin, &mut out)?;
    }
    Ok(Some(out))
}

impl Form {
    fn read(
        self,
        fields: &mut Fields<'_, '_>,
        origin: &Name,
        out: &mut Vec<u8>,
    ) -> Result<(), SyntaxError> {
        match self {
            U8(wanted) => out.push(fields.value(wanted)?),
            U16(wanted) => out.extend(fields.value::<u16>(wanted)?.to_be_bytes()),
            U32(wanted) => out.extend(fields.value::<u32>(wanted)?.to_be_bytes()),
            Time(wanted) => out.extend(fields.time(wanted)?.to_be_bytes()),
            Moment(wanted) => {
                let token = fields.next(wanted)?;
                let moment = fields::plain(token).and_then(moment);
                out.extend(moment.ok_or_else(|| token.unexpected(wanted))?.to_be_bytes());
            }
            Named(wanted, names, width) => {
                let token = fields.next(wanted)?;
                let number = fields::plain(token).and_then(|text| named(text, names));
                let number = number.ok_or_else(|| token.unexpected(wanted))?;
                match width {
                    Width::Two => out.extend(number.to_be_bytes()),
                    Width::One => {
                        let byte = u8::try_from(number).map_err(|_reason| token.unexpected(wanted));
                        out.push(byte?);
                    }
                }
            }
            Self::Name(wanted) => out.extend(rdata::wire_name(&fields.name(origin, wanted)?)),
            Text(wanted) => push_string(&fields.string(wanted)?, out),
            Texts(wanted) => {
                push_string(&fields.string(wanted)?, out);
                while !fields.is_empty() {
                    push_string(&fields.string(wanted)?, out);
                }
            }
            Bare(wanted) => out.extend(fields::octets(fields.next(wanted)?)?),
            V4 => out.extend(fields.value::<Ipv4Addr>("an IPv4 address")?.octets()),
            Hex(wanted) => out.extend(joined(fields, wanted, hex)?),
            Base64(wanted) => out.extend(joined(fields, wanted, base64)?),
            Groups(wanted, separator, bytes) => {
                let token = fields.next(wanted)?;
                let read = fields::plain(token).and_then(|text| groups(text, separator, bytes));
                out.extend(read.ok_or_else(|| token.unexpected(wanted))?);
            }
            Salt => sized(fields, "a salt in hexadecimal, or `-`", out, |text| match text {
                b"-" => Some(Vec::new()),
                text => hex(text),
            })?,
            Hash => sized(fields, "a hash in base 32", out, base32)?,
            Type => {
                let token = fields.next("a record type")?;
                out.extend(covered(token)?.to_be_bytes());
            }
            Types => {
                let mut types = Vec::new();
                while !fields.is_empty() {
                    types.push(covered(fields.next("a record type")?)?);
                }
                out.extend(bitmap(types));
            }
            Parameters => service_binding::parameters(fields, out)?,
        }
        Ok(())
    }
}

fn push_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(u8::try_from(bytes.len()).expect("strings have at most 255 bytes"));
    out.extend(bytes);
}

fn named(text: &str, names: &[(&str, u16)]) -> Option<u16> {
    let known = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    known.map(|(_, number)| *number).or_else(|| text.parse().ok())
}

fn covered(token: Token<'_>) -> Result<u16, SyntaxError> {
    let kind = fields::plain(token).and_then(rdata::record_type);
    kind.map(u16::from).ok_or_else(|| token.unexpected("a record type"))
}

/// All words that are left as one.
fn joined(
    fields: &mut Fields<'_, '_>,
    wanted: &'static str,
    read: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, SyntaxError> {
    let first = fields.next(wanted)?;
    let mut text = first.text.to_vec();
    while !fields.is_empty() {
        text.extend_from_slice(fields.next(wanted)?.text);
    }
    read(&text).ok_or_else(|| first.unexpected(wanted))
}

/// One word behind the length of what it stands for.
fn sized(
    fields: &mut Fields<'_, '_>,
    wanted: &'static str,
    out: &mut Vec<u8>,
    read: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<(), SyntaxError> {
    let token = fields.next(wanted)?;
    let bytes = read(token.text).filter(|bytes| bytes.len() <= 255);
    let bytes = bytes.ok_or_else(|| token.unexpected(wanted))?;
    push_string(&bytes, out);
    Ok(())
}

/// The bytes that digits of base 16 stand for, in either case.
fn hex(text: &[u8]) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(text).ok()
}

/// The bytes that digits of base 32 with extended hex alphabet stand for (RFC 4648 §7), in either case.
fn base32(text: &[u8]) -> Option<Vec<u8>> {
    BASE32HEX_NOPAD.decode(&text.to_ascii_uppercase()).ok()
}

/// The bytes that digits of base 64 stand for (RFC 4648 §4), with or without padding.
pub fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let padding = text.len() - end;
    if padding > 2 || padding > 0 && !text.len().is_multiple_of(4) {
        return None;
    }
    BASE64_NOPAD.decode(&text[..end]).ok()
}

fn groups(text: &str, separator: char, bytes: usize) -> Option<Vec<u8>> {
    let width = if separator == ':' { 4 } else { 2 };
    let groups: Vec<&str> = text.split(separator).collect();
    let fits = |group: &&str| !group.is_empty() && group.len() <= width;
    if groups.len() * width != bytes * 2 || !groups.iter().all(fits) {
        return None;
    }
    let padded: String = groups.iter().map(|group| format!("{group:0>width$}")).collect();
    hex(padded.as_bytes())
}

/// The types in windows of 256, each a bitmap as long as it has to be.
fn bitmap(mut types: Vec<u16>) -> Vec<u8> {
    types.sort_unstable();
    let mut out = Vec::new();
    for window in types.chunk_by(|a, b| a >> 8 == b >> 8) {
        let low = |kind: u16| usize::from(kind & 0xff);
        let last = window.last().copied().map_or(0, low);
        let mut bits = vec![0_u8; last / 8 + 1];
        for kind in window {
            bits[low(*kind) / 8] |= 0x80 >> (low(*kind) % 8);
        }
        out.push(u8::try_from(window[0] >> 8).expect("half of sixteen bits"));
        push_string(&bits, &mut out);
    }
    out
}

/// Seconds since 1970, modulo 2^32, or a date and a time.
fn moment(text: &str) -> Option<u32> {
    if text.len() != 14 {
        return text.parse().ok();
    }
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let legal = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !legal || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970, with years that begin in March so that a leap day is their last.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    u32::try_from((days * 86_400 + hour * 3_600 + minute * 60 + second) & 0xffff_ffff).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_for_whole_bytes() {
        for (text, bytes) in [
            ("", Some("")),
            ("Zm9vYg", Some("foob")),
            ("Zm9vYg==", Some("foob")),
            ("Zm9vYmE=", Some("fooba")),
            ("Zm9vYg=", None),
            ("Zm9v===", None),
            ("Zg==Zg==", None),
            ("Zh==", None), // Bits are left over.
            ("Z", None),
            ("Zm-v", None),
        ] {
            assert_eq!(base64(text.as_bytes()), bytes.map(|it| it.as_bytes().to_vec()), "{text}");
        }
        assert_eq!((hex(b"0aF0"), hex(b"0a1"), hex(b"0g")), (Some(vec![10, 0xf0]), None, None));
        assert_eq!((base32(b"CpNmu"), base32(b"cpnmv")), (Some(b"foo".to_vec()), None));
    }
}
