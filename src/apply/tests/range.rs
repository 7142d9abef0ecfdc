use super::{Machine, delete, pairs, put, range, revision};
use crate::apply::{Error, RangeScan};
use crate::auth::Caller;
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::request::Op;
use pb::range_request::{SortOrder, SortTarget};

/// Revisions: c 2 (value 3), a 3 (1), b 4 (2), and d 5, 6 (0).
fn machine() -> Machine {
    Machine::with(&[("c", "3"), ("a", "1"), ("b", "2"), ("d", "9"), ("d", "0")])
}

fn sorted(order: SortOrder, target: SortTarget, limit: i64) -> pb::RangeRequest {
    pb::RangeRequest {
        sort_order: order.into(),
        sort_target: target.into(),
        limit,
        ..range("\0", "\0")
    }
}

#[test]
fn range_end_means_what_it_means_in_etcd() {
    let machine = machine();
    for (key, end, expected) in [
        ("b", "", &["b=2"][..]),
        ("b", "d", &["b=2", "c=3"]),
        ("b", "b", &[]),
        ("d", "a", &[]),
        ("c", "\0", &["c=3", "d=0"]),
        ("\0", "\0", &["a=1", "b=2", "c=3", "d=0"]),
        ("x", "", &[]),
    ] {
        let response = machine.state.range(&range(key, end)).unwrap();
        assert_eq!(pairs(&response), expected, "{key} {end:?}");
        assert_eq!((response.count, response.more), (expected.len() as i64, false));
    }
}

#[test]
fn options_of_a_range() {
    let machine = machine();
    let all = || range("\0", "\0");
    let cases: &[(&str, pb::RangeRequest, &[&str], bool, i64)] = &[
        ("limit", pb::RangeRequest { limit: 2, ..all() }, &["a=1", "b=2"], true, 4),
        (
            "limit reached",
            pb::RangeRequest { limit: 4, ..all() },
            &["a=1", "b=2", "c=3", "d=0"],
            false,
            4,
        ),
        (
            "negative",
            pb::RangeRequest { limit: -1, ..all() },
            &["a=1", "b=2", "c=3", "d=0"],
            false,
            4,
        ),
        ("count only", pb::RangeRequest { count_only: true, limit: 1, ..all() }, &[], false, 4),
        (
            "keys only",
            pb::RangeRequest { keys_only: true, limit: 2, ..all() },
            &["a=", "b="],
            true,
            4,
        ),
        ("old", pb::RangeRequest { revision: 3, ..all() }, &["a=1", "c=3"], false, 2),
        ("first", pb::RangeRequest { revision: 1, ..all() }, &[], false, 0),
        ("negative", pb::RangeRequest { revision: -9, limit: 1, ..all() }, &["a=1"], true, 4),
        ("min mod", pb::RangeRequest { min_mod_revision: 4, ..all() }, &["b=2", "d=0"], false, 4),
        (
            "max mod",
            pb::RangeRequest { max_mod_revision: 4, limit: 2, ..all() },
            &["a=1", "b=2"],
            true,
            4,
        ),
        (
            "filter then limit",
            pb::RangeRequest { max_mod_revision: 3, limit: 2, ..all() },
            &["a=1", "c=3"],
            false,
            4,
        ),
        (
            "another filter then limit",
            pb::RangeRequest { max_create_revision: 3, limit: 1, ..all() },
            &["a=1"],
            true,
            4,
        ),
        ("min create", pb::RangeRequest { min_create_revision: 5, ..all() }, &["d=0"], false, 4),
        ("max create", pb::RangeRequest { max_create_revision: 2, ..all() }, &["c=3"], false, 4),
    ];
    for (name, request, expected, more, count) in cases {
        let response = machine.state.range(request).unwrap();
        assert_eq!(pairs(&response), *expected, "{name}");
        assert_eq!((response.more, response.count), (*more, *count), "{name}");
        assert_eq!(revision(response.header.as_ref()), 6, "{name}");
    }
}

