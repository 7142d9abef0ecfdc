//! What other servers said before they fell silent (RFC 8767), and that they did (RFC 9520).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hickory_proto::rr::{Name, Record, RecordType};
use parking_lot::Mutex;

use crate::zone::{Answer, Key};

/// Old answers are given for so long after they were fresh (RFC 8767 §5 has one to three days).
const OLDEST: Duration = Duration::from_secs(24 * 3600);
/// Clients keep them for so long, then ask again (RFC 8767 §4).
const TTL: u32 = 30;
/// Nobody is asked again so soon after nobody answered (RFC 9520 §3.2: at least one second).
const FAILURE: Duration = Duration::from_secs(5);
/// When there are so many answers, those that were not used since the last time go.
const GENERATION: usize = 5_000;

/// Answers that are kept beyond their time, and questions that failed lately.
#[derive(Debug, Default)]
pub(super) struct Stale {
    answers: Mutex<Generations<Old>>,
    failures: Mutex<Generations<Instant>>,
}

#[derive(Debug, Clone)]
struct Old {
    answer: Answer<'static>,
    said: Instant,
}

type Question = (Key, u16);

/// A map of bounded size: the older half goes when the younger is full.
#[derive(Debug)]
struct Generations<T> {
    young: BTreeMap<Question, T>,
    old: BTreeMap<Question, T>,
}

impl Stale {
    /// Keeps a good answer.
    pub(super) fn keep(
        &self,
        name: &Name,
        kind: RecordType,
        answer: &Answer<'static>,
        now: Instant,
    ) {
        let old = Old { answer: answer.clone(), said: now };
        let mut answers = self.answers.lock();
        answers.insert((Key::of(name), kind.into()), old);
    }

    /// Remembers that nobody answered.
    pub(super) fn fail(&self, name: &Name, kind: RecordType, now: Instant) {
        let mut failures = self.failures.lock();
        failures.insert((Key::of(name), kind.into()), now);
    }

    /// Whether asking now would only cost the client its time.
    pub(super) fn failed_lately(&self, name: &Name, kind: RecordType, now: Instant) -> bool {
        let failures = self.failures.lock();
        let failed = failures.find(&(Key::of(name), kind.into()));
        failed.is_some_and(|at| now.duration_since(*at) < FAILURE)
    }

    /// What was said before, for a short time.
    pub(super) fn recall(
        &self,
        name: &Name,
        kind: RecordType,
        now: Instant,
    ) -> Option<Answer<'static>> {
        let answers = self.answers.lock();
        let old = answers.find(&(Key::of(name), kind.into()))?;
        if now.duration_since(old.said) > OLDEST {
            return None;
        }
        let mut answer = old.answer.clone();
        for records in [&mut answer.answers, &mut answer.authority, &mut answer.additional] {
            records.iter_mut().for_each(shorten);
        }
        Some(answer)
    }
}

fn shorten(record: &mut Cow<'static, Record>) {
    record.to_mut().ttl = TTL;
}

impl<T> Generations<T> {
    fn insert(&mut self, question: Question, value: T) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(question, value);
    }

    fn find(&self, question: &Question) -> Option<&T> {
        self.young.get(question).or_else(|| self.old.get(question))
    }
}

impl<T> Default for Generations<T> {
    fn default() -> Self {
        Self { young: BTreeMap::new(), old: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::ResponseCode;
    use hickory_proto::rr::RData;
    use hickory_proto::rr::rdata::A;

    use super::*;

    #[test]
    fn old_answers_are_given_for_a_day_and_failures_remembered_for_seconds() {
        let (stale, now) = (Stale::default(), Instant::now());
        let name = Name::from_ascii("a.test.").unwrap();
        let record = Record::from_rdata(name.clone(), 3600, RData::A(A::new(10, 0, 0, 1)));
        let answer =
            Answer { answers: vec![Cow::Owned(record)], ..Answer::bare(ResponseCode::NoError) };
        assert!(stale.recall(&name, RecordType::A, now).is_none());
        stale.keep(&name, RecordType::A, &answer, now);
        let upper = Name::from_ascii("A.TEST.").unwrap();
        let old = stale.recall(&upper, RecordType::A, now + OLDEST).unwrap();
        assert_eq!(old.answers[0].ttl, TTL);
        assert!(stale.recall(&name, RecordType::AAAA, now).is_none());
        assert!(stale.recall(&name, RecordType::A, now + OLDEST + TICK).is_none());
        stale.fail(&name, RecordType::A, now);
        assert!(stale.failed_lately(&name, RecordType::A, now + FAILURE - TICK));
        assert!(!stale.failed_lately(&name, RecordType::A, now + FAILURE));
    }

    const TICK: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_kept_has_a_bound() {
        let (stale, now) = (Stale::default(), Instant::now());
        for n in 0..GENERATION * 3 {
            let name = Name::from_ascii(format!("n{n}.test.")).unwrap();
            stale.fail(&name, RecordType::A, now);
        }
        let failures = stale.failures.lock();
        assert!(failures.young.len() + failures.old.len() <= 2 * GENERATION);
        let last = Name::from_ascii(format!("n{}.test.", GENERATION * 3 - 1)).unwrap();
        assert!(failures.find(&(Key::of(&last), 1)).is_some());
    }
}
