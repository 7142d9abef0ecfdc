use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tracing::warn;

use super::rows::{RegistrationRow, TokenRow, UpdateRow, array};
use super::{load, trouble};
use crate::registry::OpenError;
use crate::registry::clock::{self, Tie};
use crate::registry::state::Loaded;
use crate::registry::timeline::{Head, Row as Link};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// How long a write waits for somebody else who has the database open, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How far the wall clock may be from the registry's time without a word.
const APART: Duration = Duration::from_secs(60);

/// How long the log grows before it is moved into the main file, which costs two more syncs: 8 MiB.
const CHECKPOINT_PAGES: &str = "2048";

/// What [`COMMIT`] does. Rows travel as one JSON text for each table, so groups of any size are the
/// same statement, prepared once.
const BATCH: &str = "
    create temp view batch (removed, removed_registrations, tokens, registrations, updated, timeline,
                            last_index, timeline_seq, timeline_hash)
        as select 0, 0, 0, 0, 0, 0, 0, 0, 0;
    create temp trigger batch_written instead of insert on batch begin
        delete from token where created_index in (select value from jsonb_each(new.removed));
        delete from registration
            where created_index in (select value from jsonb_each(new.removed_registrations));
        insert into token (created_index, path, size, label, created_at, expires_at, client_port,
                           first_entry, sum, state_sum)
            select value ->> '$[0][0]', value ->> '$[0][1]', value ->> '$[0][2]',
                   value ->> '$[0][3]', value ->> '$[0][4]', value ->> '$[1][1]',
                   value ->> '$[0][5]', value ->> '$[0][6]', value ->> 2, value ->> 3
            from jsonb_each(new.tokens);
        insert into registration
                (created_index, token_index, member, value, founder, registered_at, origin, sum)
            select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
                   value ->> 6, value ->> 7
            from jsonb_each(new.registrations);
        update token set expires_at = state.value ->> 1, revoked_at = state.value ->> 2,
                         noted = state.value ->> 3, expiry_recorded = state.value ->> 4,
                         state_sum = state.value ->> 5
            from jsonb_each(new.updated) as state
            where token.created_index = state.value ->> 0;
        insert into timeline (seq, token, body, hash)
            select value ->> 0, value ->> 1, value ->> 2, value ->> 3
            from jsonb_each(new.timeline);
        update registry set last_index = new.last_index, timeline_seq = new.timeline_seq,
                            timeline_hash = new.timeline_hash;
    end";

/// One transaction. It is one statement because the thread of the connection tells of the end of each,
/// and whoever waits is woken to hear it: that took longer than the sync.
const COMMIT: &str = "insert into batch values (?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// The one connection that writes.
#[derive(Debug)]
pub(in crate::registry) struct Database {
    path: PathBuf,
    connection: SqliteConnection,
}

/// What one transaction changes.
#[derive(Debug, Default)]
pub(in crate::registry) struct Batch {
    /// Created indexes of tokens to delete; before anything is inserted.
    pub(in crate::registry) removed: Vec<u64>,
    /// Created indexes of their registrations.
    pub(in crate::registry) removed_registrations: Vec<u64>,
    pub(in crate::registry) tokens: Vec<TokenRow>,
    pub(in crate::registry) registrations: Vec<RegistrationRow>,
    /// By the created index of the token, so that the last change of a group wins.
    pub(in crate::registry) updated: BTreeMap<u64, UpdateRow>,
    pub(in crate::registry) timeline: Vec<Link>,
    pub(in crate::registry) last_index: u64,
}

impl Batch {
    pub(in crate::registry) fn is_empty(&self) -> bool {
        self.removed.is_empty()
            && self.tokens.is_empty()
            && self.registrations.is_empty()
            && self.updated.is_empty()
            && self.timeline.is_empty()
    }
}

impl Database {
    /// Opens or creates the database, brings its schema up to date and looks for damage.
    pub(in crate::registry) async fn open(path: PathBuf) -> Result<(Self, Loaded), OpenError> {
        let failed = |op| {
            let path = path.clone();
            move |source| trouble::failure(path, op, source)
        };
        let mut connection = Self::connect(&path, true).await.map_err(failed("open it"))?;
        let findings: Vec<String> = sqlx::query_scalar("pragma quick_check(1)")
            .fetch_all(&mut connection)
            .await
            .map_err(failed("check it"))?;
        if let Some(finding) = findings.into_iter().find(|finding| finding != "ok") {
            return Err(OpenError::Damaged { path, finding });
        }
        match MIGRATIONS.run(&mut connection).await {
            Ok(()) => {}
            Err(MigrateError::VersionMissing(version)) => {
                return Err(OpenError::Newer { path, version });
            }
            Err(source) => return Err(OpenError::Migrate { path, source }),
        }
        sqlx::query(
            "insert into registry (id, cluster_id, last_index)
             values (1, lower(hex(randomblob(8))), 3)
             on conflict do nothing",
        )
        .execute(&mut connection)
        .await
        .map_err(failed("initialize it"))?;
        Self::expect_batches(&mut connection).await.map_err(failed("prepare it"))?;
        let mut database = Self { path, connection };
        database.tie_clock().await?;
        let loaded = load::load(&mut database.connection, &database.path).await?;
        Ok((database, loaded))
    }