#[test]
fn sorting_of_a_range() {
    let machine = machine();
    for (order, target, limit, expected) in [
        (SortOrder::Descend, SortTarget::Key, 2, &["d=0", "c=3"][..]),
        (SortOrder::Ascend, SortTarget::Key, 1, &["a=1"]),
        (SortOrder::Ascend, SortTarget::Value, 2, &["d=0", "a=1"]),
        (SortOrder::Descend, SortTarget::Value, 2, &["c=3", "b=2"]),
        (SortOrder::Ascend, SortTarget::Mod, 0, &["c=3", "a=1", "b=2", "d=0"]),
        (SortOrder::Descend, SortTarget::Create, 1, &["d=0"]),
        (SortOrder::Descend, SortTarget::Version, 1, &["d=0"]),
        // The trap: only the first two by key are looked at.
        (SortOrder::None, SortTarget::Value, 1, &["a=1"]),
        (SortOrder::None, SortTarget::Mod, 2, &["c=3", "a=1"]),
        (SortOrder::None, SortTarget::Mod, 0, &["c=3", "a=1", "b=2", "d=0"]),
    ] {
        let response = machine.state.range(&sorted(order, target, limit)).unwrap();
        assert_eq!(pairs(&response), expected, "{order:?} {target:?} {limit}");
    }
    let by_value = sorted(SortOrder::Ascend, SortTarget::Value, 0);
    let keys_only = pb::RangeRequest { keys_only: true, ..by_value };
    assert_eq!(pairs(&machine.state.range(&keys_only).unwrap()), ["d=", "a=", "b=", "c="]);
}

/// Reads in slices of one key, with something done between the slices.
fn sliced(
    machine: &mut Machine,
    request: &pb::RangeRequest,
    between: fn(&mut Machine),
) -> Result<pb::RangeResponse, Error> {
    let state = &machine.state;
    let mut scan = RangeScan::begin(state.keys(), state.revision(), request)?;
    while !scan.advance(machine.state.keys(), 1)? {
        between(machine);
    }
    Ok(scan.finish())
}

#[test]
fn a_range_in_slices_is_of_one_revision() {
    for request in [
        range("\0", "\0"),
        range("b", "d"),
        range("x", "y"),
        range("a", ""),
        pb::RangeRequest { limit: 2, ..range("a", "\0") },
        pb::RangeRequest { revision: 3, ..range("\0", "\0") },
        sorted(SortOrder::Descend, SortTarget::Mod, 3),
    ] {
        let mut machine = machine();
        let expected = machine.state.range(&request).unwrap();
        let found = sliced(&mut machine, &request, |machine| {
            machine.run(Op::DeleteRange(delete("\0", "\0"))).unwrap();
            machine.put(put("b", "new")).unwrap();
            machine.put(put("e", "new")).unwrap();
        });
        assert_eq!(found.unwrap(), expected);
    }
}

#[test]
fn a_range_in_slices_ends_when_compacted() {
    let mut machine = machine();
    let found = sliced(&mut machine, &range("\0", "\0"), |machine| {
        machine.put(put("z", "")).unwrap();
        // The third slice finds its revision gone.
        let revision = machine.state.revision();
        if revision == 8 {
            machine.compact(revision).unwrap();
            while machine.state.compaction_step(1) {}
        }
    });
    assert_eq!(found, Err(Error::Compacted));
}

#[test]
fn the_public_way_reads_slices_too() {
    let machine = machine();
    let request = range("\0", "\0");
    let mut scan = machine.state.range_scan(&Caller::Nobody, &request).unwrap();
    assert!(scan.step(&machine.state).unwrap(), "a few keys are one slice");
    assert_eq!(scan.finish(), machine.state.range(&request).unwrap());
}

#[test]
fn long_values_make_short_slices() {
    let mut machine = machine();
    for key in 0..40 {
        machine.put(put(&format!("k{key:02}"), &"v".repeat(100_000))).unwrap();
    }
    for (request, slices) in [
        (range("\0", "\0"), 4),
        (pb::RangeRequest { limit: 25, ..range("\0", "\0") }, 2),
        (pb::RangeRequest { min_mod_revision: 17, ..range("k", "l") }, 3),
        (pb::RangeRequest { count_only: true, ..range("\0", "\0") }, 1),
        (range("k00", ""), 1),
    ] {
        let expected = machine.state.range(&request).unwrap();
        let mut scan: RangeScan = machine.state.range_scan(&Caller::Nobody, &request).unwrap();
        let steps = 1 + (0..).take_while(|_| !scan.step(&machine.state).unwrap()).count();
        assert_eq!(steps, slices, "{request:?}");
        assert!(scan.finish() == expected, "{request:?}");
    }
}
