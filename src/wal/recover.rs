use tracing::info;

use super::format::{
    self, Chain, FRAME_HEADER, Found, HeaderProblem, Record, SEGMENT_HEADER, SegmentHeader,
};
use super::write::{Restated, Segment};
use super::{ASIDE, Disk, Error, Image, Metadata, Options, Wal};
use crate::raft::{Entry, HardState, Index, Mark, SnapshotMeta};

/// What a log held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    pub metadata: Metadata,
    pub hard_state: HardState,
    /// Where the log begins: the entry before the first of `entries`.
    pub base: Mark,
    /// Ascending without gaps from `base`.
    pub entries: Vec<Entry>,
    /// The last snapshot that was received. If the store has applied less than this, the snapshot is still to be
    /// put in place.
    pub snapshot: Option<SnapshotMeta>,
}

/// What was read so far.
#[derive(Debug, Default)]
struct Reading {
    metadata: Option<Metadata>,
    hard_state: HardState,
    base: Option<Mark>,
    entries: Vec<Entry>,
    snapshot: Option<SnapshotMeta>,
}

impl<D: Disk> Wal<D> {
    /// Opens a log, repairs a torn tail, and gives back all that it holds.
    pub fn open_on(disk: D, options: Options) -> Result<(Self, Recovered), Error> {
        remove_aside(&disk)?;
        let segments = find_segments(&disk)?;
        let (recovered, end) = read_all(&disk, &segments, |reader, end| {
            reader.check_torn(end.offset, end.chain)?;
            reader.cut_off(end.offset, options)
        })?;
        let End { segment: newest, offset, chain } = end;
        let restated = Restated {
            metadata: recovered.metadata.clone(),
            hard_state: recovered.hard_state,
            last: recovered.last(),
            snapshot: recovered.snapshot.clone(),
        };
        let file = disk
            .open(&newest.name)
            .map_err(|error| Error::io(disk.path(&newest.name), "open the log", error))?;
        let wal = Self {
            options,
            restated,
            file,
            offset: offset as u64,
            chain,
            frame: vec![0; FRAME_HEADER],
            must_sync: false,
            failed: false,
            disk,
            segments,
        };
        Ok((wal, recovered))
    }

    /// Reads a log as it lies there. Nothing is written; a torn tail is passed over.
    pub fn read_on(disk: &D) -> Result<Recovered, Error> {
        let segments = find_segments(disk)?;
        let (recovered, _end) =
            read_all(disk, &segments, |reader, end| reader.check_torn(end.offset, end.chain))?;
        Ok(recovered)
    }
}

impl Recovered {
    /// The last entry.
    pub fn last(&self) -> Mark {
        last_mark(self.base, &self.entries)
    }
}

/// Reads all segments. What follows the last whole frame goes to `torn`, unless it is room that was never used.
fn read_all<'s, D: Disk>(
    disk: &'s D,
    segments: &'s [Segment],
    mut torn: impl FnMut(&mut Reader<'s, D>, End<'s>) -> Result<(), Error>,
) -> Result<(Recovered, End<'s>), Error> {
    let mut reading = Reading::default();
    let mut end: Option<End<'s>> = None;
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        let image = disk
            .read(&segment.name)
            .map_err(|error| Error::io(disk.path(&segment.name), "read the log", error))?;
        let mut reader = Reader { disk, segment, image };
        let read = reader.read(end, &mut reading)?;
        if last && reader.image.bytes[read.offset..].iter().any(|byte| *byte != 0) {
            torn(&mut reader, read)?;
        }
        end = Some(read);
    }
    let end = end.ok_or_else(|| Error::Missing { dir: disk.path("") })?;
    let missing = || Error::Corrupt {
        segment: disk.path(&end.segment.name),
        offset: SEGMENT_HEADER as u64,
        what: "the segment does not say whose log it is",
    };
    let recovered = Recovered {
        metadata: reading.metadata.ok_or_else(missing)?,
        hard_state: reading.hard_state,
        base: reading.base.ok_or_else(missing)?,
        snapshot: reading.snapshot,
        entries: reading.entries,
    };
    Ok((recovered, end))
}

/// Removes a segment that was in the making.
fn remove_aside<D: Disk>(disk: &D) -> Result<(), Error> {
    let failed = |error| Error::io(disk.path(""), "list the log", error);
    match disk.names() {
        Ok(names) if names.iter().any(|name| name == ASIDE) => disk.remove(ASIDE).map_err(failed),
        _ => Ok(()),
    }
}

/// The segments in order, without one that is in the making.
fn find_segments<D: Disk>(disk: &D) -> Result<Vec<Segment>, Error> {
    let failed = |error| Error::io(disk.path(""), "list the log", error);
    let names = match disk.names() {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(error)),
    };
    let mut segments: Vec<Segment> = names.iter().filter_map(|name| Segment::parse(name)).collect();
    segments.sort_unstable_by_key(|segment| segment.sequence);
    for pair in segments.windows(2) {
        let expected = pair[0].sequence + 1;
        if pair[1].sequence != expected {
            return Err(Error::Gap { dir: disk.path(""), missing: expected });
        }
    }
    if segments.is_empty() {
        return Err(Error::Missing { dir: disk.path("") });
    }
    Ok(segments)
}

fn last_mark(base: Mark, entries: &[Entry]) -> Mark {
    entries.last().map_or(base, |entry| Mark { index: entry.index, term: entry.term })
}

/// Where the frames of a segment end.
#[derive(Debug, Clone, Copy)]
struct End<'a> {
    segment: &'a Segment,
    offset: usize,
    chain: Chain,
}

