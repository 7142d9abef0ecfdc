use bytes::Bytes;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

use super::{Event, KeyValue, Revision};

const TOMBSTONE: u8 = 1;
const LEASED: u8 = 2;

/// A record where it lies in the storage, without a copy of its bytes.
///
/// On disk, under the 12 bytes of its revision (which are its mod revision):
///
/// | bytes | content |
/// | --- | --- |
/// | 1 | flags: 1 tombstone, 2 has a lease |
/// | 1-10 | create revision, varint (a tombstone has none of the next three) |
/// | 1-10 | version, varint |
/// | 8 | lease id, little-endian, only if flagged |
/// | 1-5 | length of the key, varint |
/// | n | key |
/// | rest | value |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventRef<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub create_revision: i64,
    pub mod_revision: i64,
    pub version: i64,
    pub lease: i64,
    pub deleted: bool,
}

impl<'a> EventRef<'a> {
    /// Reads a record; `None` when the bytes are none.
    pub fn decode(at: Revision, bytes: &'a [u8]) -> Option<Self> {
        let (flags, mut rest) = bytes.split_first()?;
        let deleted = flags & TOMBSTONE != 0;
        if flags & !(TOMBSTONE | LEASED) != 0 {
            return None;
        }
        let (mut create_revision, mut version, mut lease) = (0, 0, 0);
        if !deleted {
            create_revision = number(&mut rest)?;
            version = number(&mut rest)?;
            if flags & LEASED != 0 {
                let (id, after) = rest.split_first_chunk()?;
                lease = i64::from_le_bytes(*id);
                rest = after;
            }
        }
        let key_len = usize::try_from(number(&mut rest)?).ok()?;
        let (key, value) = rest.split_at_checked(key_len)?;
        let mod_revision = at.main;
        Some(Self { key, value, create_revision, mod_revision, version, lease, deleted })
    }

    /// A record that owns its bytes.
    pub fn to_event(&self) -> Event {
        Event {
            kv: KeyValue {
                key: Bytes::copy_from_slice(self.key),
                value: Bytes::copy_from_slice(self.value),
                create_revision: self.create_revision,
                mod_revision: self.mod_revision,
                version: self.version,
                lease: self.lease,
            },
            deleted: self.deleted,
        }
    }

    /// The form on disk.
    pub fn to_bytes(&self) -> Bytes {
        const NUMBERS: usize = 1 + 10 + 10 + 8 + 5;
        let mut bytes = Vec::with_capacity(NUMBERS + self.key.len() + self.value.len());
        self.encode(&mut bytes);
        // Not a byte more than that, since many are kept.
        bytes.into_boxed_slice().into()
    }

    /// Appends the form on disk.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let leased = if self.lease == 0 { 0 } else { LEASED };
        if self.deleted {
            to.push(TOMBSTONE);
        } else {
            to.push(leased);
            encode_varint(self.create_revision.cast_unsigned(), to);
            encode_varint(self.version.cast_unsigned(), to);
            if self.lease != 0 {
                to.extend_from_slice(&self.lease.to_le_bytes());
            }
        }
        encode_varint(self.key.len() as u64, to);
        to.extend_from_slice(self.key);
        to.extend_from_slice(self.value);
    }
}

impl EventRef<'_> {
    /// How many bytes [`Self::marshal`] appends.
    pub fn marshalled_len(&self) -> usize {
        let key = piece_len(self.key);
        if self.deleted {
            return key;
        }
        let numbers = [self.create_revision, self.mod_revision, self.version, self.lease];
        key + piece_len(self.value) + numbers.into_iter().map(number_len).sum::<usize>()
    }

    /// Appends etcd's bytes of the record, a marshalled `mvccpb.KeyValue`: a tombstone holds nothing
    /// but its key.
    pub fn marshal(&self, to: &mut Vec<u8>) {
        piece(1, self.key, to);
        if self.deleted {
            return;
        }
        let numbers = [(2, self.create_revision), (3, self.mod_revision), (4, self.version)];
        for (tag, number) in numbers {
            varint(tag, number, to);
        }
        piece(5, self.value, to);
        varint(6, self.lease, to);
    }
}

/// Bytes of a protobuf message; none are left out.
fn piece(tag: u8, bytes: &[u8], to: &mut Vec<u8>) {
    if !bytes.is_empty() {
        to.push(tag << 3 | 2);
        encode_varint(bytes.len() as u64, to);
        to.extend_from_slice(bytes);
    }
}

fn piece_len(bytes: &[u8]) -> usize {
    if bytes.is_empty() { 0 } else { 1 + encoded_len_varint(bytes.len() as u64) + bytes.len() }
}

fn number_len(number: i64) -> usize {
    if number == 0 { 0 } else { 1 + encoded_len_varint(number.cast_unsigned()) }
}

/// A number of a protobuf message; zero is left out.
fn varint(tag: u8, number: i64, to: &mut Vec<u8>) {
    if number != 0 {
        to.push(tag << 3);
        encode_varint(number.cast_unsigned(), to);
    }
}

impl Event {
    /// Reads a record, whose bytes its key and value share; `None` when the bytes are none.
    pub fn decode(at: Revision, bytes: &Bytes) -> Option<Self> {
        let record = EventRef::decode(at, bytes)?;
        Some(Self {
            kv: KeyValue {
                key: bytes.slice_ref(record.key),
                value: bytes.slice_ref(record.value),
                create_revision: record.create_revision,
                mod_revision: record.mod_revision,
                version: record.version,
                lease: record.lease,
            },
            deleted: record.deleted,
        })
    }

    /// The record without its ownership.
    pub fn as_ref(&self) -> EventRef<'_> {
        EventRef {
            key: &self.kv.key,
            value: &self.kv.value,
            create_revision: self.kv.create_revision,
            mod_revision: self.kv.mod_revision,
            version: self.kv.version,
            lease: self.kv.lease,
            deleted: self.deleted,
        }
    }
}

fn number(bytes: &mut &[u8]) -> Option<i64> {
    decode_varint(bytes).ok().map(u64::cast_signed)
}
