use crate::transport::Pieces;

/// What stands before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Finds the messages in the bytes of a body.
#[derive(Debug)]
pub(super) struct Messages(Pieces<PREFIX_BYTES>);

impl Default for Messages {
    fn default() -> Self {
        Self(Pieces::behind(0))
    }
}

impl Messages {
    /// Messages that begin in this piece, and their bytes.
    pub(super) fn count(&mut self, data: &[u8]) -> (u64, u64) {
        let (mut messages, mut bytes) = (0, 0);
        self.0.feed(data, |[_, length @ ..]| {
            let length = u32::from_be_bytes(length) as usize;
            messages += 1;
            bytes += length as u64;
            length
        });
        (messages, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        let mut stream = Vec::new();
        for length in [0_u32, 1, 7, 300] {
            stream.push(0);
            stream.extend_from_slice(&length.to_be_bytes());
            stream.resize(stream.len() + length as usize, 9);
        }
        for piece in 1..stream.len() {
            let mut messages = Messages::default();
            let counted = stream.chunks(piece).map(|data| messages.count(data));
            let sum = counted.fold((0, 0), |sum, found| (sum.0 + found.0, sum.1 + found.1));
            assert_eq!(sum, (4, 308), "in pieces of {piece}");
        }
    }
}
