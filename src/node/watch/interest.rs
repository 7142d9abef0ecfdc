use bytes::Bytes;

use crate::mvcc::{Event, KeyRange};

/// What a watcher wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    pub range: KeyRange,
    pub puts: bool,
    pub deletes: bool,
}

/// How an interest is found by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Span {
    Key(Bytes),
    Prefix(Bytes),
    /// Neither; found by looking at all of these.
    Range(KeyRange),
}

impl Interest {
    /// Whether the event is of a wanted key and kind.
    pub fn wants(&self, event: &Event) -> bool {
        let kind = if event.deleted { self.deletes } else { self.puts };
        kind && self.range.contains(&event.kv.key)
    }

    pub(super) fn span(&self) -> Span {
        match &self.range {
            KeyRange::One(key) => Span::Key(key.clone()),
            // Every key, since no key is empty.
            KeyRange::From(start) if **start == [0] => Span::Prefix(Bytes::new()),
            KeyRange::Span { start, end } if is_prefix(start, end) => Span::Prefix(start.clone()),
            range => Span::Range(range.clone()),
        }
    }
}

/// Whether a range is exactly the keys that begin with `start`: its end is `start` without trailing
/// 0xff bytes and with the last byte that remains one higher.
fn is_prefix(start: &[u8], end: &[u8]) -> bool {
    let Some((last, head)) = end.split_last() else { return false };
    let Some((own_head, rest)) = start.split_at_checked(head.len()) else { return false };
    let Some((own_last, tail)) = rest.split_first() else { return false };
    head == own_head
        && own_last.checked_add(1) == Some(*last)
        && tail.iter().all(|byte| *byte == 0xff)
}
