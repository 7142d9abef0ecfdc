use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{database, reader};
use crate::registry::{BackupError, clock};

/// The first line of a backup. The second is a [`Head`] in JSON, the third the SHA-256 of these two
/// lines, and the rest is a database.
const MAGIC: &str = "quorate-backup 2";
/// The first line of older ones, which have no third.
const MAGIC_1: &str = "quorate-backup 1";
/// The longest second line that is read.
const MAX_HEAD_BYTES: u64 = 64 * 1024;
/// A registry that was restored goes on this far behind the backup, because what happened after the
/// backup took indexes as well, and nodes remember them.
const INDEX_GAP: i64 = 1 << 32;

/// A copy of the registry, ready to be sent.
#[derive(Debug)]
pub struct Backup {
    /// The lines in front of the database.
    pub head: Vec<u8>,
    /// The database; it has no name any more and goes with this handle.
    pub file: tokio::fs::File,
    /// The length of the database.
    pub bytes: u64,
}

/// What a backup says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of the program that made it.
    pub version: String,
    /// Milliseconds since 1970.
    pub made_at: u64,
    pub bytes: u64,
    /// Of the database, in hexadecimal.
    pub sha256: String,
    pub timeline_entries: u64,
    pub timeline_head: String,
}

fn io(path: &Path, op: &'static str) -> impl FnOnce(std::io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { path, op, source }
}

/// Copies the database beside itself and describes the copy.
pub(in crate::registry) async fn backup(database: &Path) -> Result<Backup, BackupError> {
    let name = format!("backup-{:016x}.tmp", rand::random::<u64>());
    let path = database.with_file_name(name);
    let made = describe(database, &path).await;
    // Once it is open it needs no name; one that was not made may leave a part behind.
    let _ = tokio::fs::remove_file(&path).await;
    made
}

async fn describe(database: &Path, path: &Path) -> Result<Backup, BackupError> {
    reader::copy(database, path).await?;
    let timeline = reader::verify(path).await?;
    let file = File::open(path).map_err(io(path, "open the copy"))?;
    let hashing = file.try_clone().map_err(io(path, "open the copy"))?;
    let digest = tokio::task::spawn_blocking(move || digest(hashing, std::io::sink()));
    let (bytes, sha256) =
        digest.await.expect("hashing does not panic").map_err(io(path, "read the copy"))?;
    let head = Head {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: clock::now().0,
        bytes,
        sha256,
        timeline_entries: timeline.entries,
        timeline_head: timeline.head,
    };
    let json = serde_json::to_string(&head).expect("the head has string keys only");
    let mut file = tokio::fs::File::from_std(file);
    tokio::io::AsyncSeekExt::rewind(&mut file).await.map_err(io(path, "read the copy"))?;
    let lines = format!("{MAGIC}\n{json}\n");
    Ok(Backup { head: format!("{lines}{}\n", sum(&lines)).into_bytes(), file, bytes })
}

/// The third line.
fn sum(lines: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(lines))
}

/// Copies all bytes; tells how many they are and their SHA-256.
fn digest(mut from: impl Read, mut to: impl Write) -> std::io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        let read = from.read(&mut chunk)?;
        if read == 0 {
            return Ok((bytes, HEXLOWER.encode(&hash.finalize())));
        }
        hash.update(&chunk[..read]);
        to.write_all(&chunk[..read])?;
        bytes += read as u64;
    }
}

/// Reads what a backup says about itself, and leaves the reader at the database.
fn read_head(path: &Path, from: &mut impl std::io::BufRead) -> Result<Head, BackupError> {
    let none = |what| BackupError::NoBackup { path: path.to_owned(), what };
    let mut from = from.take(MAX_HEAD_BYTES);
    let mut lines = String::new();
    let read = from.read_line(&mut lines);
    let summed = match lines.trim_end() {
        MAGIC => true,
        MAGIC_1 => false,
        _ => return Err(none("it does not start with `quorate-backup 2`")),
    };
    let start = lines.len();
    let read = read.and_then(|_| from.read_line(&mut lines));
    read.map_err(|_error| none("its second line is no text"))?;
    if summed {
        let mut line = String::new();
        let read = from.read_line(&mut line);
        if read.is_err() || line.strip_suffix('\n') != Some(&sum(&lines)) {
            let what = "its first lines do not have the SHA-256 that the third names".to_owned();
            return Err(BackupError::Damaged { path: path.to_owned(), what });
        }
    }
    serde_json::from_str(&lines[start..])
        .map_err(|_error| none("its second line does not describe it"))
}

/// Reads a whole backup and compares it with what it says about itself.
pub fn inspect(backup: &Path) -> Result<Head, BackupError> {
    let mut from = BufReader::new(File::open(backup).map_err(io(backup, "open the backup"))?);
    let head = read_head(backup, &mut from)?;
    let found = digest(from, std::io::sink()).map_err(io(backup, "read the backup"))?;
    head.compare(backup, &found).map(|()| head)
}

impl Head {
    fn compare(&self, path: &Path, (bytes, sha256): &(u64, String)) -> Result<(), BackupError> {
        let damaged = |what: String| BackupError::Damaged { path: path.to_owned(), what };
        if *bytes != self.bytes {
            return Err(damaged(format!("it has {bytes} bytes of {}", self.bytes)));
        }
        if *sha256 != self.sha256 {
            return Err(damaged("its SHA-256 is not the one it names".to_owned()));
        }
        Ok(())
    }
}

/// Makes a data directory of a backup, after checking all of it.
pub async fn restore(backup: &Path, dir: &Path) -> Result<Head, BackupError> {
    let mut from = BufReader::new(File::open(backup).map_err(io(backup, "open the backup"))?);
    let head = read_head(backup, &mut from)?;
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(BackupError::NotEmpty { dir: dir.to_owned() });
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(io(dir, "create the data directory"))?;
    let part = dir.join("restore.tmp");
    let restored = unpack(backup, &head, from, &part).await;
    if restored.is_err() {
        // What was unpacked is of no use; the error is about the backup.
        let _ = std::fs::remove_file(&part);
        return restored.map(|()| head);
    }
    let database = dir.join("registry.db");
    std::fs::rename(&part, &database).map_err(io(&database, "name the database"))?;
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(io(dir, "sync the data directory"))?;
    Ok(head)
}

async fn unpack(
    backup: &Path,
    head: &Head,
    from: impl Read,
    part: &Path,
) -> Result<(), BackupError> {
    let damaged = |what: String| BackupError::Damaged { path: backup.to_owned(), what };
    let options = File::options().write(true).create_new(true).mode(0o600).open(part);
    let mut file = options.map_err(io(part, "create the database"))?;
    let found = digest(from, &mut file).map_err(io(part, "write the database"))?;
    file.sync_all().map_err(io(part, "write the database"))?;
    head.compare(backup, &found)?;
    // Opening looks for damage and brings the schema up to date.
    let (mut opened, _) = database::Database::open(part.to_owned()).await?;
    let timeline = reader::verify(part).await?;
    if (timeline.entries, &timeline.head) != (head.timeline_entries, &head.timeline_head) {
        return Err(damaged("its timeline is not the one it names".to_owned()));
    }
    opened
        .skip_indexes(INDEX_GAP)
        .await
        .map_err(|source| BackupError::Write { path: part.to_owned(), source })?;
    opened.close().await.map_err(|source| BackupError::Write { path: part.to_owned(), source })
}