    /// Lets the registry's time go on where it was, if the machine has not restarted since.
    async fn tie_clock(&mut self) -> Result<(), OpenError> {
        let path = self.path.clone();
        let failed = |source| trouble::failure(path.clone(), "read its clock", source);
        let (boot, offset, up_millis): (Option<String>, i64, i64) =
            sqlx::query_as("select clock_boot, clock_offset, clock_up from registry")
                .fetch_one(&mut self.connection)
                .await
                .map_err(failed)?;
        let stored = Tie { boot, offset, up_millis };
        let reading = clock::read();
        let tie = Tie::renewed(Some(stored.clone()), clock::boot(), reading);
        if tie.offset != stored.offset || tie.boot != stored.boot {
            let written = sqlx::query(
                "update registry set clock_boot = ?1, clock_offset = ?2, clock_up = ?3",
            )
            .bind(tie.boot.clone())
            .bind(tie.offset)
            .bind(tie.up_millis)
            .execute(&mut self.connection)
            .await;
            // A full disk must not keep the service from reading.
            if let Err(error) = written {
                warn!(error = %error, "the registry's clock was not written down");
            }
        }
        let apart = Duration::from_millis(clock::follow(&tie, reading).unsigned_abs());
        if apart > APART {
            warn!(
                apart.seconds = apart.as_secs(),
                "the wall clock was set since the machine started; tokens live by the clock \
                 that was not"
            );
        }
        Ok(())
    }

    /// Opens the database again after trouble.
    pub(in crate::registry) async fn reopen(path: PathBuf) -> Result<(Self, Loaded), OpenError> {
        let connection = Self::connect_again(&path)
            .await
            .map_err(|source| trouble::failure(path.clone(), "open it again", source))?;
        let mut database = Self { path, connection };
        let loaded = load::load(&mut database.connection, &database.path).await?;
        Ok((database, loaded))
    }

    /// Takes a new connection after a write for which there was no room.
    ///
    /// The old one may hold on to what it could not write. If there is no room for a connection
    /// either, it is as good.
    pub(super) async fn renew(&mut self) {
        match Self::connect_again(&self.path).await {
            // The new one is open before the old one closes, so the log is never moved in between.
            Ok(connection) => self.connection = connection,
            Err(error) => warn!(error = %error, "the full registry was not opened again"),
        }
    }

    async fn connect(path: &Path, create: bool) -> Result<SqliteConnection, sqlx::Error> {
        SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(create)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            // What statements keep for undoing themselves would go to files otherwise.
            .pragma("temp_store", "memory")
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .disable_statement_logging()
            .connect()
            .await
    }

    /// A connection to a database that has its schema.
    async fn connect_again(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
        let mut connection = Self::connect(path, false).await?;
        Self::expect_batches(&mut connection).await?;
        Ok(connection)
    }

    /// Makes a connection ready for [`COMMIT`]; what that needs goes with the connection.
    async fn expect_batches(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(BATCH).execute(connection).await.map(drop)
    }

    /// Leaves out indexes that somebody may have seen.
    pub(super) async fn skip_indexes(&mut self, gap: i64) -> Result<(), sqlx::Error> {
        let query = sqlx::query("update registry set last_index = last_index + ?1").bind(gap);
        query.execute(&mut self.connection).await.map(drop)
    }

    /// Closes the database, which moves the log into the main file.
    pub(in crate::registry) async fn close(self) -> Result<(), sqlx::Error> {
        self.connection.close().await
    }

    /// Writes a batch in one transaction; on success it is on disk.
    pub(in crate::registry) async fn commit(
        &mut self,
        batch: &Batch,
        head: Head,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(COMMIT)
            .bind(as_json(&batch.removed))
            .bind(as_json(&batch.removed_registrations))
            .bind(array(batch.tokens.iter()))
            .bind(array(batch.registrations.iter()))
            .bind(array(batch.updated.values()))
            .bind(array(batch.timeline.iter()))
            .bind(batch.last_index.cast_signed())
            .bind(head.seq.cast_signed())
            .bind(head.hash_text())
            .execute(&mut self.connection)
            .await
            .map(drop)
    }
}

fn as_json(rows: &impl Serialize) -> String {
    serde_json::to_string(rows).expect("rows have string keys only")
}
