//! `model` runs the keyspace against full copies; `scripts` runs the golden scripts.

mod dump;
mod model;
mod scripts;

use std::ops::ControlFlow;

use super::{IndexRebuild, Keyspace, Revision, Storage, StorageError};

/// The keyspace that a storage holds.
fn open<S: Storage>(storage: S) -> Result<Keyspace<S>, StorageError> {
    let mut rebuild = IndexRebuild::default();
    storage.scan(Revision::default(), &mut |at, record| {
        rebuild.record(at, record);
        ControlFlow::Continue(())
    })?;
    Keyspace::rebuilt(storage, rebuild)
}
