use std::path::Path;

use rustix::fs::{Access, access};

use crate::cli::steps::Steps;
use crate::config::node::Settings;
use crate::wal::Wal;

const STEP: &str = "data directory";

/// Whether the node would look at its bootstrap flags at all, and could write. False where nothing else is to be looked at.
pub(super) fn look(steps: &mut Steps, settings: &Settings) -> bool {
    let dir = &settings.node.data_dir;
    let shown = dir.display();
    match Wal::exists(&settings.node.log_dir()) {
        // The logs of an etcd end in the same letters and lie in the same place.
        Ok(true) => {
            let ignored: Vec<String> =
                settings.bootstrap_flags.iter().map(|name| format!("--{name}")).collect();
            let ignored = match ignored.as_slice() {
                [] => "flags of a bootstrap".to_owned(),
                ignored => ignored.join(", "),
            };
            let what = if dir.join("member/snap/db").exists() {
                format!(
                    "`{shown}` has a log of etcd: an etcd goes on with it and ignores {ignored}, and a \
                     quorate-node does not start there"
                )
            } else {
                format!("`{shown}` has a log: the node goes on with it and ignores {ignored}")
            };
            let cure = "`quorate doctor node` looks at what runs, and with --data-dir at what lies there; a \
                        new cluster needs another --data-dir, or this one moved away";
            steps.warn(STEP, what, cure);
            return false;
        }
        Ok(false) => {}
        Err(error) => {
            let what = crate::transport::chain(&error);
            steps.fail(STEP, what, "let the user of the node read it");
            return true;
        }
    }
    match access(existing(dir), Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) if dir.exists() => {
            steps.ok(STEP, format!("`{shown}` has no log: the bootstrap counts"));
        }
        Ok(()) => steps.ok(STEP, format!("`{shown}` will be made: the bootstrap counts")),
        Err(error) => {
            let what = format!("`{shown}` cannot be written by this user: {error}");
            steps.fail(STEP, what, "give it to the user of the node, or run this as that user");
        }
    }
    true
}

/// The directory, or the one in which it would be made.
fn existing(dir: &Path) -> &Path {
    let mut found = dir;
    while !found.exists() {
        match found.parent() {
            Some(parent) if parent != Path::new("") => found = parent,
            _ => return Path::new("."),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_in_one_that_exists() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(existing(dir.path()), dir.path());
        assert_eq!(existing(&dir.path().join("a/b/c")), dir.path());
        assert_eq!(existing(Path::new("no-such-directory/b")), Path::new("."));
    }
}
