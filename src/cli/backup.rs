use std::path::PathBuf;

use clap::Args;
use futures_util::StreamExt as _;
use reqwest::Method;
use tokio::io::AsyncWriteExt as _;

use super::operator::Operator;
use super::{Failure, output, running};
use crate::admission::UnixMillis;
use crate::registry::{self, BackupHead};

/// Where to put a backup.
#[derive(Debug, Args)]
pub(super) struct Backup {
    #[command(flatten)]
    operator: Operator,
    /// File to write; it must not exist
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What to make a registry of.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// File that `quorate backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Data directory to make; it must be empty or missing
    #[arg(long, value_name = "DIR", env = "QUORATE_DATA_DIR")]
    data_dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("`{}` cannot be written", file.display())]
    Write { file: PathBuf, source: std::io::Error },
    #[error("`{}` exists; a backup overwrites nothing", .0.display())]
    Exists(PathBuf),
    #[error("`-` is no file: a backup is checked once it is written, so name a file")]
    NoFile,
    #[error("the connection broke off; there is no backup")]
    BrokeOff(#[source] reqwest::Error),
}

impl Backup {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let write = |source| running(Error::Write { file: self.file.clone(), source });
        if self.file.as_os_str() == "-" {
            return Err(Failure::Configuration(Error::NoFile.into()));
        }
        if self.file.exists() {
            return Err(Failure::Configuration(Error::Exists(self.file.clone()).into()));
        }
        let answer = self.operator.ask(Method::GET, "/api/v1/backup", &[], None).await?;
        let mut part = self.file.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        // Only its owner may read what has tokens in it.
        let mut options = tokio::fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&part).await.map_err(write)?;
        let mut body = answer.bytes_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| running(Error::BrokeOff(error)))?;
            file.write_all(&chunk).await.map_err(write)?;
        }
        file.sync_all().await.map_err(write)?;
        let head = registry::inspect(&part).map_err(running)?;
        tokio::fs::rename(&part, &self.file).await.map_err(write)?;
        output::print(&format!("{}: {}\n", self.file.display(), describe(&head)))
    }
}

impl Restore {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let head = registry::restore(&self.file, &self.data_dir).await.map_err(running)?;
        output::print(&format!("{}: {}\n", self.data_dir.display(), describe(&head)))
    }
}

fn describe(head: &BackupHead) -> String {
    let BackupHead { bytes, made_at, timeline_entries, timeline_head, .. } = head;
    format!(
        "registry of {}, {bytes} bytes, timeline of {timeline_entries} entries ending in \
         {timeline_head}",
        UnixMillis(*made_at)
    )
}
