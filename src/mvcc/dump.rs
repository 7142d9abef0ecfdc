use std::io::{self, Read};

use bytes::{Bytes, BytesMut};
use prost::encoding::{decode_varint, encode_varint};

use super::{Applied, EventRef, Revision};

const MAGIC: [u8; 8] = *b"QRMDUMP\n";
const VERSION: u32 = 1;
const META: u8 = 1;
const RECORDS: u8 = 2;
const END: u8 = 3;
const BLOCK_BYTES: usize = 64 * 1024;
/// Kind, length and checksum.
const BLOCK_HEAD: usize = 9;
/// What a chunk of small records comes to, so that it need not be moved while it grows.
const CHUNK_BYTES: usize = BLOCK_BYTES + BLOCK_BYTES / 2;
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
/// Then blocks, those of meta before those of records; the last is an end block, and nothing follows it:
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
    /// Where in `out` the block begins that is being written, if there is one.
    block: Option<usize>,
    kind: u8,
    records: u64,
}

/// One block of a dump whose checksum fits.
#[derive(Debug, Clone)]
pub enum DumpBlock {
    /// Small values with their keys. All of them come before the first record.
    Meta(Vec<(Bytes, Bytes)>),
    Records(DumpedRecords),
}

/// Some records of a dump, ascending.
#[derive(Debug, Clone)]
pub struct DumpedRecords {
    payload: Bytes,
}

/// Reads what [`DumpWriter`] wrote, in whatever chunks it comes.
#[derive(Debug)]
pub struct DumpReader<C> {
    chunks: C,
    /// What has come and was not read.
    chunk: Bytes,
    applied: Applied,
    /// How many there were so far.
    records: u64,
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
        Self { out, block: None, kind: META, records: 0 }
    }

    /// Adds a small value.
    pub fn meta(&mut self, key: &[u8], value: &[u8]) {
        let out = self.open(META);
        for piece in [key, value] {
            encode_varint(piece.len() as u64, out);
            out.extend_from_slice(piece);
        }
    }

    /// Adds a record; they come in ascending order.
    #[cfg(any(test, feature = "sim"))]
    pub fn record(&mut self, at: Revision, record: EventRef<'_>) {
        let mut encoded = Vec::new();
        record.encode(&mut encoded);
        self.encoded_record(at, &encoded);
    }

    /// Adds a record in the form in which it lies on disk.
    pub fn encoded_record(&mut self, at: Revision, encoded: &[u8]) {
        self.records += 1;
        let out = self.open(RECORDS);
        out.extend_from_slice(&at.to_bytes());
        encode_varint(encoded.len() as u64, out);
        out.extend_from_slice(encoded);
    }

    /// What has been written so far, once it is worth sending.
    pub fn take_ready(&mut self) -> Option<Bytes> {
        if self.out.len() < BLOCK_BYTES {
            return None;
        }
        self.seal();
        Some(std::mem::replace(&mut self.out, Vec::with_capacity(CHUNK_BYTES)).into())
    }

    /// Ends the dump: the bytes not yet taken.
    pub fn finish(mut self) -> Bytes {
        let records = self.records;
        self.open(END).extend_from_slice(&records.to_le_bytes());
        self.seal();
        self.out.into()
    }

    /// Where to write what comes next, in a block of this kind.
    fn open(&mut self, kind: u8) -> &mut Vec<u8> {
        let large = |begin: usize| self.out.len() - begin >= BLOCK_BYTES;
        if self.kind != kind || self.block.is_some_and(large) {
            self.seal();
            self.kind = kind;
        }
        if self.block.is_none() {
            self.block = Some(self.out.len());
            self.out.extend_from_slice(&[0; BLOCK_HEAD]);
        }
        &mut self.out
    }

    /// Ends the block that is being written: its head is known now.
    fn seal(&mut self) {
        let Some(begin) = self.block.take() else { return };
        let (head, payload) = self.out[begin..].split_at_mut(BLOCK_HEAD);
        let len = u32::try_from(payload.len()).expect("a record is far below 4 GiB");
        let crc = block_checksum(self.kind, len, payload);
        head[0] = self.kind;
        head[1..5].copy_from_slice(&len.to_le_bytes());
        head[5..].copy_from_slice(&crc.to_le_bytes());
    }
}

