use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hickory_proto::rr::Name;

use crate::zone::{self, Finding, Key, Loaded, Zone};

/// Zones by their apex.
pub(super) type Zones = BTreeMap<Key, Arc<Zone>>;

/// The zone files of one directory: every `NAME.zone`, where `NAME` is the first origin.
///
/// Changes are noticed by what the file system says about a file, which works on all of them.
#[derive(Debug)]
pub(super) struct ZoneFiles {
    directory: PathBuf,
    files: BTreeMap<PathBuf, Known>,
    /// The file that last made a zone with this apex.
    holders: BTreeMap<Key, PathBuf>,
    directory_missing: bool,
}

#[derive(Debug)]
struct Known {
    seen: State,
    /// The state that was last read, whether it made a zone or not.
    read: Option<State>,
    /// What it included then, or wanted to.
    includes: Vec<PathBuf>,
    zone: Option<Arc<Zone>>,
    missing: bool,
}

/// A file and those that it includes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    own: Stamp,
    includes: Vec<Option<Stamp>>,
}

/// Two equal stamps mean the same contents, as far as the file system tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    length: u64,
    inode: u64,
    modified: (i64, i64),
    /// Moves also when a tool sets the modification time back.
    changed: (i64, i64),
}

/// Something odd in a zone file; its zone is served all the same.
#[derive(Debug)]
pub struct Warning {
    pub file: PathBuf,
    pub finding: Finding,
}

/// A zone file that makes no zone.
#[derive(Debug, thiserror::Error)]
#[error("zone file `{}`{}{fault}", file.display(), if fault.has_line() { ", " } else { ": " })]
pub struct FileError {
    pub file: PathBuf,
    pub fault: FileFault,
}

#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    #[error("cannot be read: {0}")]
    Read(std::io::Error),
    #[error("the name of the file is no domain name followed by `.zone`")]
    Name,
    #[error(transparent)]
    Zone(#[from] zone::Error),
    #[error("zone `{origin}` is in `{}` already", other.display())]
    Twice { origin: Name, other: PathBuf },
}

/// What one look at the directory brought.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Apex and serial of zones that are new or read again.
    pub(super) loaded: Vec<Arc<Zone>>,
    pub(super) removed: Vec<Arc<Zone>>,
    pub(super) warnings: Vec<Warning>,
    pub(super) errors: Vec<FileError>,
    /// The directory was there before and is not any more.
    pub(super) directory_lost: bool,
}

impl ZoneFiles {
    pub(super) fn new(directory: &Path) -> Self {
        let directory = directory.to_owned();
        Self {
            directory,
            files: BTreeMap::new(),
            holders: BTreeMap::new(),
            directory_missing: false,
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads what is new or has changed.
    ///
    /// With `settle` a file is read only when two looks in a row saw the same, so that a file
    /// that is being written is left alone, and one that is being replaced is not taken for gone.
    pub(super) fn look(&mut self, settle: bool) -> Changes {
        let mut changes = Changes::default();
        let stamps = match self.stamps() {
            Ok(stamps) => stamps,
            Err(error) => {
                let first = !std::mem::replace(&mut self.directory_missing, true);
                if first && error.kind() == ErrorKind::NotFound {
                    changes.directory_lost = true;
                } else if first {
                    let fault = FileFault::Read(error);
                    changes.errors.push(FileError { file: self.directory.clone(), fault });
                }
                return changes;
            }
        };
        self.directory_missing = false;
        self.drop_missing(&stamps, settle, &mut changes);
        for (path, stamp) in stamps {
            let file = self.files.entry(path.clone()).or_insert_with(|| Known {
                seen: State { own: stamp, includes: Vec::new() },
                read: None,
                includes: Vec::new(),
                zone: None,
                missing: false,
            });
            file.missing = false;
            let includes = file.includes.iter().map(|path| Stamp::at(path)).collect();
            let state = State { own: stamp, includes };
            let settled = std::mem::replace(&mut file.seen, state.clone()) == state;
            if file.read.as_ref() == Some(&state) || (settle && !settled) {
                continue;
            }
            let previous = file.zone.clone();
            let (result, included) = read_zone(&self.directory, &path, previous.as_deref());
            let result = result.and_then(|loaded| self.alone(&path, loaded));
            let Some(file) = self.files.get_mut(&path) else { continue };
            let (paths, stamps) = included.into_iter().unzip();
            file.includes = paths;
            file.seen = State { own: stamp, includes: stamps };
            file.read = Some(file.seen.clone());
            match result {
                Ok(loaded) => {
                    let warn = |finding| Warning { file: path.clone(), finding };
                    changes.warnings.extend(loaded.warnings.into_iter().map(warn));
                    let zone = Arc::new(loaded.zone);
                    changes.loaded.push(Arc::clone(&zone));
                    self.holders.insert(Key::of(zone.origin()), path);
                    file.zone = Some(zone);
                }
                Err(fault) => changes.errors.push(FileError { file: path, fault }),
            }
        }
        changes
    }

    /// The zones of all files that ever made one and are still there.
    pub(super) fn zones(&self) -> Zones {
        let zones = self.files.values().filter_map(|file| file.zone.clone());
        zones.map(|zone| (Key::of(zone.origin()), zone)).collect()
    }

    fn stamps(&self) -> std::io::Result<Vec<(PathBuf, Stamp)>> {
        let mut stamps = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes()[0] == b'.');
            if hidden || path.extension().is_none_or(|extension| extension != "zone") {
                continue;
            }
            // A file that vanishes between the two calls was not there.
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            if metadata.is_file() {
                stamps.push((path, Stamp::of(&metadata)));
            }
        }
        stamps.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(stamps)
    }

