//! Damaged logs: what opens is what was written, up to a torn end; the rest is refused in words.

use super::tests::{SMALL, batch, entry, metadata};
use super::*;
use crate::fuzz::Fuzz;
use crate::membership::MemberId;
use crate::raft::{Draw, Entry, HardState, Index, Term};
use crate::replica::Persist;
use crate::sim::SimDisk;

/// The name of a file and what is in it.
type File = (String, Vec<u8>);

/// A log of several segments: its files, its entries, and how many of those the last segment begins behind.
fn log(draw: &mut Draw) -> (Vec<File>, Vec<Entry>, usize) {
    let mut wal = Wal::create_on(SimDisk::default(), metadata(), SMALL).unwrap();
    let (mut entries, mut before_last) = (Vec::new(), 0);
    let mut segments = wal.segments();
    for n in 0..30 {
        let size = usize::try_from(1 + draw.below(300)).unwrap();
        let one = entry(3 + n, 2, vec![u8::try_from(n).unwrap(); size]);
        let mut persist = batch(vec![one.clone()]);
        let (term, commit) = (Term(2), Index(2 + n));
        persist.hard_state = Some(HardState { term, vote: Some(MemberId(1)), commit });
        wal.append(&persist);
        wal.sync().unwrap();
        if wal.segments() != segments {
            (segments, before_last) = (wal.segments(), entries.len());
        }
        entries.push(one);
    }
    let disk = wal.into_disk();
    let mut names = disk.names().unwrap();
    names.sort();
    let files = names.into_iter().map(|name| {
        let mut image = disk.read(&name).unwrap();
        image.cover(image.size);
        (name, image.bytes)
    });
    (files.collect(), entries, before_last)
}

fn disk(files: &[File]) -> SimDisk {
    let disk = SimDisk::default();
    for (name, bytes) in files {
        let mut file = disk.create(name, bytes.len() as u64).unwrap();
        disk.write_at(&mut file, 0, bytes).unwrap();
        disk.sync(&mut file).unwrap();
    }
    disk.sync_names().unwrap();
    disk
}

#[test]
fn damaged_logs_give_what_was_written_or_an_error() {
    let mut fuzz = Fuzz::new("log", 3000);
    let mut draw = Draw::new(1);
    let (mut opened, mut refused) = (0, 0);
    let (mut whole, mut entries, mut before_last) = log(&mut draw);
    while fuzz.goes_on() {
        if fuzz.below(500) == 0 {
            (whole, entries, before_last) = log(&mut draw);
        }
        let mut files = whole.clone();
        let last = files.len() - 1;
        // The end is where it gets interesting.
        let victim = if fuzz.below(2) == 0 { last } else { fuzz.below(files.len()) };
        let corpus: Vec<Vec<u8>> =
            [victim, fuzz.below(files.len())].iter().map(|at| files[*at].1.clone()).collect();
        files[victim].1 = fuzz.damaged(&corpus[..1]);
        if fuzz.below(20) == 0 {
            files[victim].1 = corpus[1].clone();
        }
        let place = fuzz.place();
        let (mut wal, found) = match Wal::open_on(disk(&files), SMALL) {
            Ok(opened) => opened,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
                continue;
            }
        };
        opened += 1;
        let kept = found.entries.len();
        assert_eq!(found.entries, entries[..kept], "{place}: entries that were not written");
        assert!(kept >= before_last, "{place}: {kept} entries of an earlier segment");
        assert_eq!(found.metadata, metadata(), "{place}");
        // It goes on from there.
        let index = entries.get(kept).map_or(entries.len() as u64 + 3, |next| next.index.0);
        let next = entry(index, 9, "next");
        wal.append(&Persist { entries: vec![next.clone()], sync: true, ..Persist::default() });
        wal.sync().unwrap();
        let (_, again) = Wal::open_on(wal.into_disk(), SMALL)
            .unwrap_or_else(|error| panic!("{place}: after its repair: {error}"));
        assert_eq!(again.entries.last(), Some(&next), "{place}");
        assert_eq!(again.entries[..kept], entries[..kept], "{place}");
    }
    assert!(opened > 10 && refused > 10, "{opened} opened, {refused} refused");
}
