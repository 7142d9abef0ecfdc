use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Bytes of the checksum behind the pages.
pub(super) const SUM_BYTES: u64 = 32;
/// The pages make a multiple of this; by it the checksum is found.
const SECTOR_BYTES: u64 = 512;

/// Why a snapshot file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("`{}`: cannot {op}", path.display())]
    Io { path: PathBuf, op: &'static str, source: io::Error },
    #[error("snapshot missing hash but --skip-hash-check=false")]
    NoSum,
    #[error("expected sha256 {wanted:?}, got {found:?}")]
    Sum { wanted: Vec<u8>, found: Vec<u8> },
}

/// Checks the SHA-256 behind a snapshot. A file that has none, such as `member/snap/db` of a data
/// directory, is refused; look into it only with `--skip-hash-check`.
pub fn check(path: &Path) -> Result<(), FileError> {
    let io = |op| move |source| FileError::Io { path: path.to_owned(), op, source };
    let mut file = File::open(path).map_err(io("open"))?;
    let bytes = file.metadata().map_err(io("read"))?.len();
    if bytes % SECTOR_BYTES != SUM_BYTES {
        return Err(FileError::NoSum);
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut left = bytes - SUM_BYTES;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        file.read_exact(&mut buffer[..part]).map_err(io("read"))?;
        hash.update(&buffer[..part]);
        left -= part as u64;
    }
    let mut wanted = [0; 32];
    file.seek(SeekFrom::Start(bytes - SUM_BYTES)).map_err(io("read"))?;
    file.read_exact(&mut wanted).map_err(io("read"))?;
    let found = hash.finalize();
    if found[..] != wanted {
        return Err(FileError::Sum { wanted: wanted.to_vec(), found: found.to_vec() });
    }
    Ok(())
}
