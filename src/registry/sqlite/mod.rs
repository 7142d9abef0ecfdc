//! The registry in SQLite, in the data directory: the only place with SQL.

mod backup;
mod database;
mod directory;
mod load;
mod reader;
mod rows;
mod trouble;

use std::path::{Path, PathBuf};

use tracing::{info, warn};

pub(super) use backup::backup;
pub use backup::{Backup, Head as BackupHead, inspect, restore};
pub(super) use database::Batch;
pub(super) use directory::Directory;
pub(super) use reader::{check, timeline, verify};
pub(super) use rows::{RegistrationRow, TokenRow, UpdateRow};

use database::Database;
use trouble::Trouble;

use super::outcome::{NotWritten, Ready};
use super::state::Loaded;
use super::timeline::Head;
use super::{OpenError, SyncFailed, WriterFailed};

/// How many commands one transaction takes.
pub(super) const GROUP: usize = 512;
/// How many tokens one sweep takes.
pub(super) const SWEPT: usize = 512;

/// The database as its one writer sees it.
#[derive(Debug)]
pub(super) struct Sqlite {
    /// Absent after a failed commit, until it is open again and memory is rebuilt from it.
    database: Option<Database>,
    path: PathBuf,
}

impl Sqlite {
    pub(super) async fn open(path: PathBuf) -> Result<(Self, Loaded), OpenError> {
        let (database, loaded) = Database::open(path.clone()).await?;
        Ok((Self { database: Some(database), path }, loaded))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the database again after trouble.
    pub(super) async fn ready(&mut self) -> Result<Ready, WriterFailed> {
        if self.database.is_some() {
            return Ok(Ready::AsBefore);
        }
        match Database::reopen(self.path.clone()).await {
            Ok((database, loaded)) => {
                info!(registry.path = %self.path.display(), "registry is open again");
                self.database = Some(database);
                Ok(Ready::Reloaded(Box::new(loaded)))
            }
            Err(damage @ OpenError::Damaged { .. }) => Err(damage.into()),
            Err(failure) => {
                warn!(error = %failure, "registry does not open again");
                Ok(Ready::No { why: failure.to_string() })
            }
        }
    }

    /// Writes what a group decided; on success it is on disk.
    pub(super) async fn commit(&mut self, batch: &Batch, head: Head) -> Result<(), NotWritten> {
        let unavailable = || NotWritten::Unavailable { why: "the database is closed".to_owned() };
        let database = self.database.as_mut().ok_or_else(unavailable)?;
        let Err(failure) = database.commit(batch, head).await else { return Ok(()) };
        let path = self.path.clone();
        Err(match Trouble::of(&failure) {
            Trouble::FailedSync => NotWritten::Fatal(SyncFailed { path, source: failure }.into()),
            Trouble::Damaged => {
                let finding = failure.to_string();
                NotWritten::Fatal(OpenError::Damaged { path, finding }.into())
            }
            // The transaction is rolled back: what is on disk is what is in memory.
            Trouble::Full => {
                database.renew().await;
                NotWritten::Full { why: failure.to_string() }
            }
            Trouble::Other => {
                self.database = None;
                NotWritten::Unavailable { why: failure.to_string() }
            }
        })
    }

    pub(super) async fn close(self) {
        if let Some(database) = self.database
            && let Err(failure) = database.close().await
        {
            warn!(error = %failure, "registry did not close, the next start reads its log");
        }
    }
}
