use std::fmt::Write as _;

use hickory_proto::rr::{RData, Record, RecordType};
use hickory_proto::serialize::binary::BinEncodable;

/// A record as a line of a master file that [`parse`](super::parse()) reads back; names are absolute.
pub fn print(record: &Record) -> String {
    let data = match &record.data {
        data @ (RData::A(_)
        | RData::AAAA(_)
        | RData::CNAME(_)
        | RData::NS(_)
        | RData::PTR(_)
        | RData::MX(_)
        | RData::SRV(_)
        | RData::SOA(_)) => data.to_string(),
        RData::TXT(txt) => {
            txt.txt_data.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" ")
        }
        data => generic(data),
    };
    format!("{} {} IN {} {data}", record.name.to_ascii(), record.ttl, kind(record))
}

/// The mnemonic if the message library has one.
fn kind(record: &Record) -> String {
    match record.record_type() {
        RecordType::Unknown(number) => format!("TYPE{number}"),
        known => known.to_string(),
    }
}

/// `\# length hexadecimal` (RFC 3597 §5).
fn generic(data: &RData) -> String {
    let bytes = data.to_bytes().unwrap_or_default();
    let mut text = format!("\\# {}", bytes.len());
    for byte in bytes {
        write!(text, " {byte:02x}").expect("a string takes everything");
    }
    text
}

fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => write!(text, "\\{byte:03}").expect("a string takes everything"),
        }
    }
    text.push('"');
    text
}
