use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::{Applied, DumpBlock, DumpError, DumpReader, DumpWriter};
use super::{Event, EventRef, Revision, Storage, StorageError};

/// Records in memory: the storage of simulation and tests.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    records: BTreeMap<Revision, Event>,
    meta: BTreeMap<Bytes, Bytes>,
    applied: Applied,
}

impl Memory {
    /// Everything as one dump.
    pub fn to_bytes(&self) -> Bytes {
        let mut writer = DumpWriter::new(self.applied);
        for (key, value) in &self.meta {
            writer.meta(key, value);
        }
        for (at, record) in &self.records {
            writer.record(*at, record.as_ref());
        }
        writer.finish()
    }

    /// The reverse of [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DumpError> {
        let mut memory = Self::default();
        let whole = std::iter::once(Ok(Bytes::copy_from_slice(bytes)));
        let mut reader = DumpReader::new(whole)?;
        memory.applied = reader.applied();
        while let Some(block) = reader.next_block()? {
            match block {
                DumpBlock::Meta(pairs) => memory.meta.extend(pairs),
                DumpBlock::Records(records) => records.decoded(&mut |at, record| {
                    memory.records.insert(at, record.to_event());
                })?,
            }
        }
        Ok(memory)
    }
}

impl Storage for Memory {
    fn put(&mut self, at: Revision, record: &Event) {
        self.records.insert(at, record.clone());
    }

    fn get(&self, at: Revision) -> Result<Event, StorageError> {
        self.records.get(&at).cloned().ok_or_else(|| StorageError::Corrupt {
            file: self.name(),
            what: format!("revision {at:?} is missing"),
        })
    }

    fn scan(
        &self,
        from: Revision,
        visit: &mut dyn FnMut(Revision, EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        for (at, record) in self.records.range(from..) {
            if visit(*at, record.as_ref()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn delete(&mut self, at: Revision) {
        self.records.remove(&at);
    }

    fn set_applied(&mut self, applied: Applied) {
        self.applied = applied;
    }

    fn applied(&self) -> Applied {
        self.applied
    }

    fn set_meta(&mut self, key: &[u8], value: Option<Bytes>) {
        match value {
            Some(value) => self.meta.insert(Bytes::copy_from_slice(key), value),
            None => self.meta.remove(key),
        };
    }

    fn meta(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.meta.get(key).cloned())
    }

    fn scan_meta(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        let from = Bytes::copy_from_slice(prefix);
        let found = self.meta.range(from..).take_while(|(key, _)| key.starts_with(prefix));
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn size_on_disk(&self) -> u64 {
        self.size_in_use()
    }

    fn size_in_use(&self) -> u64 {
        let size = |event: &Event| event.kv.key.len() + event.kv.value.len() + 32;
        self.records.values().map(|event| size(event) as u64).sum()
    }
}
