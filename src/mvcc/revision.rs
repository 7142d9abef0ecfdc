use std::fmt;

/// Where a record stands: the revision of its write, and its place inside that write.
///
/// On disk 12 bytes, both numbers big-endian, so that byte order is revision order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision {
    /// Not negative; the first write of a cluster makes 2.
    pub main: i64,
    pub sub: u32,
}

impl Revision {
    /// The first place in a revision.
    pub fn start_of(main: i64) -> Self {
        Self { main, sub: 0 }
    }

    /// The form in which it is a key on disk.
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.main.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sub.to_be_bytes());
        bytes
    }

    /// The key of a record in etcd's own file: 17 bytes, or 18 for a tombstone
    /// (etcd `server/storage/mvcc/revision.go`).
    pub fn to_etcd(self, tombstone: bool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(18);
        bytes.extend_from_slice(&self.main.to_be_bytes());
        bytes.push(b'_');
        bytes.extend_from_slice(&i64::from(self.sub).to_be_bytes());
        if tombstone {
            bytes.push(b't');
        }
        bytes
    }

    /// The reverse of [`Self::to_etcd`]; `None` when the bytes are no such key.
    pub fn from_etcd(bytes: &[u8]) -> Option<(Self, bool)> {
        let (main, rest) = bytes.split_first_chunk()?;
        let (sub, rest) = rest.strip_prefix(b"_")?.split_first_chunk()?;
        let (main, sub) = (i64::from_be_bytes(*main), i64::from_be_bytes(*sub));
        let tombstone = match rest {
            b"" => false,
            b"t" => true,
            _ => return None,
        };
        (main >= 0).then_some(())?;
        Some((Self { main, sub: u32::try_from(sub).ok()? }, tombstone))
    }

    /// The reverse of [`Self::to_bytes`].
    pub fn from_bytes(bytes: [u8; 12]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Self {
            main: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            sub: u32::from_be_bytes([i, j, k, l]),
        }
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.main, self.sub)
    }
}
