//! JSON values -> messages, as the `jsonpb` of grpc-gateway v1 does it: lenient where it is, with its words.

use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value,
};

use super::parse::{self, Json};
use crate::api::base64;

/// Reads one message. Unknown names are ignored; `null` means not given.
pub(super) fn message(json: &Json, kind: &MessageDescriptor) -> Result<DynamicMessage, String> {
    let mut message = DynamicMessage::new(kind.clone());
    let members = match json {
        Json::Object(members) => members,
        Json::Null => return Ok(message),
        other => return Err(unfit(other, "map[string]json.RawMessage")),
    };
    // jsonpb looks for the members of a oneof last.
    let (alternatives, plain): (Vec<_>, Vec<_>) =
        kind.fields().partition(|field| field.containing_oneof().is_some());
    for field in plain.into_iter().chain(alternatives) {
        // Either spelling will do, and the camel one wins.
        let given = members.get(field.json_name()).or_else(|| members.get(field.name()));
        let Some(given) = given.filter(|given| **given != Json::Null) else { continue };
        let value = if field.is_list() { list(given, &field)? } else { single(given, &field)? };
        if let Some(value) = value {
            message.set_field(&field, value);
        }
    }
    Ok(message)
}

fn list(json: &Json, field: &FieldDescriptor) -> Result<Option<Value>, String> {
    let Json::List(items) = json else { return Err(unfit(json, "[]json.RawMessage")) };
    let mut values = Vec::with_capacity(items.len());
    for item in items {
        let nothing = || Value::default_value(&field.kind());
        values.push(single(item, field)?.unwrap_or_else(nothing));
    }
    Ok(Some(Value::List(values)))
}

/// One value; `None` where Go leaves the field as it is.
fn single(json: &Json, field: &FieldDescriptor) -> Result<Option<Value>, String> {
    if *json == Json::Null {
        return Ok(None);
    }
    let value = match field.kind() {
        Kind::Message(kind) => Value::Message(message(json, &kind)?),
        Kind::Enum(kind) => return enumeration(json, &kind),
        Kind::Bytes => match json {
            Json::Text { text, .. } => Value::Bytes(bytes(text)?),
            // Go reads a list of numbers into bytes as well.
            Json::List(items) => {
                let bytes: Result<Vec<u8>, String> = items.iter().map(byte).collect();
                Value::Bytes(bytes?.into())
            }
            other => return Err(unfit(other, "[]uint8")),
        },
        Kind::String => match json {
            Json::Text { text, .. } => Value::String(text.clone()),
            other => return Err(unfit(other, "string")),
        },
        Kind::Bool => match json {
            Json::Bool(value) => Value::Bool(*value),
            other => return Err(unfit(other, "bool")),
        },
        Kind::Int64 => return number(json, "int64", Value::I64),
        Kind::Uint64 => return number(json, "uint64", Value::U64),
        Kind::Int32 => return number(json, "int32", Value::I32),
        Kind::Uint32 => return number(json, "uint32", Value::U32),
        // The API has no others.
        other => return Err(unfit(json, &format!("{other:?}"))),
    };
    Ok(Some(value))
}

fn bytes(text: &str) -> Result<bytes::Bytes, String> {
    let decoded = base64::decode(text.as_bytes());
    let decoded = decoded.map_err(|at| format!("illegal base64 data at input byte {at}"))?;
    Ok(decoded.into())
}

fn byte(json: &Json) -> Result<u8, String> {
    match json {
        Json::Null => Ok(0),
        Json::Number(spelled) => spelled.parse().ok().ok_or_else(|| unfit_number(spelled, "uint8")),
        other => Err(unfit(other, "uint8")),
    }
}

/// A number, or one in quotes.
fn number<N: std::str::FromStr>(
    json: &Json,
    kind: &str,
    value: impl Fn(N) -> Value,
) -> Result<Option<Value>, String> {
    match json {
        Json::Text { raw, .. } => {
            let inside = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
            match parse::whole(inside.as_bytes())? {
                Json::Null => Ok(None),
                Json::Number(spelled) => number(&Json::Number(spelled), kind, value),
                other => Err(unfit(&other, kind)),
            }
        }
        Json::Number(spelled) => {
            let parsed = spelled.parse().ok().map(value);
            parsed.map(Some).ok_or_else(|| unfit_number(spelled, kind))
        }
        other => Err(unfit(other, kind)),
    }
}

/// A name of the enumeration, or any number.
fn enumeration(json: &Json, kind: &EnumDescriptor) -> Result<Option<Value>, String> {
    if let Json::Text { text, raw } = json {
        let named = kind.get_value_by_name(text);
        let unknown = || format!("unknown value {} for enum {}", quoted(raw), kind.full_name());
        return named.map(|value| Some(Value::EnumNumber(value.number()))).ok_or_else(unknown);
    }
    number(json, "protoreflect.EnumNumber", Value::EnumNumber)
}

/// Go's `%q`, for text that is JSON itself.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

fn unfit(json: &Json, kind: &str) -> String {
    format!("json: cannot unmarshal {} into Go value of type {kind}", json.kind())
}

fn unfit_number(spelled: &str, kind: &str) -> String {
    format!("json: cannot unmarshal number {spelled} into Go value of type {kind}")
}
