use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::{DEADLINE, wait};

/// A running program with its output in a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; it dies with the test even if the test is killed, because the guard of
    /// `quorate lab` asks the kernel for that.
    pub fn start<S: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        arguments: &[S],
        environment: &[(&str, String)],
        dir: &Path,
    ) -> Self {
        let log = dir.join(format!("{name}.log"));
        // A restart appends: the log of a test tells the whole story.
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command
            .args(["lab", "guard", &std::process::id().to_string(), "--"])
            .arg(program)
            .args(arguments)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .envs(environment.iter().map(|(name, value)| (*name, value)));
        let child = command.spawn().unwrap();
        Self { name: name.to_owned(), child, log }
    }

    /// Everything it has printed since the test began.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    #[track_caller]
    pub fn wait_for_log(&mut self, text: &str) {
        let what = format!("`{text}` in the log of {}", self.name);
        let started = Instant::now();
        while !self.log().contains(text) {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(
                    self.log().contains(text),
                    "{} ended with {status} before {what}",
                    self.name
                );
                return;
            }
            assert!(started.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
            std::thread::sleep(super::LOOK);
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGKILL, as the kernel or the power button would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end and waits until it has.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_for_end()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let what = format!("{} to end", self.name);
        wait(&what, || self.child.try_wait().unwrap())
    }

    /// The exit code; a death by signal counts as 128 and its number, as in a shell.
    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        let status = self.wait_for_end();
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(60)..];
            eprintln!("log of {} ({}):\n{}\n", self.name, self.log.display(), tail.join("\n"));
        }
    }
}
