use super::*;

fn mark(index: u64, term: u64) -> Mark {
    Mark { index: Index(index), term: Term(term) }
}

fn receive(dir: &Path, mark: Mark, content: &[u8]) -> Receiver {
    let mut receiver = Receiver::begin(dir, mark).unwrap();
    for chunk in content.chunks(3) {
        receiver.write(chunk).unwrap();
    }
    receiver
}

#[test]
fn a_snapshot_is_there_whole_or_not_at_all() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("snap");
    let content = b"the whole state";
    let sum = Sha256::digest(content);

    assert_eq!(list(&dir).unwrap(), []);
    drop(receive(&dir, mark(5, 2), content));
    let damaged = receive(&dir, mark(5, 2), b"the whole stat!").finish(&sum);
    assert!(matches!(damaged, Err(Error::Checksum(Index(5)))));
    assert_eq!(names(&dir).unwrap(), Vec::<String>::new());

    let path = receive(&dir, mark(5, 2), content).finish(&sum).unwrap();
    assert_eq!(fs::read(&path).unwrap(), content);
    assert_eq!(path, super::path(&dir, mark(5, 2)));
    assert_eq!(list(&dir).unwrap(), [mark(5, 2)]);
}

#[test]
fn old_and_unfinished_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for index in [300, 20, 1000] {
        receive(dir, mark(index, 7), b"x").finish(&Sha256::digest(b"x")).unwrap();
    }
    fs::write(dir.join("0000000000000007-00000000000003e9.snap.part"), b"half").unwrap();
    fs::write(dir.join("notes.txt"), b"not ours").unwrap();
    remove_unfinished(dir).unwrap();
    remove_before(dir, Index(300)).unwrap();
    assert_eq!(list(dir).unwrap(), [mark(300, 7), mark(1000, 7)]);
    assert_eq!(names(dir).unwrap().len(), 3);
}
