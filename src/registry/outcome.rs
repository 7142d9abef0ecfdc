//! What a store answers, whichever it is.

use super::WriterFailed;
use super::state::{Loaded, News};

/// Whether a store can be written.
#[derive(Debug)]
pub(super) enum Ready {
    AsBefore,
    /// It can again, and memory has to show what it holds.
    Reloaded(Box<Loaded>),
    No {
        why: String,
    },
}

/// What became of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// Another service wrote since; decide again after hearing what.
    Overtaken,
}

/// Why a group was not written.
#[derive(Debug)]
pub(super) enum NotWritten {
    /// There is no room; nothing was changed.
    Full { why: String },
    /// It may work later. Nobody may know whether this group was written.
    Unavailable { why: String },
    /// Fewer commands at once may fit.
    TooLarge,
    /// Only a restart helps.
    Fatal(WriterFailed),
}

/// What a store says unasked.
#[derive(Debug)]
pub(super) enum Heard {
    News(News),
    Reloaded(Box<Loaded>),
    /// It was asked whether it is there, and it is.
    Answer,
    /// It was asked, and did not answer.
    Silence {
        why: String,
    },
}
