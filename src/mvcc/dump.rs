use std::io::{self, Read};

use bytes::Bytes;
use prost::encoding::{decode_varint, encode_varint};

use super::{Applied, EventRef, Revision};

const MAGIC: [u8; 8] = *b"QRMDUMP\n";
const VERSION: u32 = 1;
const META: u8 = 1;
const RECORDS: u8 = 2;
const END: u8 = 3;
const BLOCK_BYTES: usize = 64 * 1024;
/// A record can be as large as a request may be; anything above this is no dump of ours.
const MAX_BLOCK_BYTES: u32 = 1 << 30;

/// Writes a whole state, records and meta, as one stream: what a lagging member is sent.
///
/// All numbers are little-endian unless named otherwise.
///
/// | bytes | content |
/// | --- | --- |
/// | 8 | `QRMDUMP\n` |
/// | 4 | version of this format: 1 |
/// | 8, 8 | applied index, applied term |
/// | 4 | CRC-32C of the 28 bytes before |
///
/// Then blocks; the last is an end block, and nothing follows it:
///
/// | bytes | content |
/// | --- | --- |
/// | 1 | kind: 1 meta, 2 records, 3 end |
/// | 4 | n, length of the payload |
/// | 4 | CRC-32C of kind, length and payload |
/// | n | payload |
///
/// Meta: (varint length, key, varint length, value) repeated. Records: (12 bytes revision as on disk,
/// varint length, record as on disk) repeated, ascending. End: 8 bytes, how many records there were.
#[derive(Debug)]
pub struct DumpWriter {
    out: Vec<u8>,
    block: Vec<u8>,
    kind: u8,
    records: u64,
    scratch: Vec<u8>,
}

/// One thing a dump holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dump<'a> {
    Meta { key: &'a [u8], value: &'a [u8] },
    Record { at: Revision, record: EventRef<'a>, encoded: &'a [u8] },
}

/// Reads what [`DumpWriter`] wrote.
#[derive(Debug)]
pub struct DumpReader<R> {
    from: R,
    applied: Applied,
}

/// Why bytes are no dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    #[error("the dump cannot be read")]
    Io(#[from] io::Error),
    #[error("the dump is corrupt: {0}")]
    Corrupt(&'static str),
    #[error("the dump has format version {found}, this program reads up to {VERSION}")]
    Newer { found: u32 },
}

impl DumpWriter {
    /// Starts a dump of the state that contains the log up to `applied`.
    pub fn new(applied: Applied) -> Self {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&applied.index.to_le_bytes());
        out.extend_from_slice(&applied.term.to_le_bytes());
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        Self { out, block: Vec::new(), kind: META, records: 0, scratch: Vec::new() }
    }

    /// Adds a small value.
    pub fn meta(&mut self, key: &[u8], value: &[u8]) {
        self.open(META);
        encode_varint(key.len() as u64, &mut self.block);
        self.block.extend_from_slice(key);
        encode_varint(value.len() as u64, &mut self.block);
        self.block.extend_from_slice(value);
    }

    /// Adds a record; they come in ascending order.
    pub fn record(&mut self, at: Revision, record: EventRef<'_>) {
        let mut encoded = std::mem::take(&mut self.scratch);
        encoded.clear();
        record.encode(&mut encoded);
        self.encoded_record(at, &encoded);
        self.scratch = encoded;
    }

    /// Adds a record in the form in which it lies on disk.
    pub fn encoded_record(&mut self, at: Revision, encoded: &[u8]) {
        self.open(RECORDS);
        self.block.extend_from_slice(&at.to_bytes());
        encode_varint(encoded.len() as u64, &mut self.block);
        self.block.extend_from_slice(encoded);
        self.records += 1;
    }

    /// What has been written so far, once it is worth sending.
    pub fn take_ready(&mut self) -> Option<Bytes> {
        (self.out.len() >= BLOCK_BYTES).then(|| std::mem::take(&mut self.out).into())
    }

    /// Ends the dump: the bytes not yet taken.
    pub fn finish(mut self) -> Bytes {
        self.seal();
        self.kind = END;
        self.block.extend_from_slice(&self.records.to_le_bytes());
        self.seal();
        self.out.into()
    }

    fn open(&mut self, kind: u8) {
        if self.kind != kind || self.block.len() >= BLOCK_BYTES {
            self.seal();
            self.kind = kind;
        }
    }

    fn seal(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let len = u32::try_from(self.block.len()).expect("a record is far below 4 GiB");
        let crc = block_checksum(self.kind, len, &self.block);
        self.out.push(self.kind);
        self.out.extend_from_slice(&len.to_le_bytes());
        self.out.extend_from_slice(&crc.to_le_bytes());
        self.out.append(&mut self.block);
    }
}

