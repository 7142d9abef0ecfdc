use std::iter::{from_fn, once};

use bytes::{BufMut as _, Bytes};
use prost::Message as _;

use super::direct::PREFIX;
use crate::proto::etcdserverpb::RangeResponse;

/// Bytes of keys and values that are encoded at once.
const PART_BYTES: usize = 64 << 10;

/// A long range as it is sent, encoded part by part: as a whole it would be there twice, and whoever encoded it
/// would keep a core for as long. `length` is that of the message.
pub(super) fn of_range(range: RangeResponse, length: u32) -> impl Iterator<Item = Bytes> + Send {
    let RangeResponse { header, kvs, more, count } = range;
    let mut head = Vec::with_capacity(PREFIX + 64);
    head.put_u8(0);
    head.put_u32(length);
    let first = RangeResponse { header, ..RangeResponse::default() };
    first.encode_raw(&mut head);
    let mut kvs = kvs.into_iter();
    // Pieces of a message in the order of its fields, one behind the other, are the message.
    let middle = from_fn(move || {
        let mut part = RangeResponse::default();
        let mut bytes = 0;
        while bytes < PART_BYTES
            && let Some(kv) = kvs.next()
        {
            bytes += kv.key.len() + kv.value.len();
            part.kvs.push(kv);
        }
        (!part.kvs.is_empty()).then_some(part)
    });
    let last = once(RangeResponse { more, count, ..RangeResponse::default() });
    once(head.into()).chain(middle.chain(last).map(|part| part.encode_to_vec().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::etcdserverpb::ResponseHeader;
    use crate::proto::mvccpb::KeyValue;

    #[test]
    fn all_parts_together_are_the_message() {
        for (keys, value) in [(0, 0), (1, 5), (3, 40_000), (1000, 300), (2, 1 << 20)] {
            let kv = |number: i64| KeyValue {
                key: format!("key{number}").into(),
                value: vec![7; value].into(),
                create_revision: number,
                ..KeyValue::default()
            };
            let range = RangeResponse {
                header: Some(ResponseHeader { revision: 300, ..ResponseHeader::default() }),
                kvs: (0..keys).map(kv).collect(),
                more: true,
                count: keys + 7,
            };
            let whole = range.encode_to_vec();
            let length = u32::try_from(whole.len()).unwrap();
            let parts: Vec<Bytes> = of_range(range, length).collect();
            let longest = parts.iter().map(Bytes::len).max().unwrap();
            assert!(longest < 2 * PART_BYTES + value, "{longest}");
            let sent = parts.concat();
            assert_eq!(sent[..PREFIX], [&[0][..], &length.to_be_bytes()].concat());
            assert!(sent[PREFIX..] == whole, "{keys} keys of {value} bytes");
        }
    }
}
