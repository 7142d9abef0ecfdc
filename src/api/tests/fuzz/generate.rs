//! Messages of any type, from its descriptor: fields at their limits, names that mean something here.

use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use crate::fuzz::Fuzz;

/// Messages in messages, at most.
const DEPTH: usize = 4;
const NUMBERS: [i64; 14] =
    [0, 1, 2, 3, 4, 5, 7, 9, -1, -5, 1000, 9_000_000_001, i64::MAX, i64::MIN];
const KEYS: [&[u8]; 9] = [b"", b"k", b"a", b"z", b"\0", b"l/3", b"e/3", b"\xff\xff", b"kk"];
const WORDS: [&str; 10] = [
    "",
    "root",
    "u",
    "r",
    "http://127.0.0.1:1",
    "http://h:0/x",
    "nonsense",
    "3.5",
    "3.5.0",
    "\u{e9}",
];

/// A message with some of its fields.
pub(super) fn message(fuzz: &mut Fuzz, kind: &MessageDescriptor) -> Vec<u8> {
    dynamic(fuzz, kind, 0).encode_to_vec()
}

fn dynamic(fuzz: &mut Fuzz, kind: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(kind.clone());
    for field in kind.fields() {
        if fuzz.below(3) == 0 || (depth >= DEPTH && matches!(field.kind(), Kind::Message(_))) {
            continue;
        }
        let value = if field.is_list() {
            let count = if fuzz.below(50) == 0 { 130 } else { fuzz.below(3) };
            let deeper = if count > 3 { DEPTH } else { depth };
            Value::List((0..count).map(|_| value(fuzz, &field, deeper)).collect())
        } else {
            value(fuzz, &field, depth)
        };
        message.set_field(&field, value);
    }
    message
}

fn value(fuzz: &mut Fuzz, field: &FieldDescriptor, depth: usize) -> Value {
    let number = NUMBERS[fuzz.below(NUMBERS.len())];
    match field.kind() {
        Kind::Bool => Value::Bool(number % 2 == 0),
        Kind::Int64 => Value::I64(number),
        Kind::Uint64 => Value::U64(number.cast_unsigned()),
        Kind::Uint32 => Value::U32(u32::try_from(number).unwrap_or(u32::MAX)),
        Kind::Enum(_) => Value::EnumNumber(i32::try_from(number).unwrap_or(i32::MIN)),
        Kind::String => Value::String(WORDS[fuzz.below(WORDS.len())].to_owned()),
        Kind::Bytes => {
            let key = KEYS[fuzz.below(KEYS.len())];
            Value::Bytes(if fuzz.below(40) == 0 { key.repeat(600) } else { key.to_vec() }.into())
        }
        Kind::Message(kind) => Value::Message(dynamic(fuzz, &kind, depth + 1)),
        kind => unreachable!("no field of ours is {kind:?}"),
    }
}