impl<C: Iterator<Item = io::Result<Bytes>>> DumpReader<C> {
    /// Reads the head of a dump.
    pub fn new(chunks: C) -> Result<Self, DumpError> {
        let mut reader =
            Self { chunks, chunk: Bytes::new(), applied: Applied::default(), records: 0 };
        let head = reader.take(28)?;
        let crc = read_u32(&mut &reader.take(4)?[..])?;
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
        reader.applied = Applied { index: read_u64(&mut fields)?, term: read_u64(&mut fields)? };
        Ok(reader)
    }

    /// Up to where the dumped state contains the log.
    pub fn applied(&self) -> Applied {
        self.applied
    }

    /// The next block, `None` at the end; fails when anything is missing or damaged.
    pub fn next_block(&mut self) -> Result<Option<DumpBlock>, DumpError> {
        let (kind, payload) = self.read_block()?;
        match kind {
            META if self.records == 0 => {
                let mut pairs = Vec::new();
                let mut rest = &payload[..];
                while !rest.is_empty() {
                    let (key, value) = (piece(&mut rest)?, piece(&mut rest)?);
                    pairs.push((payload.slice_ref(key), payload.slice_ref(value)));
                }
                Ok(Some(DumpBlock::Meta(pairs)))
            }
            META => Err(DumpError::Corrupt("a small value behind records")),
            RECORDS => {
                let mut rest = &payload[..];
                while !rest.is_empty() {
                    record(&mut rest)?;
                    self.records += 1;
                }
                Ok(Some(DumpBlock::Records(DumpedRecords { payload })))
            }
            END => {
                let announced = read_u64(&mut &payload[..]).map_err(DumpError::Io)?;
                if announced != self.records {
                    return Err(DumpError::Corrupt("records are missing"));
                }
                Ok(None)
            }
            _ => Err(DumpError::Corrupt("a block of an unknown kind")),
        }
    }

    /// Where it was read from, and what of it was not read.
    pub fn into_rest(self) -> (C, Bytes) {
        (self.chunks, self.chunk)
    }

    fn read_block(&mut self) -> Result<(u8, Bytes), DumpError> {
        let head = self.take(BLOCK_HEAD)?;
        let (kind, mut rest) = (head[0], &head[1..]);
        let (len, crc) = (read_u32(&mut rest)?, read_u32(&mut rest)?);
        if len > MAX_BLOCK_BYTES {
            return Err(DumpError::Corrupt("a block is too long"));
        }
        let payload = self.take(len as usize)?;
        if block_checksum(kind, len, &payload) != crc {
            return Err(DumpError::Corrupt("a block's checksum does not match"));
        }
        Ok((kind, payload))
    }

    /// The next bytes, which are copied only if they come in pieces.
    fn take(&mut self, bytes: usize) -> Result<Bytes, DumpError> {
        while self.chunk.len() < bytes {
            let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
            let next = self.chunks.next().ok_or_else(cut)??;
            if self.chunk.is_empty() {
                self.chunk = next;
            } else {
                let mut gathered = BytesMut::from(std::mem::take(&mut self.chunk));
                gathered.extend_from_slice(&next);
                self.chunk = gathered.freeze();
            }
        }
        Ok(self.chunk.split_to(bytes))
    }
}

impl DumpedRecords {
    /// Bytes they take together.
    pub fn size_bytes(&self) -> usize {
        self.payload.len()
    }

    /// Each in the form in which it lies on disk.
    pub fn encoded(&self) -> impl Iterator<Item = (Revision, &[u8])> {
        let mut rest = &self.payload[..];
        std::iter::from_fn(move || {
            let next = (!rest.is_empty()).then(|| record(&mut rest));
            next.map(|next| next.expect("the block was walked through when it was read"))
        })
    }

    /// The same as values that can be kept; they share the block's memory.
    pub fn slices(&self) -> impl Iterator<Item = (Revision, Bytes)> {
        self.encoded().map(|(at, encoded)| (at, self.payload.slice_ref(encoded)))
    }

    /// Hands each to `visit`.
    pub fn decoded(&self, visit: &mut dyn FnMut(Revision, EventRef<'_>)) -> Result<(), DumpError> {
        for (at, encoded) in self.encoded() {
            let record = EventRef::decode(at, encoded);
            visit(at, record.ok_or(DumpError::Corrupt("a record makes no sense"))?);
        }
        Ok(())
    }
}

fn record<'a>(rest: &mut &'a [u8]) -> Result<(Revision, &'a [u8]), DumpError> {
    let cut = DumpError::Corrupt("a record is cut short");
    let (at, after) = rest.split_first_chunk::<12>().ok_or(cut)?;
    *rest = after;
    Ok((Revision::from_bytes(*at), piece(rest)?))
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
