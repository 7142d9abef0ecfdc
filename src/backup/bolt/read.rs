use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::PAGE_BYTES;
use super::page::{
    BRANCH, BUCKET, ELEMENT_BYTES, HEADER_BYTES, Header, LEAF, META_BYTES, Meta, u32_at, u64_at,
};

/// A tree this deep would hold more than any disk.
const MAX_DEPTH: usize = 32;
/// What an entry may span at most; anything larger is damage.
const MAX_PAGE_BYTES: u64 = 1 << 31;

/// Why a file cannot be read as one of bbolt.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{}`: cannot {op}", path.display())]
    Io { path: PathBuf, op: &'static str, source: io::Error },
    #[error("`{}` is no snapshot of etcd: it does not begin like a bbolt file", path.display())]
    NotBolt { path: PathBuf },
    #[error("`{}` is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
}

/// Reads a file of bbolt; believes nothing it has not checked.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
    meta: Meta,
    /// Pages read so far: more than there are means that the tree goes in circles.
    seen: u64,
}

/// What is done with each entry; false ends the walk.
type Visit<'a, E> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), E>;

/// What is done with each element of a tree: its flags, key and value.
type Each<'a, E> = dyn FnMut(u32, &[u8], &[u8]) -> Result<(), Walk<E>> + 'a;
/// The name of a bucket, and the bytes that say where it is.
type Bucket = (Vec<u8>, Vec<u8>);

