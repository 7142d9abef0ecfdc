use std::ops::ControlFlow;

use bytes::Bytes;

use super::convert::header;
use super::{Error, range};
use crate::lease::{LeaseId, Leases};
use crate::mvcc::{
    Event, EventRef, KeyRange, KeyValue, Keyspace, Revision, Storage, StorageError, Write,
};
use crate::proto::etcdserverpb as pb;

/// One request at work: the next revision in the making, and the leases whose keys it moves.
#[derive(Debug)]
pub(super) struct Changes<'a, S> {
    write: Write<'a, S>,
    leases: &'a mut Leases,
}

impl<'a, S: Storage> Changes<'a, S> {
    pub(super) fn begin(keys: &'a mut Keyspace<S>, leases: &'a mut Leases) -> Self {
        Self { write: keys.write(), leases }
    }

    pub(super) fn keys(&self) -> &Keyspace<S> {
        self.write.keys()
    }

    pub(super) fn leases(&self) -> &Leases {
        self.leases
    }

    pub(super) fn revision(&self) -> i64 {
        self.write.revision()
    }

    pub(super) fn finish(self) -> Vec<Event> {
        self.write.finish()
    }

    fn current(&self, key: &[u8]) -> Result<Option<KeyValue>, StorageError> {
        self.keys().get(key, self.revision())
    }

    /// What a put needs of the state, in the order for one outside a transaction.
    pub(super) fn check_put(&self, request: &pb::PutRequest) -> Result<(), Error> {
        self.check_lease(request)?;
        self.check_exists(request)
    }

    pub(super) fn check_lease(&self, request: &pb::PutRequest) -> Result<(), Error> {
        if request.lease != 0 && self.leases.ttl(LeaseId(request.lease)).is_none() {
            return Err(Error::LeaseNotFound);
        }
        Ok(())
    }

    pub(super) fn check_exists(&self, request: &pb::PutRequest) -> Result<(), Error> {
        let needed = request.ignore_value || request.ignore_lease;
        if needed && self.keys().find(&request.key, self.revision()).is_none() {
            return Err(Error::KeyNotFound);
        }
        Ok(())
    }

    /// Puts one pair; what it needs has been checked.
    pub(super) fn put(&mut self, request: pb::PutRequest) -> Result<pb::PutResponse, StorageError> {
        let looks_back = request.prev_kv || request.ignore_value || request.ignore_lease;
        let previous = if looks_back { self.current(&request.key)? } else { None };
        let mut value = request.value;
        let mut lease = request.lease;
        if let Some(previous) = &previous {
            if request.ignore_value {
                value = previous.value.clone();
            }
            if request.ignore_lease {
                lease = previous.lease;
            }
        }
        self.leases.attach(&request.key, lease);
        self.write.put(request.key, value, lease);
        let prev_kv = previous.filter(|_| request.prev_kv).map(Into::into);
        Ok(pb::PutResponse { header: header(self.revision()), prev_kv })
    }

    /// Deletes a range.
    pub(super) fn delete_range(
        &mut self,
        request: pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, StorageError> {
        let range = KeyRange::new(request.key, request.range_end);
        let found = self.keys().range(&range, self.revision(), None);
        let (keys, records): (Vec<Bytes>, Vec<Revision>) = found
            .filter_map(|(key, revision)| Some((Bytes::copy_from_slice(key), revision?)))
            .unzip();
        let mut prev_kvs = Vec::new();
        if request.prev_kv {
            let mut keep = |record: EventRef<'_>| {
                prev_kvs.push(record.to_event().kv.into());
                ControlFlow::Continue(())
            };
            self.keys().storage().visit(&records, &mut keep)?;
        }
        let deleted = i64::try_from(keys.len()).expect("keys are counted in memory");
        for key in keys {
            self.delete(key);
        }
        Ok(pb::DeleteRangeResponse { header: header(self.revision()), deleted, prev_kvs })
    }

    /// Deletes one key that exists.
    fn delete(&mut self, key: Bytes) {
        self.leases.detach(&key);
        self.write.delete(key);
    }

    /// Removes a lease and deletes its keys.
    pub(super) fn revoke(&mut self, id: LeaseId) -> Result<(), Error> {
        let keys = self.leases.revoke(id).ok_or(Error::LeaseNotFound)?;
        for key in keys {
            self.write.delete(Bytes::copy_from_slice(&key));
        }
        Ok(())
    }

    /// Reads a range with the changes so far.
    pub(super) fn range(&self, request: &pb::RangeRequest) -> Result<pb::RangeResponse, Error> {
        range::read(self.keys(), self.revision(), request)
    }
}
