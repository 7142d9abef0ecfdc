use std::ops::Bound;

use bytes::Bytes;

/// The keys that a pair of `key` and `range_end` names.
///
/// | key / range_end | keys |
/// | --- | --- |
/// | k / empty | the key k |
/// | k / e | from k up to, not including, e; none when e <= k |
/// | k / `\0` | all keys from k on |
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyRange {
    One(Bytes),
    Span { start: Bytes, end: Bytes },
    From(Bytes),
}

impl KeyRange {
    /// Reads a pair of fields as every etcd call does.
    pub fn new(key: Bytes, range_end: Bytes) -> Self {
        match &range_end[..] {
            [] => Self::One(key),
            [0] => Self::From(key),
            _ => Self::Span { start: key, end: range_end },
        }
    }

    /// All keys.
    pub fn everything() -> Self {
        Self::From(Bytes::from_static(b"\0"))
    }

    /// Whether no key can be in it.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Span { start, end } if end <= start)
    }

    /// Whether a key is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => one == key,
            Self::Span { start, end } => &start[..] <= key && key < &end[..],
            Self::From(start) => &start[..] <= key,
        }
    }

    /// Bounds for a sorted map.
    pub(super) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        match self {
            Self::One(one) => (Bound::Included(one), Bound::Included(one)),
            Self::Span { start, end } => (Bound::Included(start), Bound::Excluded(end)),
            Self::From(start) => (Bound::Included(start), Bound::Unbounded),
        }
    }
}
