//! Bodies behind heads of one length, found in a stream of bytes however it is cut.

/// Follows a stream in which each head tells how long its body is.
#[derive(Debug)]
pub(crate) struct Pieces<const HEAD: usize> {
    head: [u8; HEAD],
    have: usize,
    /// Bytes of the present body that are still to come.
    left: usize,
}

impl<const HEAD: usize> Pieces<HEAD> {
    /// Pieces that begin behind so many bytes.
    pub(crate) fn behind(left: usize) -> Self {
        Self { head: [0; HEAD], have: 0, left }
    }

    /// Calls `body` with the heads that end within these bytes, for the lengths of their bodies.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut body: impl FnMut([u8; HEAD]) -> usize) {
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEAD {
                self.have = 0;
                self.left = body(self.head);
            }
        }
    }

    /// Whether the next byte begins a head.
    pub(crate) fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_found_however_the_bytes_are_cut() {
        let lengths = [0_u8, 1, 7, 200];
        let mut stream = vec![9; 3];
        for length in lengths {
            stream.extend_from_slice(&[1, length]);
            stream.resize(stream.len() + usize::from(length), 9);
        }
        for piece in 1..stream.len() {
            let mut pieces = Pieces::<2>::behind(3);
            let mut found = Vec::new();
            for bytes in stream.chunks(piece) {
                pieces.feed(bytes, |[one, length]| {
                    assert_eq!(one, 1);
                    found.push(length);
                    length.into()
                });
            }
            assert_eq!(found, lengths, "in pieces of {piece}");
            assert!(pieces.is_between());
        }
    }
}
