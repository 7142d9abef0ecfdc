use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use super::OpenError;
use crate::admission::{ClusterSize, Founding, Registered, UnixMillis};
use crate::membership::MemberId;
use crate::token::TokenPath;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// How long a write waits for somebody else who has the database open, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The one connection that writes.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    connection: SqliteConnection,
}

/// Everything a registry holds.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) tokens: HashMap<TokenPath, Arc<Founding>>,
    pub(super) last_index: u64,
    pub(super) cluster_id: String,
}

/// What one transaction changes.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Created indexes of tokens to delete; before anything is inserted.
    pub(super) removed: Vec<u64>,
    pub(super) tokens: Vec<TokenRow>,
    pub(super) registrations: Vec<RegistrationRow>,
    pub(super) sealed: Vec<SealedRow>,
    pub(super) last_index: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct TokenRow {
    pub(super) path: String,
    pub(super) size: u32,
    pub(super) label: Option<String>,
    pub(super) created_index: u64,
    pub(super) created_at: u64,
    pub(super) expires_at: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct RegistrationRow {
    pub(super) created_index: u64,
    pub(super) token_index: u64,
    pub(super) member: String,
    pub(super) value: String,
    pub(super) founder: u8,
    pub(super) registered_at: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct SealedRow {
    pub(super) token_index: u64,
    pub(super) expires_at: u64,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.tokens.is_empty() && self.registrations.is_empty()
    }
}

impl Database {
    /// Opens or creates the database, brings its schema up to date and looks for damage.
    pub(super) async fn open(path: PathBuf) -> Result<(Self, Loaded), OpenError> {
        let failed = |op| {
            let path = path.clone();
            move |source| Self::failure(path, op, source)
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
        let mut database = Self { path, connection };
        let loaded = database.load().await?;
        Ok((database, loaded))
    }

    /// Opens the database again after trouble.
    pub(super) async fn reopen(path: PathBuf) -> Result<(Self, Loaded), OpenError> {
        let connection = Self::connect(&path, false)
            .await
            .map_err(|source| Self::failure(path.clone(), "open it again", source))?;
        let mut database = Self { path, connection };
        let loaded = database.load().await?;
        Ok((database, loaded))
    }

    async fn connect(path: &Path, create: bool) -> Result<SqliteConnection, sqlx::Error> {
        SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(create)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging()
            .connect()
            .await
    }

    /// Closes the database, which moves the log into the main file.
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        self.connection.close().await
    }

    pub(super) fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Reads everything.
    async fn load(&mut self) -> Result<Loaded, OpenError> {
        let path = self.path.clone();
        let failed = |source| Self::failure(path.clone(), "read it", source);
        let damaged = |finding| OpenError::Damaged { path: path.clone(), finding };
        let connection = &mut self.connection;
        let (cluster_id, last_index): (String, i64) =
            sqlx::query_as("select cluster_id, last_index from registry")
                .fetch_one(&mut *connection)
                .await
                .map_err(failed)?;
        let rows = sqlx::query("select path, size, label, created_index, expires_at from token")
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
        let mut by_index: HashMap<i64, Founding> = HashMap::with_capacity(rows.len());
        for row in rows {
            let index: i64 = row.get("created_index");
            let founding = founding(&row)
                .ok_or_else(|| damaged(format!("the token with index {index} makes no sense")))?;
            by_index.insert(index, founding);
        }
        let rows = sqlx::query(
            "select created_index, token_index, member, value, founder
             from registration order by created_index",
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
        for row in rows {
            let index: i64 = row.get("created_index");
            let token = by_index.get_mut(&row.get("token_index"));
            let (Some(token), Some(registered)) = (token, registered(&row)) else {
                let finding = format!("the registration with index {index} makes no sense");
                return Err(damaged(finding));
            };
            token.index = token.index.max(registered.index);
            match row.get::<i64, _>("founder") {
                0 => token.surplus.push(Arc::new(registered)),
                _ => token.founders.push(Arc::new(registered)),
            }
        }
        let tokens = by_index.into_values().map(|token| (token.path.clone(), Arc::new(token)));
        Ok(Loaded { tokens: tokens.collect(), last_index: last_index.cast_unsigned(), cluster_id })
    }

    /// Writes a batch in one transaction; on success it is on disk.
    ///
    /// The rows travel as one JSON text per table: a group of any size is one statement, prepared
    /// once.
    pub(super) async fn commit(&mut self, batch: &Batch) -> Result<(), sqlx::Error> {
        let mut transaction = self.connection.begin_with("begin immediate").await?;
        if !batch.removed.is_empty() {
            sqlx::query(
                "delete from token
                 where created_index in (select value from json_each(?1))",
            )
            .bind(as_json(&batch.removed))
            .execute(&mut *transaction)
            .await?;
        }
        if !batch.tokens.is_empty() {
            sqlx::query(
                "insert into token (path, size, label, created_index, created_at, expires_at)
                 select value ->> 'path', value ->> 'size', value ->> 'label',
                        value ->> 'created_index', value ->> 'created_at', value ->> 'expires_at'
                 from json_each(?1)",
            )
            .bind(as_json(&batch.tokens))
            .execute(&mut *transaction)
            .await?;
        }
        if !batch.registrations.is_empty() {
            sqlx::query(
                "insert into registration
                     (created_index, token_index, member, value, founder, registered_at)
                 select value ->> 'created_index', value ->> 'token_index', value ->> 'member',
                        value ->> 'value', value ->> 'founder', value ->> 'registered_at'
                 from json_each(?1)",
            )
            .bind(as_json(&batch.registrations))
            .execute(&mut *transaction)
            .await?;
        }
        if !batch.sealed.is_empty() {
            sqlx::query(
                "update token set expires_at = sealed.value ->> 'expires_at'
                 from json_each(?1) as sealed
                 where token.created_index = sealed.value ->> 'token_index'",
            )
            .bind(as_json(&batch.sealed))
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query("update registry set last_index = ?1")
            .bind(batch.last_index.cast_signed())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// Tells damage from other trouble.
    fn failure(path: PathBuf, op: &'static str, source: sqlx::Error) -> OpenError {
        const SQLITE_CORRUPT: i32 = 11;
        const SQLITE_NOTADB: i32 = 26;
        match extended_code(&source).map(|extended| extended & 0xff) {
            Some(SQLITE_CORRUPT | SQLITE_NOTADB) => {
                OpenError::Damaged { path, finding: source.to_string() }
            }
            _ => OpenError::Database { path, op, source },
        }
    }
}

/// Whether the kernel may have dropped what we wrote. Nothing written after that can be trusted
/// either, as the log's checksums run through the part that is lost.
pub(super) fn is_failed_sync(failure: &sqlx::Error) -> bool {
    const SQLITE_IOERR_FSYNC: i32 = 10 | (4 << 8);
    const SQLITE_IOERR_DIR_FSYNC: i32 = 10 | (5 << 8);
    matches!(extended_code(failure), Some(SQLITE_IOERR_FSYNC | SQLITE_IOERR_DIR_FSYNC))
}

fn extended_code(failure: &sqlx::Error) -> Option<i32> {
    failure.as_database_error()?.code()?.parse().ok()
}

fn as_json(rows: &impl Serialize) -> String {
    serde_json::to_string(rows).expect("rows have string keys only")
}

fn founding(row: &sqlx::sqlite::SqliteRow) -> Option<Founding> {
    let created_index = u64::try_from(row.get::<i64, _>("created_index")).ok()?;
    let label: Option<String> = row.get("label");
    Some(Founding {
        path: TokenPath::stored(row.get("path")),
        size: ClusterSize::stored(u32::try_from(row.get::<i64, _>("size")).ok()?)?,
        label: label.map(|text| text.parse()).transpose().ok()?,
        created_index,
        index: created_index,
        expires_at: UnixMillis(u64::try_from(row.get::<i64, _>("expires_at")).ok()?),
        founders: Vec::new(),
        surplus: Vec::new(),
    })
}

fn registered(row: &sqlx::sqlite::SqliteRow) -> Option<Registered> {
    let key: MemberId = row.get::<String, _>("member").parse().ok()?;
    let value: String = row.get("value");
    let member = value.parse().ok()?;
    let index = u64::try_from(row.get::<i64, _>("created_index")).ok()?;
    Some(Registered { key, value, member, index })
}
