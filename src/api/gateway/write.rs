//! Messages -> JSON, as grpc-gateway v1 writes it: proto names, no default values, 64-bit numbers as
//! text, bytes as base64, enumerations by name.

use std::fmt::Write as _;

use data_encoding::BASE64;
use prost_reflect::{DynamicMessage, Kind, ReflectMessage as _, Value};

pub(super) fn message(message: &DynamicMessage, to: &mut String) {
    to.push('{');
    let mut first = true;
    for field in message.descriptor().fields() {
        if !message.has_field(&field) {
            continue;
        }
        let value = message.get_field(&field);
        if !field.supports_presence() && value.is_default(&field.kind()) {
            continue;
        }
        if !std::mem::take(&mut first) {
            to.push(',');
        }
        text(field.name(), to);
        to.push(':');
        match value.as_ref() {
            Value::List(items) => {
                to.push('[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        to.push(',');
                    }
                    single(item, &field.kind(), to);
                }
                to.push(']');
            }
            value => single(value, &field.kind(), to),
        }
    }
    to.push('}');
}

fn single(value: &Value, kind: &Kind, to: &mut String) {
    let written = match value {
        Value::Message(inner) => {
            message(inner, to);
            Ok(())
        }
        Value::Bytes(bytes) => {
            to.push('"');
            BASE64.encode_append(bytes, to);
            to.push('"');
            Ok(())
        }
        Value::String(string) => {
            text(string, to);
            Ok(())
        }
        Value::EnumNumber(number) => {
            let name = kind.as_enum().and_then(|kind| kind.get_value(*number));
            match name {
                Some(value) => write!(to, "\"{}\"", value.name()),
                None => write!(to, "{number}"),
            }
        }
        Value::Bool(value) => write!(to, "{value}"),
        Value::I64(value) => write!(to, "\"{value}\""),
        Value::U64(value) => write!(to, "\"{value}\""),
        Value::I32(value) => write!(to, "{value}"),
        Value::U32(value) => write!(to, "{value}"),
        Value::F32(value) => write!(to, "{value}"),
        Value::F64(value) => write!(to, "{value}"),
        Value::List(_) | Value::Map(_) => Ok(()),
    };
    written.expect("writing to a string cannot fail");
}

/// A JSON text with Go's escapes, which keep it harmless inside HTML.
pub(super) fn text(text: &str, to: &mut String) {
    to.push('"');
    for c in text.chars() {
        let written = match c {
            '"' => to.write_str("\\\""),
            '\\' => to.write_str("\\\\"),
            '\n' => to.write_str("\\n"),
            '\r' => to.write_str("\\r"),
            '\t' => to.write_str("\\t"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                write!(to, "\\u{:04x}", u32::from(c))
            }
            c => to.write_char(c),
        };
        written.expect("writing to a string cannot fail");
    }
    to.push('"');
}
