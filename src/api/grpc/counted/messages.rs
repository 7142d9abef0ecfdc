/// Finds the messages in the bytes of a body.
#[derive(Debug, Default)]
pub(super) struct Messages {
    prefix: [u8; 5],
    have: usize,
    /// Bytes of the present message that are still to come.
    rest: usize,
}

impl Messages {
    /// Messages that begin in this piece, and their bytes.
    pub(super) fn count(&mut self, mut data: &[u8]) -> (u64, u64) {
        let (mut messages, mut bytes) = (0, 0);
        while !data.is_empty() {
            let skipped = self.rest.min(data.len());
            self.rest -= skipped;
            data = &data[skipped..];
            let taken = (self.prefix.len() - self.have).min(data.len());
            self.prefix[self.have..self.have + taken].copy_from_slice(&data[..taken]);
            self.have += taken;
            data = &data[taken..];
            if self.have == self.prefix.len() {
                let [_, length @ ..] = self.prefix;
                self.have = 0;
                self.rest = u32::from_be_bytes(length) as usize;
                messages += 1;
                bytes += self.rest as u64;
            }
        }
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
