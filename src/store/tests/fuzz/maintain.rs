//! What happens to a store beside reads and writes.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::*;
use crate::store::cache::Cache;
use crate::store::disk::stored_len;
use crate::store::{Copied, Copy, RECORD_CACHE_BYTES};

/// A defragmentation.
pub(super) enum Copying {
    Begun(Copy),
    Follows(Copied),
}

/// As a node opens it, but for what the cache may hold.
pub(super) fn open(mut store: Store, fuzz: &mut Fuzz) -> State<Store> {
    let budget_bytes = *fuzz.pick(&[0, 0, 50_000, RECORD_CACHE_BYTES]);
    store.cache = Arc::new(Cache::new(budget_bytes));
    State::open(store).unwrap()
}

impl Pair {
    pub(super) fn maintain(&mut self, fuzz: &mut Fuzz) {
        if self.flushing.is_some() && fuzz.below(2) == 0 {
            return self.go_on_flushing();
        }
        match fuzz.below(24) {
            0..4 => self.flush(Durability::Deferred),
            4 => self.flush(Durability::Immediate),
            5..8 => self.begin_flush(fuzz),
            8..10 => {
                let limit = *fuzz.pick(&[3, 100, 20_000]);
                for _ in 0..fuzz.below(6) {
                    self.state().compaction_step(limit);
                }
            }
            10..20 => self.go_on_copying(),
            20 => self.close_and_open(fuzz),
            21 | 22 => self.kill(fuzz),
            _ => self.send_elsewhere(fuzz),
        }
    }

    fn flush(&mut self, durability: Durability) {
        if self.flushing.is_none() {
            flush(self.state(), durability);
        }
    }

    fn begin_flush(&mut self, fuzz: &mut Fuzz) {
        let durability = *fuzz.pick(&[Durability::Deferred, Durability::Immediate]);
        if self.flushing.is_none() {
            let begun = self.state().storage_mut().begin_flush(durability);
            self.flushing = begun.map(|batch| (batch, false));
        }
    }

    fn go_on_flushing(&mut self) {
        match &mut self.flushing {
            None => {}
            Some((batch, committed @ false)) => {
                batch.commit().unwrap();
                *committed = true;
            }
            Some((batch, true)) => {
                let applied = batch.pending.applied();
                self.flushing = None;
                let store = self.state().storage_mut();
                store.end_flush().unwrap();
                assert!(store.durable() <= applied, "{:?} after {applied:?}", store.durable());
            }
        }
    }

    fn go_on_copying(&mut self) {
        let busy = self.flushing.is_some();
        self.copying = match self.copying.take() {
            None => Some(Copying::Begun(self.state().storage_mut().begin_copy().unwrap())),
            Some(Copying::Begun(copy)) => Some(Copying::Follows(copy.run().unwrap())),
            Some(Copying::Follows(copied)) if busy => Some(Copying::Follows(copied)),
            Some(Copying::Follows(copied)) => {
                let adopted = copied.finish().unwrap().settle().unwrap();
                let store = self.state().storage_mut();
                let applied = store.view.applied().unwrap();
                drop(store.adopt(adopted).unwrap());
                assert_eq!(store.view.applied().unwrap(), applied);
                assert_eq!(store.durable(), applied);
                assert!(store.copied.is_none());
                self.check();
                None
            }
        }
    }

    /// A stop and a start.
    pub(super) fn close_and_open(&mut self, fuzz: &mut Fuzz) {
        self.state().storage_mut().flush().unwrap();
        let applied = self.state().applied();
        self.begin_again(fuzz, |path| Store::open(path).unwrap(), applied.0);
    }

    /// A crash, after which the log tells the rest.
    fn kill(&mut self, fuzz: &mut Fuzz) {
        let left = self.path.with_extension("left");
        fs::copy(&self.path, &left).unwrap();
        let durable = Index(self.state().storage().durable().index);
        let restart = |path: &Path| {
            fs::rename(&left, path).unwrap();
            Store::open(path).unwrap()
        };
        self.begin_again(fuzz, restart, durable);
    }

    /// Goes on with what another member makes of a snapshot and the log.
    fn send_elsewhere(&mut self, fuzz: &mut Fuzz) {
        let mut dump = {
            let reader = self.state().storage().snapshot_reader().unwrap();
            let chunks: Vec<_> = reader.map(|chunk| Ok(chunk.unwrap())).collect();
            DumpReader::new(chunks.into_iter()).unwrap()
        };
        let received = self.path.with_extension("received");
        let mut builder = Builder::begin(&received, dump.applied()).unwrap();
        while let Some(block) = dump.next_block().unwrap() {
            builder.block(block).unwrap();
        }
        let (built, contains) = (builder.finish().unwrap(), Index(dump.applied().index));
        let install = |path: &Path| Store::install_built(path, built).unwrap();
        self.begin_again(fuzz, install, contains);
    }

    /// Closes the store, opens what is there, which contains so much of the log, and applies the rest.
    fn begin_again(
        &mut self,
        fuzz: &mut Fuzz,
        store: impl FnOnce(&Path) -> Store,
        contains: Index,
    ) {
        let hash = self.state().hash_kv(0).unwrap();
        self.flushing = None;
        self.copying = None;
        drop(self.state.take());
        let mut state = open(store(&self.path), fuzz);
        assert!(contains <= state.applied().0, "{contains:?} was there, {:?}", state.applied());
        for (data, index) in self.log.iter().zip(1..) {
            state.apply(Index(index), Term(1), data).unwrap();
        }
        assert_eq!(state.hash_kv(0).unwrap(), hash);
        self.check_files(&state);
        self.state = Some(state);
        self.check();
    }

    /// What is on disk is what is said to be there, and nothing lies beside it.
    fn check_files(&self, state: &State<Store>) {
        let (mut bytes, view) = (0, &state.storage().view);
        let _flow = view.scan_encoded(Revision::default(), &mut |_, encoded| {
            bytes += stored_len(encoded);
            ControlFlow::Continue(())
        });
        assert_eq!(state.storage().disk.record_bytes(), bytes);
        let files = self.directory.path().read_dir().unwrap().count();
        assert_eq!(files, 1, "nothing is left beside it");
    }

    /// After all compaction only those records are left that it has to keep.
    pub(super) fn finish(&mut self, fuzz: &mut Fuzz) {
        while self.state().compaction_step(1000) {}
        self.close_and_open(fuzz);
        let mut records = 0;
        let storage = self.state().storage();
        let counted = storage.scan(Revision::default(), &mut |_, _| {
            records += 1;
            ControlFlow::Continue(())
        });
        counted.unwrap();
        assert_eq!(records, self.model.records());
    }
}
