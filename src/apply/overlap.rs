use std::collections::BTreeSet;

use super::Error;
use crate::mvcc::KeyRange;
use crate::proto::etcdserverpb as pb;
use pb::request_op::Request as Op;

/// What a list of operations puts and deletes, as seen from the list around it.
///
/// No key may be put twice, or put and deleted, by operations that can run together. The same key
/// in then and else of one nested transaction is fine, since only one of them runs; so are
/// overlapping deletions. Quirks kept from etcd: what an earlier nested transaction puts is not held
/// against what a later one deletes, and a deletion of all keys from one on (range end `\0`) is not
/// held against any put, so that a key can be put and deleted in one revision.
#[derive(Debug, Default)]
pub(super) struct Overlap<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Vec<KeyRange>,
}

impl<'a> Overlap<'a> {
    pub(super) fn check(ops: &'a [pb::RequestOp]) -> Result<Self, Error> {
        let mut all = Self::default();
        for op in ops {
            if let Some(Op::RequestDeleteRange(delete)) = &op.request {
                let (start, end) = (delete.key.clone(), delete.range_end.clone());
                // Taken literally, the end `\0` makes an empty span.
                let one = end.is_empty();
                all.deletes.push(if one {
                    KeyRange::One(start)
                } else {
                    KeyRange::Span { start, end }
                });
            }
        }
        for op in ops {
            if let Some(Op::RequestTxn(nested)) = &op.request {
                let then = Self::check(&nested.success)?;
                let otherwise = Self::check(&nested.failure)?;
                for key in &then.puts {
                    all.put(key)?;
                }
                for key in &otherwise.puts {
                    if then.puts.contains(key) {
                        all.against_deletes(key)?;
                    } else {
                        all.put(key)?;
                    }
                }
                all.deletes.extend(then.deletes);
                all.deletes.extend(otherwise.deletes);
            }
        }
        for op in ops {
            if let Some(Op::RequestPut(put)) = &op.request {
                all.put(&put.key)?;
            }
        }
        Ok(all)
    }

    fn put(&mut self, key: &'a [u8]) -> Result<(), Error> {
        if !self.puts.insert(key) {
            return Err(Error::DuplicateKey);
        }
        self.against_deletes(key)
    }

    fn against_deletes(&self, key: &[u8]) -> Result<(), Error> {
        if self.deletes.iter().any(|range| range.contains(key)) {
            return Err(Error::DuplicateKey);
        }
        Ok(())
    }
}
