use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::View;
use crate::mvcc::{Applied, EventRef, Revision, StorageError};

/// The whole state as it was at some commit. Commits made meanwhile do not show, and reading it
/// holds nobody up.
#[derive(Clone)]
pub struct Frozen {
    view: Arc<View>,
    applied: Applied,
}

impl Frozen {
    pub(super) fn over(view: View) -> Result<Self, StorageError> {
        let applied = view.applied()?;
        Ok(Self { view: Arc::new(view), applied })
    }

    /// The last entry of the log that the state contains.
    pub fn applied(&self) -> Applied {
        self.applied
    }

    /// One small value.
    pub fn meta(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.view.meta(key)
    }

    /// All small values whose key starts with `prefix`, in key order.
    pub fn scan_meta(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        Ok(self.view.scan_meta(prefix)?.into_iter().collect())
    }

    /// All records in order, until `visit` breaks.
    pub fn scan(
        &self,
        visit: &mut dyn FnMut(Revision, EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.view.scan(Revision::default(), visit).map(|_flow| ())
    }

    pub(super) fn view(&self) -> &View {
        &self.view
    }
}

impl fmt::Debug for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frozen({}, {:?})", self.view.file(), self.applied)
    }
}
