use super::*;

fn mark(index: u64, term: u64) -> Mark {
    Mark { index: Index(index), term: Term(term) }
}

#[test]
fn old_and_unfinished_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert_eq!(list(&dir.join("missing")).unwrap(), []);
    for index in [300, 20, 1000] {
        fs::write(path(dir, mark(index, 7)), b"whole").unwrap();
    }
    assert_eq!(list(dir).unwrap(), [mark(20, 7), mark(300, 7), mark(1000, 7)]);
    for other in ["0000000000000007-00000000000003e9.snap.new", "notes.snap.old", "notes.txt"] {
        fs::write(dir.join(other), b"half, or not ours").unwrap();
    }
    remove_unfinished(dir).unwrap();
    remove_before(dir, Index(300)).unwrap();
    assert_eq!(list(dir).unwrap(), [mark(300, 7), mark(1000, 7)]);
    assert_eq!(names(dir).unwrap().len(), 4, "what is not ours stays");
    discard(dir, mark(1000, 7)).unwrap();
    discard(dir, mark(1000, 7)).unwrap();
    assert_eq!(list(dir).unwrap(), [mark(300, 7)]);
}
