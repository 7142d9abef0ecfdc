use std::collections::{BTreeMap, BTreeSet};

/// What a client did to one register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Put(u64),
    /// What it returned; `None` when there was nothing.
    Get(Option<u64>),
    /// Puts `new` if `old` is there; says what was there.
    Swap {
        old: u64,
        new: u64,
        found: Option<u64>,
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
/// No two puts or swaps write the same value. The search looks only at calls that overlap, so histories may be
/// long as long as few calls are open at a time.
pub(super) fn is_linearizable(calls: &[Call]) -> bool {
    let mut calls = without_doubt(calls);
    calls.sort_by_key(|call| call.begin);
    let mut ends: Vec<u64> = calls.iter().map(|call| call.end).collect();
    // The first end of all calls from here on.
    for at in (1..ends.len()).rev() {
        ends[at - 1] = ends[at - 1].min(ends[at]);
    }
    let mut tried = BTreeSet::new();
    let mut open = vec![Tried { next: 0, passed: Vec::new(), value: None }];
    while let Some(so_far) = open.pop() {
        if so_far.next == calls.len() && so_far.passed.is_empty() {
            return true;
        }
        let passed_ends = so_far.passed.iter().map(|at| calls[*at].end);
        let first_end = passed_ends.chain(ends.get(so_far.next).copied()).min();
        let first_end = first_end.expect("a call remains");
        let begun = (so_far.next..calls.len()).take_while(|at| calls[*at].begin < first_end);
        for at in so_far.passed.iter().copied().chain(begun) {
            if let Some(value) = step(calls[at].action, so_far.value) {
                let then = so_far.with(at, value);
                if tried.insert(then.clone()) {
                    open.push(then);
                }
            }
        }
    }
    false
}

/// Which calls have taken effect, and what they left.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Tried {
    /// Calls from this one on have not, in the order in which they began.
    next: usize,
    /// Calls before `next` that have not either.
    passed: Vec<usize>,
    value: Option<u64>,
}

impl Tried {
    fn with(&self, at: usize, value: Option<u64>) -> Self {
        let mut passed = self.passed.clone();
        if at >= self.next {
            passed.extend(self.next..at);
        } else {
            passed.retain(|waiting| *waiting != at);
        }
        Self { next: self.next.max(at + 1), passed, value }
    }
}

/// Decides about calls without an answer. One whose value was seen did happen, before that was seen for the first time;
/// one whose value nobody saw can be left out, since what it may have changed nobody saw either.
fn without_doubt(calls: &[Call]) -> Vec<Call> {
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut sure, doubtful): (Vec<Call>, Vec<Call>) = calls
        .iter()
        .partition(|call| !matches!(call.action, Action::MaybePut(_) | Action::MaybeSwap { .. }));
    for call in &sure {
        if let Action::Get(Some(value)) | Action::Swap { found: Some(value), .. } = call.action {
            note(&mut seen, value, call.end);
        }
    }
    // A swap that did happen saw what it swapped, and so tells of the one before.
    let mut more = true;
    while more {
        more = false;
        for call in &doubtful {
            if let Action::MaybeSwap { old, new } = call.action
                && let Some(end) = seen.get(&new).copied()
            {
                more |= note(&mut seen, old, end);
            }
        }
    }
    for call in doubtful {
        let (new, action) = match call.action {
            Action::MaybeSwap { old, new } => (new, Action::Swap { old, new, found: Some(old) }),
            Action::MaybePut(new) => (new, Action::Put(new)),
            _ => continue,
        };
        if let Some(end) = seen.remove(&new) {
            sure.push(Call { action, begin: call.begin, end });
        }
    }
    sure
}

/// Notes that a value was seen by then; whether that is news.
fn note(seen: &mut BTreeMap<u64, u64>, value: u64, end: u64) -> bool {
    let first = seen.entry(value).or_insert(u64::MAX);
    let sooner = end < *first;
    *first = end.min(*first);
    sooner
}

/// The register after an action, if the action can have had its answer.
fn step(action: Action, value: Option<u64>) -> Option<Option<u64>> {
    match action {
        Action::Put(new) | Action::MaybePut(new) => Some(Some(new)),
        Action::Get(found) => (found == value).then_some(value),
        Action::Swap { old, new, found } => {
            (found == value).then_some(if found == Some(old) { Some(new) } else { value })
        }
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
        let cases: [(&str, bool, Vec<Call>); 10] = [
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
                    call(Action::Swap { old: 1, new: 2, found: Some(1) }, 2, 5),
                    call(Action::Swap { old: 1, new: 3, found: Some(1) }, 2, 5),
                ],
            ),
            (
                "one swap wins",
                true,
                vec![
                    call(put, 0, 1),
                    call(Action::Swap { old: 1, new: 2, found: Some(3) }, 2, 5),
                    call(Action::Swap { old: 1, new: 3, found: Some(1) }, 2, 5),
                ],
            ),
            ("what nobody wrote", false, vec![call(put, 0, 1), call(Action::Get(Some(7)), 2, 3)]),
            (
                "a lost answer takes effect before it is seen",
                false,
                vec![call(Action::MaybePut(1), 5, u64::MAX), call(Action::Get(Some(1)), 1, 4)],
            ),
            (
                "lost swaps follow each other",
                true,
                vec![
                    call(Action::MaybePut(1), 0, u64::MAX),
                    call(Action::MaybeSwap { old: 1, new: 2 }, 1, u64::MAX),
                    call(Action::MaybeSwap { old: 2, new: 3 }, 2, u64::MAX),
                    call(Action::Get(None), 3, 4),
                    call(Action::Get(Some(3)), 5, 6),
                ],
            ),
        ];
        for (name, expected, calls) in cases {
            assert_eq!(is_linearizable(&calls), expected, "{name}");
        }
    }
}
