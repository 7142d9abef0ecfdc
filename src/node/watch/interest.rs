use bytes::Bytes;

use crate::mvcc::Event;

/// What a watcher wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    pub key: Bytes,
    /// Empty: the one key. One zero byte: every key from `key` on. Otherwise the first key that is
    /// no longer meant.
    pub range_end: Bytes,
    pub puts: bool,
    pub deletes: bool,
}

/// How an interest is found by key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Span {
    Key(Bytes),
    Prefix(Bytes),
    /// Neither; found by looking at all of these.
    Range(Bytes, Bytes),
}

impl Interest {
    /// Whether the event is of a wanted key and kind.
    pub fn wants(&self, event: &Event) -> bool {
        let kind = if event.deleted { self.deletes } else { self.puts };
        kind && self.covers(&event.kv.key)
    }

    /// Whether no key at all can be meant.
    pub fn is_empty(&self) -> bool {
        !self.range_end.is_empty() && !self.is_open() && self.range_end <= self.key
    }

    fn covers(&self, key: &[u8]) -> bool {
        if self.range_end.is_empty() {
            return *key == *self.key;
        }
        *key >= *self.key && (self.is_open() || *key < *self.range_end)
    }

    fn is_open(&self) -> bool {
        *self.range_end == [0]
    }

    pub(super) fn span(&self) -> Span {
        if self.range_end.is_empty() {
            Span::Key(self.key.clone())
        } else if self.is_open() && *self.key == [0] {
            Span::Prefix(Bytes::new()) // every key, since no key is empty
        } else if self.is_prefix() {
            Span::Prefix(self.key.clone())
        } else {
            Span::Range(self.key.clone(), self.range_end.clone())
        }
    }

    /// Whether the range is exactly the keys that begin with `key`: its end is `key` without trailing
    /// 0xff bytes and with the last byte that remains one higher.
    fn is_prefix(&self) -> bool {
        let Some((last, head)) = self.range_end.split_last() else { return false };
        let Some((own_head, rest)) = self.key.split_at_checked(head.len()) else { return false };
        let Some((own_last, tail)) = rest.split_first() else { return false };
        head == own_head
            && own_last.checked_add(1) == Some(*last)
            && tail.iter().all(|byte| *byte == 0xff)
    }
}
