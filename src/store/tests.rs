use super::Store;
use crate::apply::State;

/// Readers on other threads hold the state, the flusher holds a batch.
#[test]
fn state_and_batch_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<State<Store>>();
    crosses::<super::FlushBatch>();
    crosses::<super::SnapshotReader>();
}
