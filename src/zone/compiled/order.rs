use std::cmp::Reverse;

/// Numbers that nobody needs to be unable to guess: the order of equal servers.
///
/// A linear congruence with a good finish (splitmix64); the seed comes from outside.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, each about as often as the others.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u128::from(mixed ^ mixed >> 31) * u128::from(bound);
        u64::try_from(high >> 64).expect("a product of two 64-bit numbers has 128")
    }
}

/// Orders servers as a client should try them: by priority, and among equals at random, each with
/// a chance to be first in proportion to its weight (RFC 2782, "Weight").
///
/// `rank` gives priority and weight.
pub fn shuffle<T>(servers: &mut [T], rank: impl Fn(&T) -> (u16, u16), dice: &mut Dice) {
    servers.sort_by_key(|server| (rank(server).0, Reverse(rank(server).1)));
    for group in servers.chunk_by_mut(|one, other| rank(one).0 == rank(other).0) {
        for first in 0..group.len().saturating_sub(1) {
            let rest = &mut group[first..];
            // A weight of zero has a very small chance, not none.
            let weight = |server: &T| u64::from(rank(server).1) * 64 + 1;
            let mut drawn = dice.below(rest.iter().map(weight).sum());
            let chosen = rest.iter().position(|server| match drawn.checked_sub(weight(server)) {
                Some(left) => {
                    drawn = left;
                    false
                }
                None => true,
            });
            rest.swap(0, chosen.unwrap_or(0));
        }
    }
}
