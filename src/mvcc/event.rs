use bytes::Bytes;

/// One change of one key, as a watcher sees it and as the storage keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What the key is now; for a deletion only `key` and `mod_revision` are set.
    pub kv: KeyValue,
    pub deleted: bool,
}

/// Revisions, ascending, each with what changed in it.
pub type Revisions = Vec<(i64, Vec<Event>)>;

/// A key at some revision (`mvccpb.KeyValue`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyValue {
    pub key: Bytes,
    pub value: Bytes,
    pub create_revision: i64,
    pub mod_revision: i64,
    pub version: i64,
    pub lease: i64,
}
