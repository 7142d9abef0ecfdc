//! Segments, frames and records as bytes, and back.

use bytes::Bytes;

use super::Metadata;
use crate::membership::MemberId;
use crate::raft::{
    ConfState, Entry, HardState, Index, Mark, Payload, SnapshotMeta, Term, kind as wire,
};

pub(super) const VERSION: u32 = 1;
pub(super) const SEGMENT_HEADER: usize = 40;
pub(super) const FRAME_HEADER: usize = 24;
const RECORD_HEADER: usize = 5;
const SEGMENT_MAGIC: &[u8; 8] = b"quoLOG\r\n";
const FRAME_MAGIC: &[u8; 4] = b"QFRM";
/// Disks write sectors of at least this size whole or not at all.
const SECTOR: usize = 512;

const METADATA: u8 = 1;
const HARD_STATE: u8 = 2;
const ENTRY: u8 = 3;
const BASE: u8 = 4;
const SNAPSHOT: u8 = 5;

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) sequence: u64,
    pub(super) first_frame: u64,
    /// The checksum from which its first frame continues.
    pub(super) chain: u32,
}

/// What is wrong with a segment's header.
#[derive(Debug)]
pub(super) enum HeaderProblem {
    Newer(u32),
    Damaged(&'static str),
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut out = [0; SEGMENT_HEADER];
        out[..8].copy_from_slice(SEGMENT_MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        out[24..32].copy_from_slice(&self.first_frame.to_le_bytes());
        out[32..36].copy_from_slice(&self.chain.to_le_bytes());
        let checksum = crc32c::crc32c(&out[..36]);
        out[36..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderProblem> {
        let header = bytes.get(..SEGMENT_HEADER).ok_or(HeaderProblem::Damaged("no header"))?;
        if &header[..8] != SEGMENT_MAGIC {
            return Err(HeaderProblem::Damaged("this is no log segment"));
        }
        let version = u32_at(header, 8);
        if version > VERSION {
            return Err(HeaderProblem::Newer(version));
        }
        if u32_at(header, 36) != crc32c::crc32c(&header[..36]) || version == 0 {
            return Err(HeaderProblem::Damaged("the header's checksum does not fit"));
        }
        Ok(Self {
            sequence: u64_at(header, 16),
            first_frame: u64_at(header, 24),
            chain: u32_at(header, 32),
        })
    }
}

/// Where in the chain of frames something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) sequence: u64,
    pub(super) number: u64,
    pub(super) checksum: u32,
}

/// What stands at some offset of a segment.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Frame {
        payload: &'a [u8],
        next: Chain,
    },
    /// Nothing was written here.
    End,
    Bad {
        what: &'static str,
        /// How many bytes the frame would take, as far as that is known.
        size: usize,
    },
}

/// Fills in the header of a frame whose payload already stands behind room for it.
pub(super) fn seal(frame: &mut [u8], chain: Chain) -> Chain {
    let (header, payload) = frame.split_at_mut(FRAME_HEADER);
    let size = u32::try_from(payload.len()).expect("a frame is far smaller than 4 GiB");
    let checksum = crc32c::crc32c_append(chain.checksum, payload);
    header[..4].copy_from_slice(FRAME_MAGIC);
    header[4..8].copy_from_slice(&size.to_le_bytes());
    header[8..16].copy_from_slice(&chain.number.to_le_bytes());
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    let own = header_checksum(&header[..20], chain.sequence);
    header[20..24].copy_from_slice(&own.to_le_bytes());
    Chain { number: chain.number + 1, checksum, ..chain }
}

fn header_checksum(head: &[u8], sequence: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&sequence.to_le_bytes()), head)
}

pub(super) fn frame_at(segment: &[u8], offset: usize, chain: Chain) -> Found<'_> {
    let rest = &segment[offset.min(segment.len())..];
    let Some(header) = rest.get(..FRAME_HEADER) else {
        return if rest.iter().all(|byte| *byte == 0) {
            Found::End
        } else {
            Found::Bad { what: "a frame's header is cut off", size: FRAME_HEADER }
        };
    };
    if header.iter().all(|byte| *byte == 0) {
        return Found::End;
    }
    if &header[..4] != FRAME_MAGIC
        || u32_at(header, 20) != header_checksum(&header[..20], chain.sequence)
        || u64_at(header, 8) != chain.number
    {
        return Found::Bad { what: "no frame begins here", size: FRAME_HEADER };
    }
    let size = u32_at(header, 4) as usize;
    let Some(payload) = rest.get(FRAME_HEADER..FRAME_HEADER + size) else {
        return Found::Bad { what: "a frame is cut off", size: FRAME_HEADER + size };
    };
    let checksum = crc32c::crc32c_append(chain.checksum, payload);
    if checksum != u32_at(header, 16) {
        return Found::Bad { what: "a frame's checksum does not fit", size: FRAME_HEADER + size };
    }
    Found::Frame { payload, next: Chain { number: chain.number + 1, checksum, ..chain } }
}

/// What the header at `offset` says about the size of its payload, right or not.
pub(super) fn payload_size(segment: &[u8], offset: usize) -> Option<usize> {
    segment.get(offset..offset + FRAME_HEADER).map(|header| u32_at(header, 4) as usize)
}

