use tracing::info;

use super::format::{self, Chain, FRAME_HEADER, SEGMENT_HEADER, SegmentHeader};
use super::{ASIDE, Disk, Error, Files, Metadata, SUFFIX};
use crate::raft::{FOUNDING_TERM, HardState, Index, Mark, SnapshotMeta};
use crate::replica::Persist;

/// How a log is kept.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A segment that has grown to this is followed by the next.
    pub segment_bytes: u64,
    /// Nothing is synced: a crash of the machine may lose what was acknowledged.
    pub unsafe_no_fsync: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, unsafe_no_fsync: false }
    }
}

/// A log that takes batches. One thread owns it.
#[derive(Debug)]
pub struct Wal<D: Disk = Files> {
    pub(super) disk: D,
    pub(super) options: Options,
    pub(super) restated: Restated,
    /// Ascending; the last one is written to.
    pub(super) segments: Vec<Segment>,
    pub(super) file: D::File,
    /// Where the next frame goes.
    pub(super) offset: u64,
    pub(super) chain: Chain,
    /// The frame in the making, with room for its header.
    pub(super) frame: Vec<u8>,
    /// Whether the frame holds something that was promised.
    pub(super) must_sync: bool,
    pub(super) failed: bool,
}

/// What every segment begins with.
#[derive(Debug, Clone)]
pub(super) struct Restated {
    pub(super) metadata: Metadata,
    pub(super) hard_state: HardState,
    /// The last entry written.
    pub(super) last: Mark,
    pub(super) snapshot: Option<SnapshotMeta>,
}

#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) sequence: u64,
    /// The last entry written before it.
    pub(super) base: Index,
    pub(super) name: String,
}

impl Segment {
    fn new(sequence: u64, base: Index) -> Self {
        Self { sequence, base, name: format!("{sequence:016x}-{:016x}{SUFFIX}", base.0) }
    }

    /// `None` when the name is not that of a segment.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (sequence, base) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let number = |hex: &str| u64::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 16);
        Some(Self {
            sequence: number(sequence)?,
            base: Index(number(base)?),
            name: name.to_owned(),
        })
    }
}

impl<D: Disk> Wal<D> {
    /// Founds a log on an empty disk. Durable when this returns.
    pub fn create_on(disk: D, metadata: Metadata, options: Options) -> Result<Self, Error> {
        let mut restated = Restated {
            hard_state: HardState::default(),
            last: Mark::default(),
            snapshot: None,
            metadata,
        };
        if !restated.metadata.joined {
            restated.last = SnapshotMeta::founding(&restated.metadata.roster).mark();
            restated.hard_state.term = FOUNDING_TERM;
            restated.hard_state.commit = restated.last.index;
        }
        let chain = Chain { sequence: 0, number: 0, checksum: 0 };
        let started = start_segment(&disk, options, &restated, chain)?;
        Ok(Self {
            disk,
            options,
            restated,
            segments: vec![started.segment],
            file: started.file,
            offset: started.offset,
            chain: started.chain,
            frame: vec![0; FRAME_HEADER],
            must_sync: false,
            failed: false,
        })
    }

    /// Adds a batch to what the next [`Wal::sync`] makes durable.
    pub fn append(&mut self, batch: &Persist) {
        if let Some((meta, _)) = &batch.snapshot {
            format::put_snapshot(&mut self.frame, meta);
            self.restated.last = meta.mark();
            self.restated.snapshot = Some(meta.clone());
        }
        for entry in &batch.entries {
            format::put_entry(&mut self.frame, entry);
        }
        if let Some(last) = batch.entries.last() {
            self.restated.last = Mark { index: last.index, term: last.term };
        }
        if let Some(state) = batch.hard_state {
            format::put_hard_state(&mut self.frame, state);
            self.restated.hard_state = state;
        }
        self.must_sync |= batch.sync;
    }

    /// Bytes that the next [`Wal::sync`] writes.
    pub fn unsynced_bytes(&self) -> usize {
        self.frame.len()
    }

