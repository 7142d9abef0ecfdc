//! The lab's children.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::Error;

/// How long a child may take to end after it was asked.
const GRACE: Duration = Duration::from_secs(5);

/// A running program whose output goes to a file.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` so that it ends with the lab, in a process group of its own: Ctrl-C reaches
    /// the lab alone, which stops its children in order.
    pub(super) fn start(
        name: &str,
        program: &Path,
        arguments: &[String],
        log: PathBuf,
    ) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Io {
            what: format!("start {name} (`{}`)", program.display()),
            source,
        };
        let output = File::create(&log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command
            .args(["lab", "guard"])
            .arg(std::process::id().to_string())
            .arg("--")
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(true);
        // A node takes flags from its environment too; only what the lab prints shall count.
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy();
            if name.starts_with("ETCD_") || name.starts_with("QUORATE_") {
                command.env_remove(&variable);
            }
        }
        let child = command.spawn().map_err(failed)?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// The process id; the program's own, since the guard becomes the program.
    pub(super) fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Waits until it ends, which none does unasked unless something is wrong.
    pub(super) async fn ended(&mut self) -> Error {
        match self.child.wait().await {
            Ok(status) => Error::Ended { name: self.name.clone(), status },
            Err(source) => Error::Io { what: format!("wait for {}", self.name), source },
        }
    }

    /// Whether it has ended.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to end, and makes it end when it takes too long.
    pub(super) async fn stop(&mut self) {
        let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) else { return };
        let Some(id) = Pid::from_raw(id) else { return };
        // It may have ended by itself in the meantime.
        let _ = kill_process(id, Signal::TERM);
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
            // The same: there is nothing left to do when it is gone already.
            let _ = self.child.kill().await;
        }
    }

    /// The last lines of its output.
    pub(super) fn last_lines(&self, count: usize) -> Vec<String> {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
    }
}