/// Whether a frame that was begun later stands anywhere behind `offset`. Then what stands at `offset`
/// had been synced.
pub(super) fn later_frame_exists(segment: &[u8], offset: usize, chain: Chain) -> bool {
    let tail = &segment[(offset + 1).min(segment.len())..];
    tail.windows(FRAME_HEADER).any(|header| {
        &header[..4] == FRAME_MAGIC
            && u64_at(header, 8) > chain.number
            && u32_at(header, 20) == header_checksum(&header[..20], chain.sequence)
    })
}

/// Whether some sector of these bytes was never written.
pub(super) fn is_torn(segment: &[u8], offset: usize, size: usize) -> bool {
    let end = offset.saturating_add(size);
    if end > segment.len() {
        return true;
    }
    let mut at = offset;
    while at < end {
        let boundary = (at / SECTOR + 1) * SECTOR;
        let piece = &segment[at..boundary.min(end)];
        if piece.iter().all(|byte| *byte == 0) {
            return true;
        }
        at = boundary;
    }
    false
}

/// What a frame holds.
#[derive(Debug)]
pub(super) enum Record {
    Metadata(Metadata),
    HardState(HardState),
    Entry(Entry),
    Base(Mark),
    Snapshot(SnapshotMeta),
}

fn put(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let size_at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let size = u32::try_from(out.len() - size_at - 4).expect("a record is far smaller than 4 GiB");
    out[size_at..size_at + 4].copy_from_slice(&size.to_le_bytes());
}

fn put_numbers(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

pub(super) fn put_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    put(out, METADATA, |out| out.extend_from_slice(&metadata.encode()));
}

pub(super) fn put_hard_state(out: &mut Vec<u8>, state: HardState) {
    let vote = state.vote.map_or(0, |member| member.0);
    put(out, HARD_STATE, |out| put_numbers(out, &[state.term.0, vote, state.commit.0]));
}

pub(super) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    let (kind, data): (u32, &[u8]) = match &entry.payload {
        Payload::Empty => (wire::ENTRY_REQUEST, &[]),
        Payload::Request(data) => (wire::ENTRY_REQUEST, data),
        Payload::Membership(change) => (wire::ENTRY_MEMBERSHIP, change),
    };
    put(out, ENTRY, |out| {
        put_numbers(out, &[entry.term.0, entry.index.0]);
        out.push(u8::try_from(kind).expect("entry kinds are small"));
        out.extend_from_slice(data);
    });
}

pub(super) fn put_base(out: &mut Vec<u8>, base: Mark) {
    put(out, BASE, |out| put_numbers(out, &[base.index.0, base.term.0]));
}

pub(super) fn put_snapshot(out: &mut Vec<u8>, meta: &SnapshotMeta) {
    let count = |ids: &[MemberId]| u32::try_from(ids.len()).expect("members are few").to_le_bytes();
    put(out, SNAPSHOT, |out| {
        put_numbers(out, &[meta.index.0, meta.term.0]);
        out.extend_from_slice(&count(&meta.conf.voters));
        out.extend_from_slice(&count(&meta.conf.learners));
        for id in meta.conf.voters.iter().chain(&meta.conf.learners) {
            put_numbers(out, &[id.0]);
        }
    });
}

/// The records of a payload whose checksum fits; `None` for one that cannot be understood, which a
/// version that knows the format never wrote.
pub(super) fn records(payload: &[u8]) -> impl Iterator<Item = Option<Record>> {
    let mut rest = payload;
    std::iter::from_fn(move || (!rest.is_empty()).then(|| next_record(&mut rest)))
}

/// Takes the first record off; off goes everything when its size cannot be.
fn next_record(rest: &mut &[u8]) -> Option<Record> {
    let (header, after) = std::mem::take(rest).split_at_checked(RECORD_HEADER)?;
    let (body, after) = after.split_at_checked(u32_at(header, 1) as usize)?;
    *rest = after;
    decode(header[0], body)
}

fn decode(kind: u8, body: &[u8]) -> Option<Record> {
    let number = |at: usize| body.get(at..at + 8).map(|_| u64_at(body, at));
    Some(match kind {
        METADATA => Record::Metadata(Metadata::decode(body)?),
        HARD_STATE => {
            let vote = Some(number(8)?).filter(|vote| *vote != 0).map(MemberId);
            let (term, commit) = (Term(number(0)?), Index(number(16)?));
            Record::HardState(HardState { term, vote, commit })
        }
        ENTRY => {
            let data = body.get(17..)?;
            let payload = match u32::from(body[16]) {
                wire::ENTRY_REQUEST if data.is_empty() => Payload::Empty,
                wire::ENTRY_REQUEST => Payload::Request(Bytes::copy_from_slice(data)),
                wire::ENTRY_MEMBERSHIP => Payload::Membership(Bytes::copy_from_slice(data)),
                _ => return None,
            };
            Record::Entry(Entry { term: Term(number(0)?), index: Index(number(8)?), payload })
        }
        BASE => Record::Base(Mark { index: Index(number(0)?), term: Term(number(8)?) }),
        SNAPSHOT => {
            let (index, term) = (Index(number(0)?), Term(number(8)?));
            let voters = u32_at(body.get(..24)?, 16) as usize;
            let ids: Vec<MemberId> =
                body[24..].chunks_exact(8).map(|id| MemberId(u64_at(id, 0))).collect();
            let (voters, learners) = ids.split_at_checked(voters)?;
            let conf = ConfState { voters: voters.to_vec(), learners: learners.to_vec() };
            Record::Snapshot(SnapshotMeta { index, term, conf })
        }
        _ => return None,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes are four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes are eight bytes"))
}
