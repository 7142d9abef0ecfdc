//! The log on disk: what a member must not forget, in the order in which it promised it.
//!
//! A log is a directory of segments. All that is appended between two syncs becomes one *frame*, written at once
//! and synced once; the next frame is not begun before that sync has returned. So a crash can tear
//! only the last frame, and nothing in a torn frame was ever acknowledged.
//!
//! ```text
//! segment  <sequence, 16 hex>-<index of the entry before its first, 16 hex>.wal, preallocated with zeros
//!   offset  size  what (numbers are little-endian)
//!        0     8  magic "quoLOG\r\n"
//!        8     4  format version, 1
//!       12     4  zero
//!       16     8  sequence of the segment, ascending without gaps
//!       24     8  number of its first frame
//!       32     4  checksum of the frame before, in which the chain goes on
//!       36     4  CRC-32C of bytes 0..36
//!       40     -  frames
//! frame
//!        0     4  magic "QFRM"
//!        4     4  size of the payload
//!        8     8  number of the frame, ascending without gaps over all segments
//!       16     4  CRC-32C of the payload, continued from the checksum of the frame before
//!       20     4  CRC-32C of bytes 0..20, continued from that of the segment's sequence
//!       24     -  payload: records
//! record
//!        0     1  kind
//!        1     4  size of the body
//!        5     -  body
//!   kind 1 metadata    member u64, cluster u64, joined u8, founding members (quorate.replica.Roster)
//!   kind 2 hard state  term u64, vote u64 (0 none), commit u64
//!   kind 3 entry       term u64, index u64, kind u8 (as on the wire), data
//!   kind 4 base        index u64, term u64 of the entry before the next
//!   kind 5 snapshot    index u64, term u64, voters u32, learners u32, then their ids, u64 each
//! ```
//!
//! The first frame of a segment restates metadata, hard state, base and the last snapshot, so that older segments
//! can be dropped whole. A segment is made aside and renamed when that frame is durable.
//!
//! On opening, a bad last frame of the last segment is cut off when it is *torn*: some disk sector of it was never
//! written and is still zero. Any other damage is refused, because it was acknowledged: a member that forgot
//! a vote or an entry must not take part. (A flipped bit in the very last frame beside a sector of genuine
//! zeros is taken for a torn one; checksums cannot tell them apart.)
//!
//! Deliberately absent: the state itself (`snap` and `store` hold it), locking of the directory (the node does
//! it), and repair of anything but a torn tail.

mod disk;
mod error;
mod format;
mod metadata;
mod recover;
mod write;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

pub use disk::{Disk, Files, Image};
pub use error::Error;
pub use metadata::Metadata;
pub use recover::Recovered;
pub use write::{Options, Wal};

use std::path::Path;

/// The name of finished segments ends so.
const SUFFIX: &str = ".wal";
/// The name of a segment in the making.
const ASIDE: &str = "next.tmp";

impl Wal<Files> {
    /// Whether there is a log in this directory. Only finished segments count: a creation that was cut short
    /// leaves none.
    pub fn exists(dir: &Path) -> Result<bool, Error> {
        match Files::names_in(dir) {
            Ok(names) => Ok(names.iter().any(|name| name.ends_with(SUFFIX))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io(dir.to_owned(), "list the log", error)),
        }
    }

    /// Founds a log in a directory, which is created. Durable when this returns.
    pub fn create(dir: &Path, metadata: Metadata, options: Options) -> Result<Self, Error> {
        Self::create_on(Files::create_dir(dir)?, metadata, options)
    }

    /// Reads a log without changing anything.
    pub fn read(dir: &Path) -> Result<Recovered, Error> {
        Self::read_on(&Files::new(dir))
    }

    /// Opens a log, repairs a torn tail, and gives back all that it holds.
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Recovered), Error> {
        Self::open_on(Files::new(dir), options)
    }
}
