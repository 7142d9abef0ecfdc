use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::{Error, Layout, Reader, Writer};
use crate::raft::Draw;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;
type Content = BTreeMap<Vec<u8>, Entries>;

fn pass(content: &Content, layout: Layout, sink: &mut dyn FnMut(&[u8])) -> Layout {
    let mut sink = |page: &[u8]| {
        sink(page);
        Ok::<(), ()>(())
    };
    let mut writer = Writer::begin(layout, &mut sink).unwrap();
    for (bucket, entries) in content {
        writer.bucket(bucket).unwrap();
        for (key, value) in entries {
            writer.put(key, value).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn write(content: &Content) -> Vec<u8> {
    let layout = pass(content, Layout::default(), &mut |_| {});
    let mut file = Vec::new();
    assert_eq!(pass(content, layout, &mut |page| file.extend_from_slice(page)), layout);
    assert_eq!(file.len() as u64, layout.file_bytes());
    file
}

fn read(path: &Path) -> Result<Content, Error> {
    let mut reader = Reader::open(path)?;
    let mut content = Content::new();
    for name in reader.buckets()? {
        let mut entries = Entries::new();
        let there = reader.walk(&name, &mut |key, value| {
            entries.insert(key.to_vec(), value.to_vec());
            Ok::<(), Error>(())
        })?;
        assert!(there);
        content.insert(name, entries);
    }
    Ok(content)
}

fn entries(count: u32, value_bytes: usize) -> Entries {
    let entry = |n: u32| (n.to_be_bytes().to_vec(), vec![b'v'; value_bytes]);
    (0..count).map(entry).collect()
}

/// The pages of a file in words.
fn describe(file: &[u8]) -> String {
    let mut text = String::new();
    for page in file.chunks(super::PAGE_BYTES) {
        let Some(header) = super::page::Header::decode(page) else { continue };
        let kind = match header.flags {
            super::page::META => "meta",
            super::page::FREELIST => "free list",
            super::page::LEAF => "leaf",
            super::page::BRANCH => "branch",
            _ => "overflow",
        };
        writeln!(
            text,
            "{} {kind}, {} elements, overflow {}",
            header.id, header.count, header.overflow
        )
        .unwrap();
        if kind == "overflow" {
            text.truncate(text.trim_end().rfind('\n').map_or(0, |at| at + 1));
        }
    }
    text
}

#[test]
fn pages_follow_each_other_as_they_fill() {
    let mut content = Content::new();
    content.insert(b"empty".to_vec(), Entries::new());
    content.insert(b"many".to_vec(), entries(400, 30));
    content.insert(b"wide".to_vec(), entries(2, 9000));
    let text = describe(&write(&content));
    assert_eq!(
        text,
        "0 meta, 0 elements, overflow 0\n\
         1 meta, 0 elements, overflow 0\n\
         2 free list, 0 elements, overflow 0\n\
         3 leaf, 0 elements, overflow 0\n\
         4 leaf, 81 elements, overflow 0\n\
         5 leaf, 81 elements, overflow 0\n\
         6 leaf, 81 elements, overflow 0\n\
         7 leaf, 81 elements, overflow 0\n\
         8 leaf, 76 elements, overflow 0\n\
         9 branch, 5 elements, overflow 0\n\
         10 leaf, 1 elements, overflow 2\n\
         13 leaf, 1 elements, overflow 2\n\
         16 branch, 2 elements, overflow 0\n\
         17 leaf, 3 elements, overflow 0\n"
    );
}

#[test]
fn what_was_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut draw = Draw::new(11);
    for round in 0..40 {
        let mut content = Content::new();
        for bucket in 0..draw.below(6) {
            let mut entries = Entries::new();
            let size = draw.below(13);
            for _ in 0..draw.below(1 << size) {
                let key = draw.number().to_be_bytes()
                    [..1 + usize::try_from(draw.below(8)).unwrap()]
                    .to_vec();
                let size = draw.below(14);
                let bytes = draw.below(1 << size);
                entries.insert(key, vec![b'x'; usize::try_from(bytes).unwrap()]);
            }
            content.insert(format!("bucket {bucket}").into_bytes(), entries);
        }
        std::fs::write(&path, write(&content)).unwrap();
        assert!(read(&path).unwrap() == content, "round {round}");
    }
}

/// A flipped bit is found, or it changes what is read; it never ends in a panic or without an end.
#[test]
fn damage_is_refused_or_shows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut content = Content::new();
    content.insert(b"a".to_vec(), entries(300, 30));
    content.insert(b"b".to_vec(), entries(3, 9000));
    let sound = write(&content);
    let mut draw = Draw::new(5);
    let mut refused = 0;
    for _ in 0..2000 {
        let mut file = sound.clone();
        let at = usize::try_from(draw.below(file.len() as u64)).unwrap();
        // The heads of pages and elements are what leads astray.
        let at = if draw.chance(700) { at / 4096 * 4096 + at % 256 } else { at };
        file[at] ^= 1 << draw.below(8);
        std::fs::write(&path, &file).unwrap();
        refused += u32::from(read(&path).is_err());
    }
    assert!(refused > 200, "{refused}");
    for len in [0, 100, 4096, 8192, sound.len() - 1] {
        std::fs::write(&path, &sound[..len]).unwrap();
        assert!(read(&path).is_err(), "{len} bytes");
    }
}

#[test]
fn refusals_name_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut content = Content::new();
    content.insert(b"a".to_vec(), entries(300, 30));
    let sound = write(&content);
    let told = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = sound.clone();
        change(&mut file);
        std::fs::write(&path, &file).unwrap();
        let text = read(&path).unwrap_err().to_string();
        text.replace(&path.display().to_string(), "FILE")
    };
    let page = |id: usize| id * 4096;
    assert_eq!(told(&|file| file[page(4)] = 9), "`FILE` is damaged: page 4 says that it is page 9");
    assert_eq!(
        told(&|file| file[page(4) + 8] = 4),
        "`FILE` is damaged: page 4 is no part of a tree: flags 0x4"
    );
    assert_eq!(
        told(&|file| file[page(4) + 12] = 200),
        "`FILE` is damaged: page 4 goes on behind the end of the file"
    );
    assert_eq!(
        told(&|file| file[page(4) + 16 + 4 + 2] = 7),
        "`FILE` is damaged: page 4 ends in the middle of an element"
    );
    let both = |file: &mut Vec<u8>| {
        file[16] = 0;
        file[page(1) + 16] = 0;
    };
    assert_eq!(told(&both), "`FILE` is no snapshot of etcd: it does not begin like a bbolt file");
    let mut file = sound.clone();
    file[16] = 0;
    std::fs::write(&path, &file).unwrap();
    assert!(read(&path).unwrap() == content, "one sound meta page is enough");
}
