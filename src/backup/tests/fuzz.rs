//! Damaged files of bbolt: described and restored, or refused in words.

use super::*;
use crate::fuzz::Fuzz;
use crate::wal::Wal;

#[test]
fn damaged_snapshots_of_etcd_are_restored_or_refused() {
    let mut fuzz = Fuzz::new("bbolt snapshots", 60);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::create_dir(dir.path().join("b")).unwrap();
    let whole = dir.path().join("whole.db");
    save(&state(&dir.path().join("a"), 40), &whole);
    let small = dir.path().join("small.db");
    save(&state(&dir.path().join("b"), 0), &small);
    let corpus = [fs::read(whole).unwrap(), fs::read(small).unwrap()];
    let file = dir.path().join("damaged.db");
    let (mut restored, mut refused) = (0, 0);
    while fuzz.goes_on() {
        let damaged = fuzz.damaged(&corpus);
        fs::write(&file, &damaged).unwrap();
        let place = fuzz.place();
        let changed = !corpus.contains(&damaged);
        // The checksum at its end finds everything.
        let checked = super::super::check(&file).is_ok();
        assert!(!(checked && changed), "{place}: damage goes unnoticed");
        let described = status(&file).map_err(|error| error.to_string());
        assert!(described.is_ok_and(|it| it.total_size > 0) || changed, "{place}");
        let target = fuzz_target(dir.path());
        match restore(&file, true, &target) {
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
            Ok(()) => {
                // Whatever it is now, a member can begin with it or says why not.
                let opened = Store::open(&target.store).and_then(State::open);
                assert!(opened.is_ok_and(|state| state.revision() >= 0) || changed, "{place}");
                drop(Wal::open(&target.log, crate::wal::Options::default()).unwrap());
                restored += 1;
            }
        }
        // What is not there needs no removal.
        let _ = fs::remove_file(&target.store);
        let _ = fs::remove_dir_all(&target.log);
    }
    assert!(restored + refused > 0);
}

fn fuzz_target(dir: &Path) -> Target {
    let roster = roster();
    Target {
        store: dir.join("store.redb"),
        log: dir.join("log"),
        member: *roster.members.keys().next().unwrap(),
        cluster: list().cluster_id(TOKEN),
        roster,
        bump_revision: 0,
        mark_compacted: false,
    }
}
