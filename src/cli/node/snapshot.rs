//! `quorate-node snapshot`: from an etcd's snapshot to a data directory, with the flags of `etcdutl`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

use super::{EXIT_FAILED, complain, print};
use crate::backup::{self, Status, Target};
use crate::membership::{InitialCluster, PeerUrl};
use crate::node::{DataDir, DataDirError};
use crate::transport::chain;

/// Restore a snapshot of etcd or quorate-node, or look into one.
#[derive(Debug, Parser)]
#[command(name = "quorate-node snapshot", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the data directory of a member of a new cluster from a snapshot.
    Restore(Box<Restore>),
    /// Show hash, revision, number of keys and size of a snapshot.
    Status {
        /// What `etcdctl snapshot save` has written.
        file: PathBuf,
        /// Form of the output.
        #[arg(short = 'w', long, value_enum, default_value_t = Form::Simple)]
        write_out: Form,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Simple,
    Json,
    Table,
    Fields,
}

#[derive(Debug, Parser)]
struct Restore {
    /// What `etcdctl snapshot save` has written.
    file: PathBuf,
    /// Where the member will live; `<name>.etcd` when not given.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Directory of its log when that is to be on another disk.
    #[arg(long)]
    wal_dir: Option<PathBuf>,
    /// Name of the member; it stands in --initial-cluster.
    #[arg(long, default_value = "default")]
    name: String,
    /// The members of the new cluster, as name=url,...
    #[arg(long, default_value = "default=http://localhost:2380")]
    initial_cluster: String,
    /// Goes into the ids, so that the new cluster is never taken for the old one.
    #[arg(long, default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// Comma-separated URLs under which the other members will reach this one.
    #[arg(long, default_value = "http://localhost:2380")]
    initial_advertise_peer_urls: String,
    /// Take a file without a checksum, such as `member/snap/db` of an etcd that has stopped.
    #[arg(long)]
    skip_hash_check: bool,
    /// How much higher the revisions begin than the snapshot ends.
    #[arg(long, default_value_t = 0)]
    bump_revision: u64,
    /// Count everything before as compacted, so that watchers start afresh; with --bump-revision.
    #[arg(long)]
    mark_compacted: bool,
    /// Accepted for scripts; there is no memory map here.
    #[arg(long, hide = true)]
    initial_memory_map_size: Option<u64>,
}

