use std::collections::BTreeMap;

use bytes::Bytes;

use super::member::Member;
use super::world::World;
use crate::apply::{Error, Outcome};
use crate::membership::MemberId;
use crate::mvcc::KeyRange;

const WATCHERS: u64 = 3;

/// Clients that watch all keys, at one member after the other, and what there is to be seen.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    /// The next revision that each wants.
    next: BTreeMap<u64, i64>,
    /// The changes of each revision, as whoever applied them first told them.
    told: BTreeMap<i64, String>,
}

impl Watchers {
    /// A revision was made. All members tell the same of it.
    pub(super) fn heard_of(&mut self, id: MemberId, outcome: &Outcome) -> Result<(), String> {
        if outcome.events.is_empty() {
            return Ok(());
        }
        let told = format!("{:?}", outcome.events);
        let known = self.told.entry(outcome.revision).or_insert_with(|| told.clone());
        if *known == told {
            return Ok(());
        }
        let revision = outcome.revision;
        Err(format!("watches: revision {revision} is `{told}` to {id}, was `{known}`"))
    }
}

impl World {
    /// One watcher asks some member for what comes next: in order, without a gap, as it was.
    pub(super) fn watchers_look(&mut self) -> Result<(), String> {
        let watcher = self.users.below(WATCHERS);
        let up = |member: &&Member| member.up.is_some();
        let members: Vec<MemberId> =
            self.members.values().filter(up).map(|member| member.id).collect();
        let at = usize::try_from(self.users.below(members.len().max(1) as u64)).unwrap_or(0);
        let limit = usize::try_from(1 + self.users.below(6)).unwrap_or(1);
        match members.get(at) {
            Some(id) => self.watcher_reads(watcher, *id, limit).map(drop),
            None => Ok(()),
        }
    }

    /// In the end every watcher comes to the last revision, wherever it asks.
    pub(super) fn watchers_see_all(&mut self) -> Result<(), String> {
        let roster = self.settled_roster().unwrap_or_default();
        for watcher in 0..WATCHERS {
            for id in &roster {
                while self.watcher_reads(watcher, *id, 10)? {}
            }
            let next = self.watchers.next.get(&watcher).copied().unwrap_or_default();
            let last = self.watchers.told.keys().next_back().copied().unwrap_or_default();
            if next <= last {
                return Err(format!("watches: {watcher} stays before {next}, {last} was made"));
            }
        }
        Ok(())
    }

    /// Whether it got on.
    fn watcher_reads(&mut self, watcher: u64, id: MemberId, limit: usize) -> Result<bool, String> {
        let Some(running) = self.members.get(&id).and_then(|member| member.up.as_ref()) else {
            return Ok(false);
        };
        let from = *self.watchers.next.entry(watcher).or_insert(1);
        if running.state.revision() < from {
            return Ok(false);
        }
        let all = KeyRange::new(Bytes::from_static(&[0]), Bytes::from_static(&[0]));
        let (revisions, next) = match running.state.events(&all, from, limit) {
            Ok(read) => read,
            Err(Error::Compacted) => {
                let compacted = running.state.compact_revision();
                if from >= compacted {
                    return Err(format!(
                        "watches: {id} has {from}, and compacted {compacted} only"
                    ));
                }
                self.summary.missed += 1;
                self.watchers.next.insert(watcher, compacted);
                return Ok(true);
            }
            Err(error) => return Err(error.to_string()),
        };
        let expected = self.watchers.told.range(from..next);
        let expected: Vec<(i64, &String)> = expected.map(|(at, told)| (*at, told)).collect();
        let seen: Vec<(i64, String)> =
            revisions.iter().map(|(at, events)| (*at, format!("{events:?}"))).collect();
        let same = expected.len() == seen.len()
            && expected.iter().zip(&seen).all(|(a, b)| a.0 == b.0 && *a.1 == b.1);
        if !same {
            return Err(format!(
                "watches: from {from} to {next} {id} tells {seen:?}, there was {expected:?}"
            ));
        }
        self.summary.watched += seen.len() as u64;
        self.watchers.next.insert(watcher, next);
        Ok(next > from)
    }
}
