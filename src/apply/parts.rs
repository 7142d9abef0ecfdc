use bytes::BufMut as _;
use prost::Message;

/// Bytes of a part, unless one piece is longer.
const PART_BYTES: usize = 64 << 10;

/// A message as it is sent, in parts that lie apart, so that a long one is never copied nor freed as a whole.
///
/// Pieces of a message in the order of its fields, one behind the other, are the message.
#[derive(Debug, Default)]
pub struct Parts {
    parts: Vec<Vec<u8>>,
    len: usize,
}

impl Parts {
    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends fields of a message.
    pub fn message(&mut self, message: &impl Message) {
        let length = message.encoded_len();
        if length > 0 {
            message.encode_raw(self.room(length, 0));
            self.len += length;
        }
    }

    /// Appends the piece of `length` bytes that `write` writes; about `more` bytes will follow it.
    pub fn piece(&mut self, length: usize, more: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let part = self.room(length, more);
        let before = part.len();
        write(part);
        self.len += part.len() - before;
    }

    /// Appends all of another: short ones are copied.
    pub fn append(&mut self, mut other: Self) {
        if let [only] = &other.parts[..]
            && only.len() < PART_BYTES / 4
        {
            self.room(only.len(), 0).put_slice(only);
        } else {
            self.parts.append(&mut other.parts);
        }
        self.len += other.len;
    }

    /// The first bytes, for what is known last.
    pub fn first_mut(&mut self) -> &mut [u8] {
        self.parts.first_mut().map_or(&mut [], |first| first)
    }

    /// Where so many bytes go, and perhaps those behind them.
    fn room(&mut self, length: usize, more: usize) -> &mut Vec<u8> {
        let fits = |part: &Vec<u8>| part.len() + length <= PART_BYTES;
        if !self.parts.last().is_some_and(fits) {
            self.parts.push(Vec::with_capacity(length.max(PART_BYTES.min(length + more))));
        }
        self.parts.last_mut().expect("there is one that fits")
    }
}

impl IntoIterator for Parts {
    type Item = Vec<u8>;
    type IntoIter = std::vec::IntoIter<Vec<u8>>;

    fn into_iter(self) -> Self::IntoIter {
        self.parts.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::mvccpb::KeyValue;

    fn kv(value: usize) -> KeyValue {
        KeyValue { value: vec![7; value].into(), ..KeyValue::default() }
    }

    #[test]
    fn parts_are_the_message_and_none_is_long() {
        for sizes in [&[][..], &[0], &[9, 40_000, 9], &[40_000; 5], &[200_000, 1], &[300; 1000]] {
            let (mut parts, mut whole) = (Parts::default(), Vec::new());
            for (at, size) in sizes.iter().enumerate() {
                whole.extend(kv(*size).encode_to_vec());
                if at % 2 == 0 {
                    parts.message(&kv(*size));
                    continue;
                }
                let mut other = Parts::default();
                other.piece(size + 9, 9, |part| kv(*size).encode(part).unwrap());
                parts.append(other);
            }
            assert_eq!((parts.len(), parts.is_empty()), (whole.len(), whole.is_empty()));
            let parts: Vec<Vec<u8>> = parts.into_iter().collect();
            let longest = sizes.iter().max().map_or(0, |size| size + 9).max(PART_BYTES);
            assert!(parts.iter().all(|part| (1..=longest).contains(&part.len())), "{sizes:?}");
            assert!(parts.len() <= 1 + 2 * whole.len() / PART_BYTES, "{sizes:?}: {}", parts.len());
            assert!(parts.concat() == whole, "{sizes:?}");
        }
    }

    #[test]
    fn the_first_bytes_can_be_written_last() {
        let mut parts = Parts::default();
        assert!(parts.first_mut().is_empty());
        parts.piece(1, 0, |part| part.push(0));
        parts.message(&kv(PART_BYTES));
        parts.first_mut()[0] = 9;
        assert_eq!(parts.into_iter().next(), Some(vec![9]));
    }
}