impl Reader {
    /// Opens a file and looks for the newer of its meta pages that is sound.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let io = |op| move |source| Error::Io { path: path.to_owned(), op, source };
        let file = File::open(path).map_err(io("open"))?;
        let bytes = file.metadata().map_err(io("read"))?.len();
        let mut newest: Option<Meta> = None;
        // The second meta page lies where the page size says, which only the first tells.
        let first = meta_at(&file, 0);
        let page_bytes = first.map_or(PAGE_BYTES as u64, |meta| u64::from(meta.page_bytes));
        for meta in [first, meta_at(&file, page_bytes)].into_iter().flatten() {
            if newest.is_none_or(|newest| meta.txid > newest.txid) {
                newest = Some(meta);
            }
        }
        let Some(meta) = newest else { return Err(Error::NotBolt { path: path.to_owned() }) };
        let reader = Self { path: path.to_owned(), file, meta, seen: 0 };
        let page_bytes = u64::from(meta.page_bytes);
        if !(512..=1 << 20).contains(&page_bytes) || meta.pages > bytes / page_bytes {
            let what = format!(
                "its meta page tells of {} pages of {page_bytes} bytes, the file has {bytes} bytes",
                meta.pages
            );
            return Err(reader.damaged(what));
        }
        Ok(reader)
    }

    /// Bytes of the pages there are.
    pub fn file_bytes(&self) -> u64 {
        self.meta.pages * u64::from(self.meta.page_bytes)
    }

    /// The names of the buckets, ascending.
    pub fn buckets(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.roots()?.into_iter().map(|(name, _)| name).collect())
    }

    /// Shows every entry of a bucket, ascending; false when there is no such bucket.
    pub fn walk<E: From<Error>>(&mut self, name: &[u8], visit: Visit<'_, E>) -> Result<bool, E> {
        let roots = self.roots()?;
        let Some((_, value)) = roots.into_iter().find(|(bucket, _)| bucket == name) else {
            return Ok(false);
        };
        let named = String::from_utf8_lossy(name).into_owned();
        let mut last: Option<Vec<u8>> = None;
        let mut ordered = |flags: u32, key: &[u8], value: &[u8]| -> Result<(), Walk<E>> {
            if flags & BUCKET != 0 {
                return Err(Walk::Damaged(format!("bucket `{named}` holds a bucket")));
            }
            if last.as_ref().is_some_and(|last| &last[..] >= key) {
                return Err(Walk::Damaged(format!(
                    "the keys of bucket `{named}` are not in order"
                )));
            }
            last = Some(key.to_vec());
            visit(key, value).map_err(Walk::Visitor)
        };
        let walked = match u64_at(&value, 0) {
            // A small bucket lies in its entry, as a page without an address.
            Some(0) => Self::elements(&value[16..], 0, &mut ordered),
            Some(root) => self.tree(root, 0, &mut ordered),
            None => Err(Walk::Damaged(format!("bucket `{named}` has no root"))),
        };
        walked.map(|()| true).map_err(|error| self.told(error))
    }

    fn roots(&mut self) -> Result<Vec<Bucket>, Error> {
        self.seen = 0;
        let mut roots = Vec::new();
        let walked = self.tree(self.meta.root, 0, &mut |flags, key, value| {
            if flags & BUCKET == 0 || value.len() < 16 {
                return Err(Walk::Damaged("the root bucket holds something else".to_owned()));
            }
            roots.push((key.to_vec(), value.to_vec()));
            Ok(())
        });
        walked.map_err(|error: Walk<Error>| self.told(error))?;
        Ok(roots)
    }

    fn tree<E>(&mut self, id: u64, depth: usize, visit: &mut Each<'_, E>) -> Result<(), Walk<E>> {
        if depth > MAX_DEPTH {
            return Err(Walk::Damaged(format!("page {id} lies too deep")));
        }
        self.seen += 1;
        if self.seen > self.meta.pages {
            return Err(Walk::Damaged(format!("page {id} is reached in circles")));
        }
        let page = self.page(id)?;
        let header = Header::decode(&page).ok_or_else(|| cut(id))?;
        match header.flags {
            LEAF => Self::elements(&page, id, visit),
            BRANCH => {
                for at in 0..usize::from(header.count) {
                    let element = HEADER_BYTES + at * ELEMENT_BYTES;
                    let child = u64_at(&page, element + 8).ok_or_else(|| cut(id))?;
                    self.tree(child, depth + 1, visit)?;
                }
                Ok(())
            }
            flags => {
                Err(Walk::Damaged(format!("page {id} is no part of a tree: flags {flags:#x}")))
            }
        }
    }

    /// The elements of a leaf.
    fn elements<E>(page: &[u8], id: u64, visit: &mut Each<'_, E>) -> Result<(), Walk<E>> {
        let header = Header::decode(page).ok_or_else(|| cut(id))?;
        if header.flags != LEAF {
            return Err(Walk::Damaged(format!("page {id} is no leaf: flags {:#x}", header.flags)));
        }
        for at in 0..usize::from(header.count) {
            let element = HEADER_BYTES + at * ELEMENT_BYTES;
            let number = |place: usize| u32_at(page, element + place).ok_or_else(|| cut(id));
            let (flags, position) = (number(0)?, number(4)? as usize);
            let (key_bytes, value_bytes) = (number(8)? as usize, number(12)? as usize);
            let start = element + position;
            let (key, value) = page
                .get(start..)
                .and_then(|rest| rest.get(..key_bytes + value_bytes))
                .ok_or_else(|| cut(id))?
                .split_at(key_bytes);
            visit(flags, key, value)?;
        }
        Ok(())
    }

    /// A page with all that overflows from it.
    fn page<E>(&self, id: u64) -> Result<Vec<u8>, Walk<E>> {
        let page_bytes = u64::from(self.meta.page_bytes);
        let mut page = vec![0; self.meta.page_bytes as usize];
        if id < 2 || id >= self.meta.pages {
            return Err(Walk::Damaged(format!("page {id} is none of the tree's")));
        }
        let place = id * page_bytes;
        self.file.read_exact_at(&mut page, place).map_err(Walk::Io)?;
        let header = Header::decode(&page).ok_or_else(|| cut(id))?;
        if header.id != id {
            return Err(Walk::Damaged(format!("page {id} says that it is page {}", header.id)));
        }
        let overflow = u64::from(header.overflow);
        if overflow > 0 {
            let bytes = (overflow + 1) * page_bytes;
            if id + overflow >= self.meta.pages || bytes > MAX_PAGE_BYTES {
                return Err(Walk::Damaged(format!("page {id} goes on behind the end of the file")));
            }
            page.resize(usize::try_from(bytes).expect("bounded above"), 0);
            self.file.read_exact_at(&mut page, place).map_err(Walk::Io)?;
        }
        Ok(page)
    }

    fn told<E: From<Error>>(&self, error: Walk<E>) -> E {
        match error {
            Walk::Visitor(error) => error,
            Walk::Io(source) => Error::Io { path: self.path.clone(), op: "read", source }.into(),
            Walk::Damaged(what) => self.damaged(what).into(),
        }
    }

    fn damaged(&self, what: String) -> Error {
        Error::Damaged { path: self.path.clone(), what }
    }
}

/// Why a walk ended early.
enum Walk<E> {
    Visitor(E),
    Io(io::Error),
    Damaged(String),
}

fn cut<E>(id: u64) -> Walk<E> {
    Walk::Damaged(format!("page {id} ends in the middle of an element"))
}

/// The meta page there, if it is sound.
fn meta_at(file: &File, place: u64) -> Option<Meta> {
    let mut bytes = [0; META_BYTES];
    file.read_exact_at(&mut bytes, place + HEADER_BYTES as u64).ok()?;
    Meta::decode(&bytes)
}
