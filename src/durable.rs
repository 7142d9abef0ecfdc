//! Small files that a crash leaves whole or as they were.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Writes a file with these permissions, in place of the one that was there. Until it is whole and on disk it stands
/// beside its name, with `.tmp` behind it.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".tmp");
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(mode).open(&aside)?;
    file.write_all(content)?;
    // The file before the rename, the directory after it: the name must not stand for nothing.
    file.sync_all()?;
    fs::rename(&aside, path)?;
    sync_parent(path)
}

/// Makes sure that the name of a file, or that it has none any more, outlives a crash.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for content in ["one", "2"] {
            fs::write(dir.path().join("file.tmp"), "left by a crash").unwrap();
            replace(&path, content.as_bytes(), 0o600).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
        let new = dir.path().join("new");
        replace(&new, b"", 0o600).unwrap();
        assert_eq!(fs::metadata(new).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
