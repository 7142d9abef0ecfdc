//! Protobuf messages as one line of JSON in which bytes are text, and long things are short.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde_json::Value as Json;

/// Bytes beyond this are shown as their number.
const SHOWN: usize = 120;

/// Makes a message of JSON.
///
/// Bytes are text of one byte a character. `{"times":3,"of":X}` is a list of three X, in which `#` stands for the
/// number of each, or text that is repeated.
pub fn read(kind: &MessageDescriptor, json: &Json) -> DynamicMessage {
    let mut message = DynamicMessage::new(kind.clone());
    for (name, json) in json.as_object().expect("a message is an object") {
        let field = kind.get_field_by_name(name).unwrap_or_else(|| panic!("no {name} in {kind:?}"));
        let value = if field.is_list() {
            Value::List(items(json).iter().map(|json| single(&field, json)).collect())
        } else {
            single(&field, json)
        };
        message.set_field(&field, value);
    }
    message
}

fn items(json: &Json) -> Vec<Json> {
    let Some(times) = json.get("times") else { return json.as_array().unwrap().clone() };
    let of = json["of"].to_string();
    (0..times.as_u64().unwrap())
        .map(|n| serde_json::from_str(&of.replace('#', &n.to_string())).unwrap())
        .collect()
}

fn text(json: &Json) -> String {
    match json.get("times") {
        Some(times) => {
            json["of"].as_str().unwrap().repeat(times.as_u64().unwrap().try_into().unwrap())
        }
        None => json.as_str().unwrap().to_owned(),
    }
}

fn single(field: &FieldDescriptor, json: &Json) -> Value {
    let signed = || json.as_i64().unwrap_or_else(|| panic!("{} is {json}", field.name()));
    match field.kind() {
        Kind::Bytes => {
            let bytes = text(json).chars().map(|c| u8::try_from(c).unwrap()).collect::<Vec<u8>>();
            Value::Bytes(bytes.into())
        }
        Kind::String => Value::String(text(json)),
        Kind::Bool => Value::Bool(json.as_bool().unwrap()),
        Kind::Int64 => Value::I64(signed()),
        Kind::Uint64 => Value::U64(json.as_u64().unwrap()),
        Kind::Uint32 => Value::U32(json.as_u64().unwrap().try_into().unwrap()),
        Kind::Enum(kind) => Value::EnumNumber(match json.as_str() {
            Some(name) => kind.get_value_by_name(name).unwrap().number(),
            None => signed().try_into().unwrap(),
        }),
        Kind::Message(kind) => Value::Message(read(&kind, json)),
        other => panic!("{}: no {other:?} in these messages", field.name()),
    }
}

/// What a field with a number of the run shows instead.
pub type Name<'a> = dyn Fn(&FieldDescriptor, u64) -> Option<String> + 'a;

/// The message on one line, fields in the order of their numbers, without those that are not set.
pub fn show(message: &DynamicMessage, name: &Name<'_>) -> String {
    let fields = message
        .fields()
        .filter(|(field, _)| !is_left_out(field))
        .map(|(field, value)| format!("\"{}\":{}", field.name(), show_value(&field, value, name)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// Fields that came after 3.5, and sizes.
fn is_left_out(field: &FieldDescriptor) -> bool {
    matches!(
        field.full_name().trim_start_matches("etcdserverpb."),
        "HashKVResponse.hash_revision"
            | "SnapshotResponse.version"
            // Of an empty store it is 0 with us.
            | "StatusResponse.dbSizeInUse"
            | "StatusResponse.storageVersion"
            | "StatusResponse.dbSizeQuota"
            | "StatusResponse.downgradeInfo"
    )
}

fn show_value(field: &FieldDescriptor, value: &Value, name: &Name<'_>) -> String {
    let number = |number: u64, shown: String| name(field, number).unwrap_or(shown);
    match value {
        Value::List(list) => {
            let items = list.iter().map(|value| show_value(field, value, name));
            let mut items: Vec<String> = items.collect();
            if field.name() == "members" {
                // They come in the order of their ids.
                items.sort_unstable();
            }
            format!("[{}]", items.join(","))
        }
        Value::Map(map) => {
            let kind = field.kind();
            let of = kind.as_message().expect("a map is of entries").map_entry_value_field();
            let items = map.iter().map(|(key, value)| {
                let key = Json::String(key.as_str().unwrap_or_default().to_owned());
                format!("{key}:{}", show_value(&of, value, name))
            });
            let mut items: Vec<String> = items.collect();
            items.sort_unstable();
            format!("{{{}}}", items.join(","))
        }
        Value::Message(message) => show(message, name),
        Value::Bytes(bytes) if bytes.len() > SHOWN => format!("({} bytes)", bytes.len()),
        Value::Bytes(bytes) => {
            Json::String(bytes.iter().map(|byte| char::from(*byte)).collect()).to_string()
        }
        Value::String(text) => {
            name(field, 0).unwrap_or_else(|| Json::String(text.clone()).to_string())
        }
        Value::I64(value) => number(value.cast_unsigned(), value.to_string()),
        Value::U64(value) => number(*value, value.to_string()),
        Value::U32(value) => number(u64::from(*value), value.to_string()),
        Value::Bool(value) => value.to_string(),
        Value::EnumNumber(value) => {
            let Kind::Enum(kind) = field.kind() else { return value.to_string() };
            kind.get_value(*value)
                .map_or_else(|| value.to_string(), |it| format!("\"{}\"", it.name()))
        }
        other => format!("{other:?}"),
    }
}
