/// Lengths and offsets of a header and of what stands behind a name in a question.
pub(super) const HEADER: usize = 12;
const NAME_LIMIT: usize = 255;
const LABELS: usize = 128;
const OPT: u8 = 41;
/// An OPT record without options: root, type, size, code and version, flags, length.
const OPT_LENGTH: usize = 11;

/// A message of the usual shape: one question of class IN, and perhaps a plain OPT record.
///
/// Anything else is somebody else's work: options, signatures, other classes and operations.
#[derive(Debug)]
pub struct Question {
    /// The name in wire form, lower case.
    name: [u8; NAME_LIMIT],
    length: usize,
    /// Where each label begins, and the hash of the name from there on.
    labels: [(u8, u32); LABELS],
    count: usize,
    recursion_desired: bool,
    pub(super) kind: u16,
    pub(super) edns: Option<Edns>,
}

/// What a plain OPT record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edns {
    pub(super) size: u16,
    pub(super) dnssec_ok: bool,
}

/// A name, or the end of one, with its hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Suffix<'q> {
    pub(super) name: &'q [u8],
    pub(super) hash: u32,
}

impl Question {
    /// Room for a question; [`read`](Self::read) fills it again and again.
    pub fn new() -> Self {
        Self {
            name: [0; NAME_LIMIT],
            length: 0,
            labels: [(0, 0); LABELS],
            count: 0,
            recursion_desired: false,
            kind: 0,
            edns: None,
        }
    }

    /// Takes the question of a message; false if the message has another shape.
    pub fn read(&mut self, packet: &[u8]) -> bool {
        self.try_read(packet).is_some()
    }

    fn try_read(&mut self, packet: &[u8]) -> Option<()> {
        let &[_, _, high, low, 0, 1, 0, 0, 0, 0, 0, additional @ 0..=1] = packet.get(..HEADER)?
        else {
            return None;
        };
        // Of the flags only RD, AD and CD may be set.
        if high & 0xfe != 0 || low & 0xcf != 0 {
            return None;
        }
        self.recursion_desired = high & 0x01 != 0;
        let rest = self.read_name(&packet[HEADER..])?;
        let (&[kind0, kind1, 0, 1], rest) = rest.split_first_chunk()? else { return None };
        self.kind = u16::from_be_bytes([kind0, kind1]);
        // Types that only questions have, or that belong to one message.
        if matches!(self.kind, 0 | 41 | 128..=255) {
            return None;
        }
        self.edns = match (additional, rest) {
            (0, []) => None,
            (1, &[0, 0, OPT, size0, size1, 0, 0, flags, 0, 0, 0]) if flags & 0x7f == 0 => {
                let size = u16::from_be_bytes([size0, size1]);
                Some(Edns { size, dnssec_ok: flags != 0 })
            }
            _ => return None,
        };
        Some(())
    }

    fn read_name<'p>(&mut self, bytes: &'p [u8]) -> Option<&'p [u8]> {
        let mut at = 0;
        self.count = 0;
        loop {
            let length = usize::from(*bytes.get(at)?);
            if length == 0 {
                break;
            }
            // No pointers: there is nothing before that they could lead to.
            if length > 63 || at + length + 2 > NAME_LIMIT {
                return None;
            }
            let label = bytes.get(at + 1..at + 1 + length)?;
            self.name[at] = u8::try_from(length).ok()?;
            for (lower, byte) in self.name[at + 1..].iter_mut().zip(label) {
                *lower = byte.to_ascii_lowercase();
            }
            self.labels[self.count].0 = u8::try_from(at).ok()?;
            self.count += 1;
            at += 1 + length;
        }
        self.name[at] = 0;
        self.length = at + 1;
        let mut hash = 0;
        for (start, slot) in self.labels[..self.count].iter_mut().rev() {
            let start = usize::from(*start);
            let end = start + 1 + usize::from(self.name[start]);
            hash = hash_label(hash, &self.name[start + 1..end]);
            *slot = hash;
        }
        bytes.get(self.length..)
    }

    /// The type that is asked for.
    pub fn kind(&self) -> u16 {
        self.kind
    }

    /// Whether the client wants others to be asked (RD).
    pub fn recursion_desired(&self) -> bool {
        self.recursion_desired
    }

    /// Where the question ends in the message.
    pub fn end(&self) -> usize {
        HEADER + self.wire_length()
    }

    /// The length of the question in the message: name, type and class.
    fn wire_length(&self) -> usize {
        self.length + 4
    }

    /// The name that is asked for, in wire form and lower case.
    pub fn name(&self) -> &[u8] {
        &self.name[..self.length]
    }

    /// Whether a message may have so many bytes of records besides header, question and OPT.
    ///
    /// Without EDNS it has at most `plain` bytes; with it what the client takes, but at most `edns`.
    pub(super) fn has_room(&self, length: usize, plain: u16, edns: u16) -> bool {
        let limit = self.edns.map_or(plain, |asked| asked.size.clamp(plain, edns));
        HEADER + self.wire_length() + length + self.opt_length() <= limit.into()
    }

    /// The name, then its parent, and so on up to the root.
    pub(super) fn suffixes(&self) -> impl Iterator<Item = Suffix<'_>> {
        let suffix = |(start, hash): &(u8, u32)| Suffix {
            name: &self.name[usize::from(*start)..self.length],
            hash: *hash,
        };
        let root = Suffix { name: &self.name[self.length - 1..self.length], hash: 0 };
        self.labels[..self.count].iter().map(suffix).chain([root])
    }

    /// The label right below a name of the question, `depth` labels below the root.
    pub(super) fn label_below(&self, depth: usize) -> Option<&[u8]> {
        let start = usize::from(self.labels[self.count.checked_sub(depth + 1)?].0);
        let length = usize::from(self.name[start]);
        Some(&self.name[start + 1..start + 1 + length])
    }

    /// The bytes that the OPT record of the answer has.
    fn opt_length(&self) -> usize {
        self.edns.map_or(0, |_| OPT_LENGTH)
    }
}

impl Default for Question {
    fn default() -> Self {
        Self::new()
    }
}

/// The hash of a name from that of its parent and its first label, in lower case.
pub(super) fn hash_label(parent: u32, label: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = (u64::from(parent) << 8 | label.len() as u64).wrapping_mul(FACTOR);
    for chunk in label.chunks(8) {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(bytes)).wrapping_mul(FACTOR);
        hash ^= hash >> 32;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the upper half is mixed in")]
    let folded = (hash ^ hash >> 29) as u32;
    folded
}
