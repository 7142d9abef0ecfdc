use super::PAGE_BYTES;
use super::page::{
    BRANCH, BUCKET, ELEMENT_BYTES, FREELIST, HEADER_BYTES, Header, LEAF, META, Meta,
};

/// The first page behind the two meta pages and the free list.
const FIRST: u64 = 3;

/// What the meta pages say of a file; known only when all of it was written once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    root: u64,
    pages: u64,
}

/// Writes a file of bbolt page by page, front to back, holding one page of each level of one tree.
///
/// The front needs to know the back, so everything is written twice: once to learn the
/// [`Layout`], into a sink that forgets, and once for good.
pub struct Writer<'a, E> {
    sink: &'a mut dyn FnMut(&[u8]) -> Result<(), E>,
    next: u64,
    /// Leaf first; what is full has been written already.
    levels: Vec<Node>,
    open: Option<Vec<u8>>,
    buckets: Vec<(Vec<u8>, u64)>,
    page: Vec<u8>,
}

/// A page in the making.
#[derive(Debug, Default)]
struct Node {
    elements: Vec<Element>,
    /// Keys and values one after the other.
    bytes: Vec<u8>,
    /// Whether a page of this level was written before.
    flushed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Element {
    flags: u32,
    key_bytes: u32,
    value_bytes: u32,
    /// The page below, of a branch.
    child: u64,
}

impl Layout {
    /// Bytes of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.pages * PAGE_BYTES as u64
    }
}

impl<'a, E> Writer<'a, E> {
    /// Begins a file that will turn out to have this layout.
    pub fn begin(
        layout: Layout,
        sink: &'a mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        for id in 0..2 {
            let meta = Meta {
                page_bytes: u32::try_from(PAGE_BYTES).expect("a page is small"),
                root: layout.root,
                freelist: FIRST - 1,
                pages: layout.pages,
                txid: 2 - id,
            };
            sink(&small_page(Header { id, flags: META, count: 0, overflow: 0 }, &meta.encode()))?;
        }
        let free = Header { id: FIRST - 1, flags: FREELIST, count: 0, overflow: 0 };
        sink(&small_page(free, &[]))?;
        let (levels, page) = (vec![Node::default()], Vec::new());
        Ok(Self { sink, next: FIRST, levels, open: None, buckets: Vec::new(), page })
    }

    /// Begins the next bucket; names come in ascending order.
    pub fn bucket(&mut self, name: &[u8]) -> Result<(), E> {
        self.close()?;
        debug_assert!(self.buckets.last().is_none_or(|(last, _)| &last[..] < name));
        self.open = Some(name.to_vec());
        Ok(())
    }

    /// Adds an entry to the bucket; keys come in ascending order.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), E> {
        self.push(0, key, value, 0, 0)
    }

    /// Ends the file. The layout is what [`Self::begin`] should have been given.
    pub fn finish(mut self) -> Result<Layout, E> {
        self.close()?;
        self.levels = vec![Node::default()];
        for (name, root) in std::mem::take(&mut self.buckets) {
            let mut header = [0; 16];
            header[..8].copy_from_slice(&root.to_le_bytes());
            self.push(0, &name, &header, BUCKET, 0)?;
        }
        let root = self.close_tree()?;
        Ok(Layout { root, pages: self.next })
    }

    fn close(&mut self) -> Result<(), E> {
        if let Some(name) = self.open.take() {
            let root = self.close_tree()?;
            self.buckets.push((name, root));
        }
        Ok(())
    }

    /// Writes what is left of a tree and gives its root. The next one starts empty.
    fn close_tree(&mut self) -> Result<u64, E> {
        let mut level = 0;
        let root = loop {
            let node = &self.levels[level];
            if level > 0 && !node.flushed && node.elements.len() == 1 {
                break node.elements[0].child;
            }
            self.flush(level)?;
            level += 1;
        };
        self.levels = vec![Node::default()];
        Ok(root)
    }

    fn push(
        &mut self,
        level: usize,
        key: &[u8],
        value: &[u8],
        flags: u32,
        child: u64,
    ) -> Result<(), E> {
        if self.levels.len() == level {
            self.levels.push(Node::default());
        }
        let node = &self.levels[level];
        let size = node.size() + ELEMENT_BYTES + key.len() + value.len();
        if !node.elements.is_empty() && size > PAGE_BYTES {
            self.flush(level)?;
        }
        let node = &mut self.levels[level];
        let bytes = |len: usize| u32::try_from(len).expect("an entry is far below 4 GiB");
        let (key_bytes, value_bytes) = (bytes(key.len()), bytes(value.len()));
        node.elements.push(Element { flags, key_bytes, value_bytes, child });
        node.bytes.extend_from_slice(key);
        node.bytes.extend_from_slice(value);
        Ok(())
    }

    /// Writes a level's page and enters it one level up.
    fn flush(&mut self, level: usize) -> Result<(), E> {
        let node = &mut self.levels[level];
        let pages = node.size().div_ceil(PAGE_BYTES);
        let header = Header {
            id: self.next,
            flags: if level == 0 { LEAF } else { BRANCH },
            count: u16::try_from(node.elements.len()).expect("a page holds few elements"),
            overflow: u32::try_from(pages - 1).expect("an entry is far below 4 GiB"),
        };
        self.page.clear();
        self.page.extend_from_slice(&header.encode());
        let mut behind = 0;
        for (at, element) in node.elements.iter().enumerate() {
            let to_bytes = (node.elements.len() - at) * ELEMENT_BYTES + behind;
            let position = u32::try_from(to_bytes).expect("an entry is far below 4 GiB");
            element.encode(level == 0, position, &mut self.page);
            behind += (element.key_bytes + element.value_bytes) as usize;
        }
        self.page.extend_from_slice(&node.bytes);
        self.page.resize(pages * PAGE_BYTES, 0);
        (self.sink)(&self.page)?;
        self.next += pages as u64;
        let first_key = node.elements.first().map_or(0, |first| first.key_bytes as usize);
        let first_key = node.bytes[..first_key].to_vec();
        *node = Node { flushed: true, ..Node::default() };
        self.push(level + 1, &first_key, &[], 0, header.id)
    }
}

impl<E> std::fmt::Debug for Writer<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Writer(page {})", self.next)
    }
}

impl Node {
    fn size(&self) -> usize {
        HEADER_BYTES + self.elements.len() * ELEMENT_BYTES + self.bytes.len()
    }
}

impl Element {
    fn encode(self, leaf: bool, position: u32, to: &mut Vec<u8>) {
        if leaf {
            for number in [self.flags, position, self.key_bytes, self.value_bytes] {
                to.extend_from_slice(&number.to_le_bytes());
            }
        } else {
            to.extend_from_slice(&position.to_le_bytes());
            to.extend_from_slice(&self.key_bytes.to_le_bytes());
            to.extend_from_slice(&self.child.to_le_bytes());
        }
    }
}

fn small_page(header: Header, content: &[u8]) -> Vec<u8> {
    let mut page = header.encode().to_vec();
    page.extend_from_slice(content);
    page.resize(PAGE_BYTES, 0);
    page
}
