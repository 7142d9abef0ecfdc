use std::path::PathBuf;

use tonic::{Code, Status};

use super::timeline::Broken;
use crate::admission::Refusal;

/// Why a write did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The rules forbid it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody made this token.
    #[error("the token is unknown")]
    Unknown,
    /// Another living token has this label.
    #[error("the name `{label}` belongs to another token; choose another, or leave it out")]
    LabelTaken { label: String },
    /// There is no room on the disk. Nothing was changed, and writing works again by itself.
    #[error(
        "the disk of the discovery service is full; registrations are taken again as soon as \
         there is room"
    )]
    Full,
    /// Our own trouble, which the log tells; the same question may succeed later.
    #[error("the registry cannot write at the moment")]
    Unavailable,
}

/// Why a registry does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("data directory `{}`: {op}", dir.display())]
    DataDir { dir: PathBuf, op: &'static str, source: std::io::Error },
    #[error(
        "data directory `{}` is that of a member of a cluster; give `quorate serve` one of its own \
         (--data-dir)",
        dir.display()
    )]
    OfMember { dir: PathBuf },
    #[error(
        "data directory `{}` is in use by another quorate process{holder}; stop that one or choose \
         another --data-dir",
        dir.display()
    )]
    InUse { dir: PathBuf, holder: String },
    #[error(
        "registry `{}` was written by a newer quorate (schema {version}); run that version, or \
         restore a backup made by this one",
        path.display()
    )]
    Newer { path: PathBuf, version: i64 },
    #[error(
        "registry `{}` is damaged: {finding}; restore a backup, or move the file away to start \
         with an empty registry",
        path.display()
    )]
    Damaged { path: PathBuf, finding: String },
    #[error("registry `{}`: {op}", path.display())]
    Database { path: PathBuf, op: &'static str, source: sqlx::Error },
    #[error("--store {url}: {}{}", status.message(), way_out(status))]
    Store { url: String, status: Box<Status> },
    #[error(
        "the registry in {url} was written by a newer quorate (format {format}); run that version, \
         or choose another prefix (etcd://.../PREFIX)"
    )]
    StoreNewer { url: String, format: u32 },
    #[error(
        "the registry in {url} is damaged: {finding}; restore that cluster from a snapshot, or \
         choose another prefix (etcd://.../PREFIX) to start with an empty registry"
    )]
    StoreDamaged { url: String, finding: String },
    #[error(
        "the registry in {url} is another one than before: expected registry {expected}, which `{}` \
         remembers from {met}, found {found}; correct --store, or restore that cluster from a \
         snapshot; if it was made anew on purpose, remove that file and start again, without the \
         tokens made before",
        file.display()
    )]
    StoreReplaced { url: String, expected: String, met: String, found: String, file: PathBuf },
    #[error(
        "`{}`, which remembers the registry of --store, cannot be read or written; mend or remove it",
        file.display()
    )]
    StoreForgotten { file: PathBuf, source: std::io::Error },
    #[error("registry `{}`: upgrade the schema", path.display())]
    Migrate { path: PathBuf, source: sqlx::migrate::MigrateError },
}

/// What to do where a store refuses, or is silent.
fn way_out(refused: &Status) -> &'static str {
    match (refused.code(), refused.message()) {
        (_, "etcdserver: user name is empty") => {
            "; the cluster has users: name one of them, --store-user NAME:PASSWORD"
        }
        (_, text) if text.contains("authentication failed") => "; correct --store-user",
        (Code::PermissionDenied, _) => {
            "; the user of --store-user has to read and write all keys that begin with the prefix"
        }
        (_, text) if text.contains("does not look like a TLS handshake") => {
            "; that port speaks no TLS: write etcd://"
        }
        (Code::Unavailable, _) => {
            "; look whether the cluster runs there, and write etcds:// where it speaks TLS"
        }
        _ => "",
    }
}

/// The disk did not take what was written; only a restart, which reads what is really there, helps.
#[derive(Debug, thiserror::Error)]
#[error("registry `{}`: fsync failed", path.display())]
pub struct SyncFailed {
    pub path: PathBuf,
    pub source: sqlx::Error,
}

/// Why the writer gave up.
#[derive(Debug, thiserror::Error)]
pub enum WriterFailed {
    #[error(transparent)]
    Sync(#[from] SyncFailed),
    /// What is on disk is not what was written.
    #[error(transparent)]
    Damaged(#[from] OpenError),
}

/// Why a timeline cannot be read or is not whole.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("registry `{}`: read the timeline", path.display())]
    Read { path: PathBuf, source: sqlx::Error },
    #[error("the store was not read: {}", .0.message())]
    Store(Box<Status>),
    #[error(transparent)]
    Head(OpenError),
}

/// Why there is no backup, or why one cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("`{}` cannot be written", path.display())]
    Write { path: PathBuf, source: sqlx::Error },
    #[error("`{}`: {op}", path.display())]
    Io { path: PathBuf, op: &'static str, source: std::io::Error },
    #[error("{0}; look at the registry before you rely on a backup of it")]
    Timeline(#[from] VerifyError),
    #[error("`{}` is no backup of quorate: {what}", path.display())]
    NoBackup { path: PathBuf, what: &'static str },
    #[error("backup `{}` is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error(
        "data directory `{}` is not empty; restore into a new one, and let `quorate serve \
         --data-dir` use that",
        dir.display()
    )]
    NotEmpty { dir: PathBuf },
    #[error(
        "the registry is kept in {url}: back that cluster up, with `etcdctl snapshot save` for one"
    )]
    Elsewhere { url: String },
    #[error(transparent)]
    Open(#[from] OpenError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_refuses_has_a_way_out() {
        let told = |code, message: &str| {
            let status = Box::new(Status::new(code, message));
            OpenError::Store { url: "etcd://h:2379".to_owned(), status }.to_string()
        };
        assert_eq!(
            told(Code::InvalidArgument, "etcdserver: user name is empty"),
            "--store etcd://h:2379: etcdserver: user name is empty; the cluster has users: name one of them, \
             --store-user NAME:PASSWORD"
        );
        assert!(
            told(
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password"
            )
            .ends_with("; correct --store-user")
        );
        assert!(
            told(Code::PermissionDenied, "etcdserver: permission denied")
                .contains("begin with the prefix")
        );
        assert!(told(Code::Unavailable, "refused").ends_with("where it speaks TLS"));
        let no_tls =
            told(Code::Unavailable, "tls: first record does not look like a TLS handshake");
        assert!(no_tls.ends_with("that port speaks no TLS: write etcd://"), "{no_tls}");
        assert_eq!(told(Code::Internal, "odd"), "--store etcd://h:2379: odd");
    }
}
