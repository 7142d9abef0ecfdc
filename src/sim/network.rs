use std::collections::BTreeSet;

use crate::membership::MemberId;
use crate::raft::{Draw, Message, kind};

/// Nothing takes longer, if it arrives at all.
pub(super) const LONGEST_DELAY: u64 = 150;

/// Links that lose, delay, repeat, reorder, and are cut.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// Nothing passes from the first to the second.
    cut: BTreeSet<(MemberId, MemberId)>,
    pub(super) loss_per_mille: u64,
    pub(super) repeat_per_mille: u64,
    pub(super) slow_per_mille: u64,
}

impl Network {
    /// After how long a message arrives: never, once or twice.
    pub(super) fn delays(&self, from: MemberId, message: &Message, draw: &mut Draw) -> Vec<u64> {
        let to = MemberId(message.to);
        if self.cut.contains(&(from, to)) || draw.chance(self.loss_per_mille) {
            return Vec::new();
        }
        // The shell owes proposals at most one delivery (see `Effects::send`).
        let repeats = message.kind != kind::PROPOSE && draw.chance(self.repeat_per_mille);
        let times = if repeats { 2 } else { 1 };
        let delay = |draw: &mut Draw| {
            let slow = draw.chance(self.slow_per_mille);
            1 + draw.below(if slow { LONGEST_DELAY } else { 5 })
        };
        (0..times).map(|_| delay(draw)).collect()
    }

    /// Cuts the members into two sides, in both directions or only from the first to the second.
    pub(super) fn split(&mut self, members: &[MemberId], draw: &mut Draw) {
        let one_way = draw.chance(400);
        let side: BTreeSet<MemberId> =
            members.iter().copied().filter(|_| draw.chance(500)).collect();
        for from in members.iter().filter(|id| side.contains(id)) {
            for to in members.iter().filter(|id| !side.contains(id)) {
                self.cut.insert((*from, *to));
                if !one_way {
                    self.cut.insert((*to, *from));
                }
            }
        }
    }

    pub(super) fn heal(&mut self) {
        *self = Self::default();
    }
}
