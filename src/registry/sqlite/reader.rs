use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, Connection, Row as _, SqliteConnection};

use super::trouble;
use crate::registry::timeline::{Broken, Entry, Head, Row, Verified};
use crate::registry::{BackupError, OpenError, VerifyError};
use crate::token::PublicId;

/// How long a reader waits for a lock; readers and the writer hardly ever meet.
const PATIENCE: Duration = Duration::from_secs(5);

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

pub(in crate::registry) async fn timeline(
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
        sqlx::query(query).bind(signed(after)).bind(i64::try_from(limit).unwrap_or(i64::MAX));
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

/// A number that somebody asks with; those that are stored are smaller.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(in crate::registry) async fn verify(path: &Path) -> Result<Verified, VerifyError> {
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
    head.ends_at(seq.cast_unsigned(), &hash)?;
    Ok(Verified { entries: head.seq, head: head.hash_text() })
}

pub(in crate::registry) async fn copy(path: &Path, file: &Path) -> Result<(), BackupError> {
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

pub(in crate::registry) async fn check(path: &Path) -> Result<(), OpenError> {
    let failed = |source| trouble::failure(path.to_owned(), "check it", source);
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
