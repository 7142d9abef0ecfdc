use bytes::Bytes;

use crate::fuzz::Fuzz;
use crate::mvcc::{Applied, DumpError, Keyspace, Memory, Storage};

fn filled() -> Memory {
    let mut keys = Keyspace::open(Memory::default()).unwrap();
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
    Keyspace::open(storage).unwrap().hash(0).unwrap()
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
fn a_fuzzed_dump_is_what_it_was_or_refused() {
    let mut fuzz = Fuzz::new("received snapshots", 300);
    // One only: that two are not mixed is for the checksum over the whole, which `snap` compares.
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
