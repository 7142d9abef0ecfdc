use std::collections::BTreeSet;

/// What a client did to one register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Put(u64),
    /// What it returned; `None` when there was nothing.
    Get(Option<u64>),
    /// Puts `new` if `old` is there; says whether it was.
    Swap {
        old: u64,
        new: u64,
        swapped: bool,
    },
    /// A put whose answer never came: it takes effect at some time after its call, or never.
    MaybePut(u64),
    MaybeSwap {
        old: u64,
        new: u64,
    },
}

/// One call on the time line of all clients.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) action: Action,
    pub(super) begin: u64,
    /// `u64::MAX` when no answer came.
    pub(super) end: u64,
}

/// Whether one order of the calls explains every answer, in which a call that ended before another began
/// comes first (Herlihy and Wing; searched as by Wing and Gong, with the memory of Lowe).
///
/// At most 128 calls.
pub(super) fn is_linearizable(calls: &[Call]) -> bool {
    assert!(calls.len() <= 128, "{} calls do not fit the set of those done", calls.len());
    let mut tried = BTreeSet::new();
    let mut open = vec![(0_u128, None)];
    while let Some((done, value)) = open.pop() {
        if !tried.insert((done, value)) {
            continue;
        }
        let waiting = |at: usize| done & (1 << at) == 0;
        let ended = (0..calls.len()).filter(|at| waiting(*at)).map(|at| calls[at].end).min();
        let Some(first_end) = ended.filter(|end| *end != u64::MAX) else {
            // Only calls without an answer remain, which may never have happened.
            return true;
        };
        for at in (0..calls.len()).filter(|at| waiting(*at) && calls[*at].begin < first_end) {
            if let Some(next) = step(calls[at].action, value) {
                open.push((done | (1 << at), next));
            }
        }
    }
    false
}

/// The register after an action, if the action can have had its answer.
fn step(action: Action, value: Option<u64>) -> Option<Option<u64>> {
    match action {
        Action::Put(new) | Action::MaybePut(new) => Some(Some(new)),
        Action::Get(found) => (found == value).then_some(value),
        Action::Swap { old, new, swapped } => match (value == Some(old), swapped) {
            (true, true) => Some(Some(new)),
            (false, false) => Some(value),
            _ => None,
        },
        Action::MaybeSwap { old, new } => Some(if value == Some(old) { Some(new) } else { value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explains_what_can_be_and_nothing_else() {
        let call = |action, begin, end| Call { action, begin, end };
        let put = Action::Put(1);
        let cases: [(&str, bool, Vec<Call>); 7] = [
            ("read after write", true, vec![call(put, 0, 1), call(Action::Get(Some(1)), 2, 3)]),
            ("stale read", false, vec![call(put, 0, 1), call(Action::Get(None), 2, 3)]),
            ("overlapping read", true, vec![call(put, 0, 5), call(Action::Get(None), 2, 3)]),
            (
                "reads go back",
                false,
                vec![
                    call(put, 0, 9),
                    call(Action::Get(Some(1)), 1, 2),
                    call(Action::Get(None), 3, 4),
                ],
            ),
            (
                "a lost answer takes effect late",
                true,
                vec![
                    call(Action::MaybePut(1), 0, u64::MAX),
                    call(Action::Get(None), 1, 2),
                    call(Action::Get(Some(1)), 3, 4),
                ],
            ),
            (
                "two swaps from one value",
                false,
                vec![
                    call(put, 0, 1),
                    call(Action::Swap { old: 1, new: 2, swapped: true }, 2, 5),
                    call(Action::Swap { old: 1, new: 3, swapped: true }, 2, 5),
                ],
            ),
            (
                "one swap wins",
                true,
                vec![
                    call(put, 0, 1),
                    call(Action::Swap { old: 1, new: 2, swapped: false }, 2, 5),
                    call(Action::Swap { old: 1, new: 3, swapped: true }, 2, 5),
                ],
            ),
        ];
        for (name, expected, calls) in cases {
            assert_eq!(is_linearizable(&calls), expected, "{name}");
        }
    }
}