    /// Makes durable all that was appended, with one sync. What needs none (a mere commit index) waits
    /// for the next batch that does.
    ///
    /// An error is final: a sync that failed once may succeed the second time without having written
    /// anything, so there is no second time.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.sync_noting(|| ())
    }

    /// The same; `written` is called when the batch is written and the sync begins.
    pub fn sync_noting(&mut self, written: impl FnOnce()) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Failed { dir: self.disk.path("") });
        }
        if !self.must_sync {
            return Ok(());
        }
        // Until the end of this function the log counts as failed, whichever step returns.
        self.failed = true;
        self.write_frame(written)?;
        if self.offset >= self.options.segment_bytes {
            self.start_next_segment()?;
        }
        self.failed = false;
        Ok(())
    }

    fn write_frame(&mut self, written: impl FnOnce()) -> Result<(), Error> {
        let segment = self.segments.last().expect("a log has at least one segment");
        let path = || self.disk.path(&segment.name);
        let next = format::seal(&mut self.frame, self.chain);
        self.disk
            .write_at(&mut self.file, self.offset, &self.frame)
            .map_err(|error| Error::io(path(), "write to the log", error))?;
        written();
        if !self.options.unsafe_no_fsync {
            self.disk
                .sync(&mut self.file)
                .map_err(|error| Error::io(path(), "sync the log", error))?;
        }
        self.chain = next;
        self.offset += self.frame.len() as u64;
        self.must_sync = false;
        self.frame.clear();
        self.frame.resize(FRAME_HEADER, 0);
        Ok(())
    }

    fn start_next_segment(&mut self) -> Result<(), Error> {
        let chain = Chain { sequence: self.chain.sequence + 1, ..self.chain };
        let started = start_segment(&self.disk, self.options, &self.restated, chain)?;
        self.segments.push(started.segment);
        self.file = started.file;
        self.offset = started.offset;
        self.chain = started.chain;
        Ok(())
    }

    /// Drops segments that hold only entries up to `index`. The state that replaces them must be durable.
    pub fn compact(&mut self, index: Index) -> Result<(), Error> {
        let mut dropped = 0;
        while let [oldest, next, ..] = &self.segments[..] {
            if next.base > index {
                break;
            }
            // Oldest first, so that a crash in between leaves no gap.
            self.disk.remove(&oldest.name).map_err(|error| {
                Error::io(self.disk.path(&oldest.name), "remove an old segment", error)
            })?;
            self.segments.remove(0);
            dropped += 1;
        }
        if dropped > 0 {
            info!(
                log.segments = self.segments.len(),
                log.dropped = dropped,
                "old log segments dropped"
            );
        }
        Ok(())
    }

    /// How many segments there are.
    #[cfg(test)]
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// The disk below.
    #[cfg(any(test, feature = "sim"))]
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Gives the disk back, without what was not synced.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn into_disk(self) -> D {
        self.disk
    }
}

struct Started<F> {
    segment: Segment,
    file: F,
    offset: u64,
    chain: Chain,
}

/// Makes a segment aside and gives it its name when its first frame is durable.
fn start_segment<D: Disk>(
    disk: &D,
    options: Options,
    restated: &Restated,
    chain: Chain,
) -> Result<Started<D::File>, Error> {
    let segment = Segment::new(chain.sequence, restated.last.index);
    let failed = |error| Error::io(disk.path(&segment.name), "start a log segment", error);
    let header = SegmentHeader {
        sequence: chain.sequence,
        first_frame: chain.number,
        chain: chain.checksum,
    };
    let mut frame = vec![0; FRAME_HEADER];
    format::put_metadata(&mut frame, &restated.metadata);
    format::put_hard_state(&mut frame, restated.hard_state);
    format::put_base(&mut frame, restated.last);
    if let Some(meta) = &restated.snapshot {
        format::put_snapshot(&mut frame, meta);
    }
    let chain = format::seal(&mut frame, chain);
    let mut head = header.encode().to_vec();
    head.append(&mut frame);

    let mut file = disk.create(ASIDE, options.segment_bytes).map_err(failed)?;
    disk.write_at(&mut file, 0, &head).map_err(failed)?;
    // Without this sync a crash leaves a complete name on empty contents; without the one of the names the
    // segment itself can vanish with all that is written to it from now on.
    disk.sync(&mut file).map_err(failed)?;
    disk.rename(ASIDE, &segment.name).map_err(failed)?;
    disk.sync_names().map_err(failed)?;
    debug_assert!(head.len() >= SEGMENT_HEADER + FRAME_HEADER, "a segment begins with its head");
    Ok(Started { segment, file, offset: head.len() as u64, chain })
}
