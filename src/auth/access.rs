use bytes::Bytes;

use super::{Kind, Permission};

/// The permissions of several roles added up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Access {
    read: Spans,
    write: Spans,
}

/// Disjoint ranges of keys, ascending, none touching the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Spans(Vec<Span>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    start: Bytes,
    end: End,
}

/// Where a range ends; the variants are in order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Before(Bytes),
    Never,
}

impl Access {
    pub(super) fn of<'a>(permissions: impl Iterator<Item = &'a Permission>) -> Self {
        let mut access = Self::default();
        for permission in permissions {
            let span = Span::new(&permission.key, &permission.range_end);
            if permission.kind.reads() {
                access.read.0.push(span.clone());
            }
            if permission.kind.writes() {
                access.write.0.push(span);
            }
        }
        access.read.merge();
        access.write.merge();
        access
    }

    /// Whether every key of the range is within; `range_end` as in a request.
    pub(super) fn covers(&self, kind: Kind, key: &[u8], range_end: &[u8]) -> bool {
        let asked = Span::new(&Bytes::copy_from_slice(key), &Bytes::copy_from_slice(range_end));
        (!kind.reads() || self.read.cover(&asked)) && (!kind.writes() || self.write.cover(&asked))
    }
}

impl Span {
    fn new(key: &Bytes, range_end: &Bytes) -> Self {
        let end = match &range_end[..] {
            [] => End::Before([key, &[0][..]].concat().into()),
            [0] => End::Never,
            _ => End::Before(range_end.clone()),
        };
        Self { start: key.clone(), end }
    }

    fn contains(&self, key: &Bytes) -> bool {
        self.start <= *key && self.end > End::Before(key.clone())
    }
}

impl Spans {
    fn merge(&mut self) {
        self.0.sort_by(|a, b| a.start.cmp(&b.start));
        let mut merged: Vec<Span> = Vec::with_capacity(self.0.len());
        for span in self.0.drain(..) {
            match merged.last_mut() {
                Some(last) if last.end >= End::Before(span.start.clone()) => {
                    last.end = last.end.clone().max(span.end);
                }
                _ => merged.push(span),
            }
        }
        self.0 = merged;
    }

    /// Whether one span holds all of `asked`. Of a range that ends before it begins, and is empty, only
    /// the beginning counts, as in etcd.
    fn cover(&self, asked: &Span) -> bool {
        let after = self.0.partition_point(|span| span.start <= asked.start);
        let Some(span) = after.checked_sub(1).map(|at| &self.0[at]) else { return false };
        span.contains(&asked.start) && span.end >= asked.end
    }
}