/// One segment on the way in.
struct Reader<'s, D: Disk> {
    disk: &'s D,
    segment: &'s Segment,
    image: Image,
}

impl<'s, D: Disk> Reader<'s, D> {
    /// Reads the frames up to the first that is not whole. `before` is the end of the segment before.
    fn read(&mut self, before: Option<End<'_>>, into: &mut Reading) -> Result<End<'s>, Error> {
        self.image.cover(SEGMENT_HEADER);
        let header = SegmentHeader::decode(&self.image.bytes).map_err(|problem| match problem {
            HeaderProblem::Newer(found) => {
                let segment = self.disk.path(&self.segment.name);
                Error::Newer { segment, found, known: format::VERSION }
            }
            HeaderProblem::Damaged(what) => self.corrupt(0, what),
        })?;
        let mut chain =
            Chain { sequence: header.sequence, number: header.first_frame, checksum: header.chain };
        if header.sequence != self.segment.sequence {
            return Err(self.corrupt(0, "the header does not belong to the name"));
        }
        if let Some(End { segment, offset, chain: end }) = before
            && (end.number, end.checksum) != (chain.number, chain.checksum)
        {
            let what = "a frame is damaged and another segment follows it";
            let segment = self.disk.path(&segment.name);
            return Err(Error::Corrupt { segment, offset: offset as u64, what });
        }
        let mut offset = SEGMENT_HEADER;
        let mut first = true;
        self.cover_frame(offset);
        while let Found::Frame { payload, next } =
            format::frame_at(&self.image.bytes, offset, chain)
        {
            for record in format::records(payload) {
                let at = offset;
                let record =
                    record.ok_or_else(|| self.corrupt(at, "a record cannot be understood"))?;
                into.take(record, first).map_err(|what| self.corrupt(at, what))?;
            }
            offset += FRAME_HEADER + payload.len();
            chain = next;
            first = false;
            self.cover_frame(offset);
        }
        if first {
            return Err(self.corrupt(offset, "the first frame is not whole"));
        }
        Ok(End { segment: self.segment, offset, chain })
    }

    /// Has all of a frame in memory, the zeros at its end as well.
    fn cover_frame(&mut self, offset: usize) {
        self.image.cover(offset + FRAME_HEADER);
        if let Some(payload) = format::payload_size(&self.image.bytes, offset) {
            self.image.cover(offset + FRAME_HEADER + payload);
        }
    }

    /// Refuses what follows the last whole frame unless it is a torn one.
    fn check_torn(&mut self, offset: usize, chain: Chain) -> Result<(), Error> {
        // A header may end in zeros too.
        self.image.cover(self.image.bytes.len() + FRAME_HEADER);
        let bytes = &self.image.bytes;
        if format::later_frame_exists(bytes, offset, chain) {
            return Err(self.corrupt(offset, "a frame is damaged and others follow it"));
        }
        match format::frame_at(bytes, offset, chain) {
            Found::Bad { what, size } if !format::is_torn(bytes, offset, size) => {
                Err(self.corrupt(offset, what))
            }
            _ => Ok(()),
        }
    }

    /// Cuts off a torn frame.
    fn cut_off(&mut self, offset: usize, options: Options) -> Result<(), Error> {
        let path = self.disk.path(&self.segment.name);
        log_torn(&path, offset);
        let failed = |error| Error::io(path.clone(), "cut off a torn frame", error);
        let mut file = self.disk.open(&self.segment.name).map_err(failed)?;
        self.disk.cut(&mut file, offset as u64, options.segment_bytes).map_err(failed)?;
        self.disk.sync(&mut file).map_err(failed)
    }

    fn corrupt(&self, offset: usize, what: &'static str) -> Error {
        let segment = self.disk.path(&self.segment.name);
        Error::Corrupt { segment, offset: offset as u64, what }
    }
}

/// An ordinary trace of a crash, so no warning.
fn log_torn(path: &std::path::Path, offset: usize) {
    info!(log.segment = %path.display(), log.offset = offset, "torn tail of the log cut off");
}

impl Reading {
    /// Takes one record. `head` says that it is of the first frame of a segment, which restates.
    fn take(&mut self, record: Record, head: bool) -> Result<(), &'static str> {
        match record {
            Record::Metadata(metadata) => match &self.metadata {
                Some(known) if *known != metadata => return Err("the segment is of another log"),
                _ => self.metadata = Some(metadata),
            },
            Record::HardState(state) => self.hard_state = state,
            Record::Base(base) => match self.base {
                None => self.base = Some(base),
                Some(known) if last_mark(known, &self.entries) != base => {
                    return Err("entries before this segment are missing");
                }
                Some(_) => {}
            },
            Record::Snapshot(meta) => {
                if !head {
                    self.base = Some(meta.mark());
                    self.entries.clear();
                }
                self.snapshot = Some(meta);
            }
            Record::Entry(entry) => return self.take_entry(entry),
        }
        Ok(())
    }

    fn take_entry(&mut self, entry: Entry) -> Result<(), &'static str> {
        let base = self.base.ok_or("an entry precedes the base")?;
        let last = last_mark(base, &self.entries).index;
        if entry.index > Index(last.0 + 1) || entry.index == Index(0) {
            return Err("an entry leaves a gap");
        }
        if entry.index <= base.index {
            // A leader had these rewritten after the segment began, and the segments that hold what precedes
            // them were dropped since: they are applied.
            self.base = Some(Mark { index: entry.index, term: entry.term });
            self.entries.clear();
            return Ok(());
        }
        let keep =
            usize::try_from(entry.index.0 - base.index.0 - 1).expect("entries are in memory");
        self.entries.truncate(keep);
        self.entries.push(entry);
        Ok(())
    }
}