    fn drop_missing(&mut self, stamps: &[(PathBuf, Stamp)], settle: bool, changes: &mut Changes) {
        self.files.retain(|path, file| {
            // They are sorted.
            if stamps.binary_search_by(|(present, _)| present.cmp(path)).is_ok() {
                return true;
            }
            let again = std::mem::replace(&mut file.missing, true);
            if settle && !again {
                return true;
            }
            changes.removed.extend(file.zone.take());
            false
        });
    }

    /// Refuses a zone that another file has already.
    fn alone(&self, path: &Path, loaded: Loaded) -> Result<Loaded, FileFault> {
        let origin = loaded.zone.origin();
        let holds = |other: &&PathBuf| {
            let zone = self.files.get(*other).and_then(|file| file.zone.as_ref());
            *other != path && zone.is_some_and(|zone| zone.origin() == origin)
        };
        match self.holders.get(&Key::of(origin)).filter(holds) {
            Some(other) => Err(FileFault::Twice { origin: origin.clone(), other: other.clone() }),
            None => Ok(loaded),
        }
    }
}

/// The files that a zone file includes, and how they looked before they were read.
type Included = Vec<(PathBuf, Option<Stamp>)>;

/// Reads one zone file and what it includes from `directory`.
fn read_zone(
    directory: &Path,
    path: &Path,
    previous: Option<&Zone>,
) -> (Result<Loaded, FileFault>, Included) {
    let mut included = Vec::new();
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let Some(mut origin) = stem.and_then(|stem| Name::from_ascii(stem).ok()) else {
        return (Err(FileFault::Name), included);
    };
    origin.set_fqdn(true);
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => return (Err(FileFault::Read(error)), included),
    };
    let mut include = |name: &str| {
        let path = directory.join(name);
        included.push((path.clone(), Stamp::at(&path)));
        let read = within(directory, &path)?;
        self::read(&read).map_err(|error| error.to_string())
    };
    let loaded = zone::load(&text, &origin, previous, &mut include);
    (loaded.map_err(FileFault::Zone), included)
}

/// The text of a file, that of a large one apart from all else.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let mut text = zone::room(length + 1);
    file.read_to_end(&mut text)?;
    Ok(text)
}

/// The real path of a file, which has to be in the directory: zone files come from people who may
/// not read everything that this server may.
fn within(directory: &Path, path: &Path) -> Result<PathBuf, String> {
    let real = |path: &Path| path.canonicalize().map_err(|error| error.to_string());
    let (directory, path) = (real(directory)?, real(path)?);
    if path.starts_with(&directory) {
        return Ok(path);
    }
    Err(format!("the file is outside of the zones directory `{}`", directory.display()))
}

/// Judges one zone file as `quorate serve` would, without serving it.
pub fn check_file(path: &Path) -> Result<Loaded, Box<FileError>> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let (result, _) = read_zone(directory.unwrap_or_else(|| Path::new(".")), path, None);
    result.map_err(|fault| Box::new(FileError { file: path.to_owned(), fault }))
}

/// Judges all zone files of a directory: the zones by file, and what is wrong with the others.
pub fn check_directory(directory: &Path) -> Judged {
    let mut files = ZoneFiles::new(directory);
    let changes = files.look(false);
    let zones = files.files.into_iter().filter_map(|(path, file)| Some((path, file.zone?)));
    Judged { zones: zones.collect(), warnings: changes.warnings, errors: changes.errors }
}

/// What a directory of zone files comes to.
#[derive(Debug)]
pub struct Judged {
    pub zones: Vec<(PathBuf, Arc<Zone>)>,
    pub warnings: Vec<Warning>,
    pub errors: Vec<FileError>,
}

impl Stamp {
    /// None if there is no such file.
    fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }

    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            length: metadata.len(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl FileFault {
    /// Whether the text begins with a line number.
    fn has_line(&self) -> bool {
        match self {
            Self::Zone(zone::Error(findings)) => {
                findings.first().is_some_and(|finding| finding.place.is_some())
            }
            _ => false,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.finding.place.is_some() { ", " } else { ": " };
        write!(f, "zone file `{}`{separator}{}", self.file.display(), self.finding)
    }
}