impl Restore {
    /// One without the other is refused, in the words of `etcdutl`: watchers that go on where they were
    /// would miss what happened between.
    fn check(&self) -> Result<(), clap::Error> {
        if (self.bump_revision > 0) == self.mark_compacted {
            return Ok(());
        }
        let text = "--mark-compacted required if --revision-bump > 0\n\n\
             --bump-revision N and --mark-compacted go together, or both are left out.";
        Err(Arguments::command().error(ErrorKind::ArgumentConflict, text))
    }
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("data-dir \"{}\" not empty or could not be read", .0.display())]
    NotEmpty(PathBuf),
    #[error("--initial-cluster: {0}")]
    List(String),
    #[error("--initial-advertise-peer-urls: {0}")]
    Urls(String),
    #[error("couldn't find local name \"{0}\" in the initial cluster configuration")]
    Stranger(String),
    #[error(
        "--initial-cluster must include {name}={urls} given --initial-advertise-peer-urls={urls}"
    )]
    Mismatch { name: String, urls: String },
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("`{}`: cannot be made", path.display())]
    Make { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Import(#[from] backup::ImportError),
}

/// Runs the command; `args` are those behind `snapshot`.
pub(super) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let name = std::iter::once(OsString::from("quorate-node snapshot"));
    let arguments = Arguments::try_parse_from(name.chain(args)).and_then(|arguments| {
        if let Command::Restore(restore) = &arguments.command {
            restore.check()?;
        }
        Ok(arguments)
    });
    let arguments = match arguments {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody is left to tell when the output is closed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match arguments.command {
        Command::Restore(restore) => run(&restore).map_err(|error| chain(&error)),
        Command::Status { file, write_out } => match backup::status(&file) {
            Ok(status) => return print(&show(&status, write_out)),
            Err(error) => Err(chain(&error)),
        },
    };
    match done {
        Ok(text) => print(&text),
        Err(text) => {
            complain(&text);
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn run(restore: &Restore) -> Result<String, Error> {
    let name = &restore.name;
    let list: InitialCluster =
        restore.initial_cluster.parse().map_err(|error| Error::List(format!("{error}")))?;
    let token = &restore.initial_cluster_token;
    let member = list.member_id(name, token).ok_or_else(|| Error::Stranger(name.clone()))?;
    check_urls(restore, &list)?;
    let data_dir =
        restore.data_dir.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.etcd")));
    if !is_free(&data_dir) || restore.wal_dir.as_deref().is_some_and(|dir| !is_free(dir)) {
        return Err(Error::NotEmpty(data_dir));
    }
    let dir = DataDir::open(&data_dir)?;
    let member_dir = dir.path().join("member");
    fs::create_dir_all(&member_dir)
        .map_err(|source| Error::Make { path: member_dir.clone(), source })?;
    let target = Target {
        store: member_dir.join("store.redb"),
        log: restore.wal_dir.clone().unwrap_or_else(|| member_dir.join("wal")),
        member,
        cluster: list.cluster_id(token),
        roster: list.roster(token),
        bump_revision: restore.bump_revision,
        mark_compacted: restore.mark_compacted,
    };
    if let Err(error) = backup::restore(&restore.file, restore.skip_hash_check, &target) {
        // It was empty or missing before; half a member is worse than none.
        drop(dir);
        let _ = fs::remove_dir_all(&data_dir);
        return Err(error.into());
    }
    Ok(format!(
        "restored {} to {}: member {member} of cluster {}\n",
        restore.file.display(),
        data_dir.display(),
        target.cluster
    ))
}

fn check_urls(restore: &Restore, list: &InitialCluster) -> Result<(), Error> {
    let urls = restore.initial_advertise_peer_urls.split(',');
    let mut urls = urls
        .map(|url| PeerUrl::parse(url).map_err(|error| Error::Urls(error.to_string())))
        .collect::<Result<Vec<_>, _>>()?;
    urls.sort();
    let mut listed: Vec<PeerUrl> = list
        .members()
        .filter(|(name, _)| *name == restore.name)
        .flat_map(|(_, urls)| urls.iter().cloned())
        .collect();
    listed.sort();
    if urls == listed {
        return Ok(());
    }
    let (name, urls) = (restore.name.clone(), restore.initial_advertise_peer_urls.clone());
    Err(Error::Mismatch { name, urls })
}

/// Whether there is nothing in it, or no such directory.
fn is_free(dir: &Path) -> bool {
    match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

fn show(status: &Status, form: Form) -> String {
    let Status { hash, revision, total_key, total_size, version } = status;
    let size = human(*total_size);
    match form {
        Form::Simple if version.is_empty() => {
            format!("{hash:x}, {revision}, {total_key}, {size}\n")
        }
        Form::Simple => format!("{hash:x}, {revision}, {total_key}, {size}, {version}\n"),
        Form::Json => {
            serde_json::to_string(status).expect("plain structures have a form in JSON") + "\n"
        }
        Form::Fields => format!(
            "\"Hash\" : {hash}\n\"Revision\" : {revision}\n\"Keys\" : {total_key}\n\
             \"Size\" : {total_size}\n\"Version\" : \"{version}\"\n"
        ),
        Form::Table => table(&[
            ("HASH", format!("{hash:x}")),
            ("REVISION", revision.to_string()),
            ("TOTAL KEYS", total_key.to_string()),
            ("TOTAL SIZE", size),
            ("VERSION", version.clone()),
        ]),
    }
}

/// One line under its heads, which are centred, as etcd's tools draw it.
fn table(columns: &[(&str, String)]) -> String {
    let width = |(head, text): &(&str, String)| head.len().max(text.len());
    let mut rule = "+".to_owned();
    let (mut heads, mut line) = ("|".to_owned(), "|".to_owned());
    for column in columns {
        let width = width(column);
        rule += &format!("{}+", "-".repeat(width + 2));
        heads += &format!(" {:^width$} |", column.0);
        line += &format!(" {:>width$} |", column.1);
    }
    format!("{rule}\n{heads}\n{rule}\n{line}\n{rule}\n")
}

/// Bytes for people, by thousands.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let size = (size * 10.0 + 0.5).floor() / 10.0;
    let digits = usize::from(size < 10.0);
    format!("{size:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_bumped_and_marked_or_neither() {
        for (flags, fine) in [
            (&[][..], true),
            (&["--bump-revision=0"], true),
            (&["--bump-revision=5", "--mark-compacted"], true),
            (&["--bump-revision=5"], false),
            (&["--bump-revision=0", "--mark-compacted"], false),
            (&["--mark-compacted"], false),
        ] {
            let line = ["snapshot", "restore", "x.db"].iter().chain(flags);
            let Command::Restore(restore) = Arguments::try_parse_from(line).unwrap().command else {
                panic!("{flags:?}")
            };
            let checked = restore.check().map_err(|error| error.to_string());
            assert_eq!(checked.is_ok(), fine, "{flags:?}: {checked:?}");
            let said = "error: --mark-compacted required if --revision-bump > 0\n";
            assert!(checked.err().is_none_or(|text| text.starts_with(said)));
        }
    }

    #[test]
    fn a_status_looks_as_etcd_shows_it() {
        let status = Status {
            hash: 0xcf1_550f,
            revision: 3,
            total_key: 7,
            total_size: 24_576,
            version: String::new(),
        };
        assert_eq!(show(&status, Form::Simple), "cf1550f, 3, 7, 25 kB\n");
        assert_eq!(
            show(&status, Form::Table),
            "+---------+----------+------------+------------+---------+\n\
             |  HASH   | REVISION | TOTAL KEYS | TOTAL SIZE | VERSION |\n\
             +---------+----------+------------+------------+---------+\n\
             | cf1550f |        3 |          7 |      25 kB |         |\n\
             +---------+----------+------------+------------+---------+\n"
        );
        let json = r#"{"hash":217142543,"revision":3,"totalKey":7,"totalSize":24576,"version":""}"#;
        assert_eq!(show(&status, Form::Json), format!("{json}\n"));
    }

    #[test]
    fn sizes_are_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (20_480, "20 kB"),
            (1_056_768, "1.1 MB"),
            (123_456_789, "124 MB"),
            (5_000_000_000, "5.0 GB"),
        ] {
            assert_eq!(human(bytes), text, "{bytes}");
        }
    }
}
