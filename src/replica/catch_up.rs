use std::collections::BTreeMap;

use crate::membership::MemberId;
use crate::raft::Index;

/// Followers that were sent a snapshot, and from where on they will need the log.
///
/// Under load the log grows past the usual window while a large state is under way. If the leader cut it as
/// usual, the follower would find a gap behind every snapshot and be sent the next one without end.
#[derive(Debug)]
pub(super) struct CatchUp {
    followers: BTreeMap<MemberId, Follower>,
    patience_ticks: usize,
}

#[derive(Debug)]
struct Follower {
    has: Index,
    /// How long the log is still kept for a follower that makes no progress.
    ticks: usize,
}

/// What a leader knows of a follower.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) id: MemberId,
    pub(super) matched: Index,
    /// The snapshot on its way to it.
    pub(super) snapshot: Option<Index>,
}

impl CatchUp {
    pub(super) fn new(patience_ticks: usize) -> Self {
        Self { followers: BTreeMap::new(), patience_ticks }
    }

    pub(super) fn tick(&mut self) {
        for follower in self.followers.values_mut() {
            follower.ticks = follower.ticks.saturating_sub(1);
        }
    }

    /// The entry behind which the log must be kept, if `usual` is the one for everybody else. `seen` is empty on a
    /// member that does not lead.
    pub(super) fn keep_after(&mut self, seen: &[Seen], usual: Index) -> Index {
        let mut before = std::mem::take(&mut self.followers);
        for Seen { id, matched, snapshot } in seen {
            let follower = before.remove(id);
            let ticks = self.patience_ticks;
            let follower = match (snapshot, follower) {
                (Some(index), _) => Some(Follower { has: *index, ticks }),
                (None, Some(follower)) if *matched > follower.has => {
                    Some(Follower { has: *matched, ticks })
                }
                (None, follower) => follower,
            };
            let waits = |follower: &Follower| {
                snapshot.is_some() || (follower.has < usual && follower.ticks > 0)
            };
            self.followers.extend(follower.filter(waits).map(|follower| (*id, follower)));
        }
        let needed = self.followers.values().map(|follower| follower.has);
        needed.fold(usual, Index::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(matched: u64, snapshot: Option<u64>) -> [Seen; 1] {
        [Seen { id: MemberId(7), matched: Index(matched), snapshot: snapshot.map(Index) }]
    }

    #[test]
    fn the_log_behind_a_snapshot_is_kept_until_the_follower_has_caught_up() {
        let mut catch_up = CatchUp::new(3);
        assert_eq!(catch_up.keep_after(&seen(0, None), Index(100)), Index(100));
        assert_eq!(catch_up.keep_after(&seen(0, Some(150)), Index(140)), Index(140));
        assert_eq!(catch_up.keep_after(&seen(0, Some(150)), Index(900)), Index(150));
        // Delivered, and not answered yet.
        assert_eq!(catch_up.keep_after(&seen(0, None), Index(950)), Index(150));
        assert_eq!(catch_up.keep_after(&seen(600, None), Index(1000)), Index(600));
        assert_eq!(catch_up.keep_after(&seen(1200, None), Index(1100)), Index(1100));
        assert_eq!(catch_up.keep_after(&seen(1200, None), Index(1900)), Index(1900));
    }

    #[test]
    fn the_log_is_not_kept_for_ever() {
        let mut catch_up = CatchUp::new(3);
        assert_eq!(catch_up.keep_after(&seen(0, Some(50)), Index(100)), Index(50));
        for _ in 0..3 {
            assert_eq!(catch_up.keep_after(&seen(0, None), Index(200)), Index(50));
            catch_up.tick();
        }
        assert_eq!(catch_up.keep_after(&seen(0, None), Index(200)), Index(200));
        // Whoever no longer leads has no followers.
        catch_up.keep_after(&seen(0, Some(250)), Index(300));
        assert_eq!(catch_up.keep_after(&[], Index(300)), Index(300));
        assert_eq!(catch_up.keep_after(&seen(0, None), Index(300)), Index(300));
    }
}