impl<R: Read> DumpReader<R> {
    /// Reads the head of a dump.
    pub fn new(mut from: R) -> Result<Self, DumpError> {
        let mut head = [0; 28];
        from.read_exact(&mut head)?;
        let crc = read_u32(&mut from)?;
        if head[..8] != MAGIC {
            return Err(DumpError::Corrupt("it does not begin like one"));
        }
        if crc32c::crc32c(&head) != crc {
            return Err(DumpError::Corrupt("the head's checksum does not match"));
        }
        let mut fields = &head[8..];
        let found = read_u32(&mut fields)?;
        if found > VERSION {
            return Err(DumpError::Newer { found });
        }
        let applied = Applied { index: read_u64(&mut fields)?, term: read_u64(&mut fields)? };
        Ok(Self { from, applied })
    }

    /// Up to where the dumped state contains the log.
    pub fn applied(&self) -> Applied {
        self.applied
    }

    /// Hands everything to `visit`, in order; fails when anything is missing or damaged.
    pub fn read<E: From<DumpError>>(
        &mut self,
        visit: &mut dyn FnMut(Dump<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut records = 0;
        let mut payload = Vec::new();
        loop {
            let kind = self.block(&mut payload)?;
            let mut rest = &payload[..];
            match kind {
                META => {
                    while !rest.is_empty() {
                        let key = piece(&mut rest)?;
                        let value = piece(&mut rest)?;
                        visit(Dump::Meta { key, value })?;
                    }
                }
                RECORDS => {
                    while !rest.is_empty() {
                        let (at, after) = rest
                            .split_first_chunk::<12>()
                            .ok_or(DumpError::Corrupt("a record is cut short"))?;
                        rest = after;
                        let at = Revision::from_bytes(*at);
                        let encoded = piece(&mut rest)?;
                        let record = EventRef::decode(at, encoded)
                            .ok_or(DumpError::Corrupt("a record makes no sense"))?;
                        visit(Dump::Record { at, record, encoded })?;
                        records += 1;
                    }
                }
                END => {
                    let announced = read_u64(&mut rest).map_err(DumpError::Io)?;
                    if announced != records {
                        return Err(DumpError::Corrupt("records are missing").into());
                    }
                    return Ok(());
                }
                _ => return Err(DumpError::Corrupt("a block of an unknown kind").into()),
            }
        }
    }

    fn block(&mut self, payload: &mut Vec<u8>) -> Result<u8, DumpError> {
        let mut kind = [0];
        self.from.read_exact(&mut kind)?;
        let len = read_u32(&mut self.from)?;
        let crc = read_u32(&mut self.from)?;
        if len > MAX_BLOCK_BYTES {
            return Err(DumpError::Corrupt("a block is too long"));
        }
        payload.clear();
        let read = (&mut self.from).take(len.into()).read_to_end(payload)?;
        if read != len as usize || block_checksum(kind[0], len, payload) != crc {
            return Err(DumpError::Corrupt("a block's checksum does not match"));
        }
        Ok(kind[0])
    }
}

fn block_checksum(kind: u8, len: u32, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&[kind]);
    let crc = crc32c::crc32c_append(crc, &len.to_le_bytes());
    crc32c::crc32c_append(crc, payload)
}

fn piece<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], DumpError> {
    const CUT: DumpError = DumpError::Corrupt("a block ends in the middle of something");
    let len = decode_varint(rest).ok().and_then(|len| usize::try_from(len).ok());
    let (piece, after) = len.and_then(|len| rest.split_at_checked(len)).ok_or(CUT)?;
    *rest = after;
    Ok(piece)
}

fn read_u32(from: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn read_u64(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
