use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, Connection, Row as _, SqliteConnection};

use super::OpenError;
use super::database::Database;
use super::timeline::{Broken, Entry, Head, Row, Verified};
use crate::token::PublicId;

/// How long a reader waits for a lock; readers and the writer hardly ever meet.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a timeline cannot be read or is not whole.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("registry `{}`: read the timeline", path.display())]
    Read { path: PathBuf, source: sqlx::Error },
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("`{}` cannot be written", path.display())]
    Write { path: PathBuf, source: sqlx::Error },
}

/// A connection beside the writer's, which sees committed states only.
async fn connect(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(PATIENCE)
        .disable_statement_logging()
        .connect()
        .await
}

pub(super) async fn timeline(
    path: &Path,
    of: Option<&PublicId>,
    after: u64,
    limit: usize,
) -> Result<Vec<Entry>, VerifyError> {
    let failed = |source| VerifyError::Read { path: path.to_owned(), source };
    let mut connection = connect(path).await.map_err(failed)?;
    let query = match of {
        Some(_) => {
            "select body, seq from timeline where token = ?3 and seq > ?1 order by seq limit ?2"
        }
        None => "select body, seq from timeline where seq > ?1 order by seq limit ?2",
    };
    let mut query =
        sqlx::query(query).bind(after.cast_signed()).bind(i64::try_from(limit).unwrap_or(i64::MAX));
    if let Some(id) = of {
        query = query.bind(id.as_str());
    }
    let rows = query.fetch_all(&mut connection).await.map_err(failed)?;
    let entry = |row: &SqliteRow| {
        serde_json::from_str(row.get("body")).map_err(|error| Broken {
            seq: row.get::<i64, _>("seq").cast_unsigned(),
            what: format!("its text is no entry: {error}"),
        })
    };
    let entries: Result<_, Broken> = rows.iter().map(entry).collect();
    // Nothing was written, so there is nothing to lose when closing fails.
    let _ = connection.close().await;
    Ok(entries?)
}

pub(super) async fn verify(path: &Path) -> Result<Verified, VerifyError> {
    let failed = |source| VerifyError::Read { path: path.to_owned(), source };
    let mut connection = connect(path).await.map_err(failed)?;
    // One transaction, so that the end that is stored is the end that is read.
    let mut reading = connection.begin().await.map_err(failed)?;
    let (seq, hash): (i64, String) =
        sqlx::query_as("select timeline_seq, timeline_hash from registry")
            .fetch_one(&mut *reading)
            .await
            .map_err(failed)?;
    let mut head = Head::START;
    let query = sqlx::query("select seq, token, body, hash from timeline order by seq");
    let mut rows = query.fetch(&mut *reading);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        head.follow(&Row {
            seq: row.get::<i64, _>("seq").cast_unsigned(),
            token: row.get("token"),
            body: row.get("body"),
            hash: row.get("hash"),
        })?;
    }
    drop(rows);
    if (head.seq, head.hash_text()) != (seq.cast_unsigned(), hash) {
        let what = format!("the timeline should end with entry {seq} and another hash");
        return Err(Broken { seq: head.seq, what }.into());
    }
    Ok(Verified { entries: head.seq, head: head.hash_text() })
}

pub(super) async fn copy(path: &Path, file: &Path) -> Result<(), BackupError> {
    let failed = |source| BackupError::Write { path: file.to_owned(), source };
    let mut connection = connect(path).await.map_err(failed)?;
    // One consistent state, without the log and without free pages, while writes go on.
    sqlx::query("vacuum into ?1")
        .bind(file.to_string_lossy().into_owned())
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    // Nothing was written through this connection.
    let _ = connection.close().await;
    Ok(())
}

pub(super) async fn check(path: &Path) -> Result<(), OpenError> {
    let failed = |source| Database::failure(path.to_owned(), "check it", source);
    let mut connection = connect(path).await.map_err(failed)?;
    let finding: String = sqlx::query_scalar("pragma quick_check(1)")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    // As above.
    let _ = connection.close().await;
    if finding == "ok" {
        Ok(())
    } else {
        Err(OpenError::Damaged { path: path.to_owned(), finding })
    }
}
