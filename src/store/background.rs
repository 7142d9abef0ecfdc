use std::io;
use std::ops::Bound;
use std::thread::yield_now;

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// The file of a store, written beside the work that clients wait for.
///
/// A commit writes thousands of pages without a pause. Whoever is woken on the core where that happens waits for
/// the kernel's next tick, up to four milliseconds, even while another core idles; so others
/// are let in after every page. Who is alone pays less than a microsecond for that.
#[derive(Debug)]
pub(super) struct Background(pub(super) FileBackend);

/// Goes through what is large, and lets others in now and then as well.
pub(super) fn in_turns<T>(all: &[T]) -> impl Iterator<Item = &T> {
    const AT_ONCE: usize = 64;
    all.iter().enumerate().map(|(number, one)| {
        if number % AT_ONCE == AT_ONCE - 1 {
            yield_now();
        }
        one
    })
}

impl StorageBackend for Background {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)?;
        yield_now();
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}
