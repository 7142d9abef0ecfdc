use bytes::Bytes;

use crate::fuzz::Fuzz;
use crate::mvcc::{
    Applied, DumpBlock, DumpError, DumpReader, DumpWriter, EventRef, Memory, Revision, Storage,
};

fn filled() -> Memory {
    let mut keys = super::open(Memory::default()).unwrap();
    for number in 0..300 {
        let mut write = keys.write();
        write.put(format!("k{number}").into(), Bytes::from(vec![7; 1000]), number % 3);
        if number > 0 {
            write.delete(format!("k{}", number - 1).into());
        }
        write.finish();
    }
    keys.compact(100).unwrap();
    keys.storage_mut().set_applied(Applied { index: 12, term: 3 });
    keys.into_storage()
}

fn hash(storage: Memory) -> u32 {
    super::open(storage).unwrap().hash(0).unwrap()
}

#[test]
fn a_dump_gives_the_same_storage() {
    let memory = filled();
    let bytes = memory.to_bytes();
    assert!(bytes.len() > 3 * 64 * 1024, "it has several blocks");
    let read = Memory::from_bytes(&bytes).unwrap();
    assert_eq!(read.applied(), Applied { index: 12, term: 3 });
    assert_eq!(read.to_bytes(), bytes);
    assert_eq!(hash(read), hash(memory));
}

#[test]
fn a_dump_is_read_in_whatever_pieces_it_comes() {
    let bytes = filled().to_bytes();
    for size in [1, 31, 70_000, 200_000] {
        let pieces = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece)));
        let mut reader = DumpReader::new(pieces).unwrap();
        let mut records = 0;
        while let Some(block) = reader.next_block().unwrap() {
            let DumpBlock::Records(block) = block else { continue };
            let kept: Vec<_> = block.slices().collect();
            assert!(kept.iter().map(|(at, bytes)| (*at, &bytes[..])).eq(block.encoded()));
            block.decoded(&mut |_, _| records += 1).unwrap();
        }
        assert_eq!(records, 599);
        let (mut pieces, rest) = reader.into_rest();
        assert!(pieces.next().is_none() && rest.is_empty());
    }
}

#[test]
fn a_small_value_behind_records_is_refused() {
    let mut writer = DumpWriter::new(Applied::default());
    let at = Revision { main: 2, sub: 0 };
    writer.record(at, EventRef { key: b"a", version: 1, ..EventRef::default() });
    writer.meta(b"lease/12345678", b"too late");
    let refused = Memory::from_bytes(&writer.finish()).unwrap_err();
    assert!(matches!(refused, DumpError::Corrupt(what) if what.contains("behind")), "{refused}");
}

#[test]
fn a_fuzzed_dump_is_what_it_was_or_refused() {
    let mut fuzz = Fuzz::new("received snapshots", 300);
    // One only: that two are not mixed is for the checksum over the whole, which whoever receives it compares.
    let corpus = [filled().to_bytes().to_vec()];
    while fuzz.goes_on() {
        let damaged = fuzz.damaged(&corpus);
        if let Ok(read) = Memory::from_bytes(&damaged) {
            let same = read.to_bytes()[..] == corpus[0][..];
            assert!(same, "{}: what was never written is believed", fuzz.place());
        }
    }
}

#[test]
fn a_damaged_dump_is_refused() {
    let bytes = filled().to_bytes();
    for cut in [0, 5, 31, 32, 40, 70_000, bytes.len() - 1] {
        assert!(matches!(
            Memory::from_bytes(&bytes[..cut]),
            Err(DumpError::Io(_) | DumpError::Corrupt(_))
        ));
    }
    for place in (0..bytes.len()).step_by(997) {
        let mut damaged = bytes.to_vec();
        damaged[place] ^= 0x10;
        assert!(Memory::from_bytes(&damaged).is_err(), "bit flipped at {place}");
    }
}

#[test]
fn a_newer_dump_is_refused_by_name() {
    let mut bytes = filled().to_bytes().to_vec();
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..32].copy_from_slice(&crc.to_le_bytes());
    assert!(matches!(Memory::from_bytes(&bytes), Err(DumpError::Newer { found: 2 })));
}
