//! Files of every released format are opened by this version: `tests/fixtures/VERSION.txt`.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::harness::{Flavor, Node, etcdctl, scratch};

/// Writes the files of a fixture. Lines are `file NAME SIZE`, then `OFFSET TIMES BYTES` in
/// hexadecimal: blocks that are not zero, each so many times in a row.
fn unpack(version: &str, to: &Path) {
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{version}.txt"));
    let mut open: Option<File> = None;
    for line in fs::read_to_string(fixture).unwrap().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["file", name, size] = words[..] {
            let path = to.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = File::create(path).unwrap();
            file.set_len(size.parse().unwrap()).unwrap();
            open = Some(file);
            continue;
        }
        let [offset, times, bytes] = words[..] else { panic!("{line}") };
        let digit = |at: usize| u8::from_str_radix(&bytes[at..at + 2], 16).unwrap();
        let block: Vec<u8> = (0..bytes.len()).step_by(2).map(digit).collect();
        let blocks = block.repeat(times.parse().unwrap());
        let offset = u64::from_str_radix(offset, 16).unwrap();
        open.as_ref().unwrap().write_all_at(&blocks, offset).unwrap();
    }
}

/// Written by version 0.1.0, which was killed: puts, a deletion, a lease with a key, a compaction.
#[test]
fn the_files_of_0_1_are_opened() {
    let dir = scratch();
    let mut node = Node::new(Flavor::Ours, "n1", dir.path()).unwrap();
    unpack("0.1", &node.data_dir());
    // The second start reads what this version has made of them.
    for hash in [Some(34_445_771), None] {
        node.start();
        node.wait_until_healthy();
        let (revision, found) = node.client().hash().unwrap();
        if let Some(hash) = hash {
            assert_eq!((revision, found), (10, hash));
        }
        assert_eq!(node.client().get("key1").unwrap().as_deref(), Some("again"));
        assert_eq!(node.client().get("key2").unwrap(), None);
        assert_eq!(node.client().get("leased").unwrap().as_deref(), Some("v"));
        if let Some(left) =
            etcdctl(&node.client_url(), &["lease", "timetolive", "--keys", "452c87167e983cef"])
        {
            let left = String::from_utf8_lossy(&left.stdout).into_owned();
            assert!(
                left.contains("granted with TTL(6000s)") && left.contains("[leased]"),
                "{left}"
            );
        }
        node.client().put("after", "the upgrade").unwrap();
        node.kill();
    }
}
