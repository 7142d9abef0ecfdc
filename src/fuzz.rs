//! Damaged input for tests: what was right is changed at random, and whatever reads it must not be surprised.
//!
//! An ordinary run makes a fixed number of rounds from a fixed seed. `QUORATE_FUZZ_SECONDS=3600 cargo test --lib
//! fuzz` goes on for an hour per target, and for no fewer rounds than that, from another seed each time; `QUORATE_FUZZ_SEED` names the seed of a
//! failure, or of a run whose verdict must not depend on luck.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// Numbers at the ends of their ranges, and where text is cut.
const EDGES: &[u8] = &[0, 1, 0x7f, 0x80, 0xff, 0xfe, 0x20, 0x0a];

/// One target's way through its rounds.
#[derive(Debug)]
pub(crate) struct Fuzz {
    pub(crate) random: SmallRng,
    name: &'static str,
    seed: u64,
    rounds: u64,
    round: u64,
    begun: Instant,
    until: Option<Instant>,
    /// Bytes that parsers dislike.
    disliked: &'static [u8],
}

impl Fuzz {
    /// So many rounds, or more if seconds are given: what a test expects of all its rounds together holds on a
    /// slow machine too.
    pub(crate) fn new(name: &'static str, rounds: u64) -> Self {
        let begun = Instant::now();
        let until =
            number("QUORATE_FUZZ_SECONDS").map(|seconds| begun + Duration::from_secs(seconds));
        let seed = number("QUORATE_FUZZ_SEED");
        let seed = seed.unwrap_or_else(|| if until.is_some() { rand::random() } else { 1 });
        let random = SmallRng::seed_from_u64(seed);
        Self { random, name, seed, rounds, round: 0, begun, until, disliked: EDGES }
    }

    /// The same for a format whose parsers dislike other bytes.
    pub(crate) fn with_disliked(self, disliked: &'static [u8]) -> Self {
        Self { disliked, ..self }
    }

    /// Whether there is another round.
    pub(crate) fn goes_on(&mut self) -> bool {
        let late = self.until.is_none_or(|until| Instant::now() > until);
        let over = late && self.round >= self.rounds;
        if over {
            let Self { name, seed, round, begun, .. } = self;
            println!("{name}: {round} rounds in {:?}, seed {seed}", begun.elapsed());
        }
        self.round += 1;
        !over
    }

    /// What a failure has to name.
    pub(crate) fn place(&self) -> String {
        format!("{}, seed {}, round {}", self.name, self.seed, self.round)
    }

    /// A number below.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.random.random_range(0..limit)
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// How many rounds there were.
    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    /// One of the corpus, damaged in a few places.
    pub(crate) fn damaged(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.pick(corpus).clone();
        self.damage(&mut bytes, corpus);
        bytes
    }

    /// Damages bytes in a few places, also with what others of the corpus have.
    pub(crate) fn damage(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        for _ in 0..=self.below(4) {
            self.damage_once(bytes, corpus);
        }
    }

    fn damage_once(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        let inside = at < bytes.len();
        match self.below(9) {
            0 if inside => bytes[at] = self.random.random(),
            1 if inside => bytes[at] ^= 1 << self.below(8),
            2 if inside => bytes[at] = *self.pick(self.disliked),
            3 => bytes.truncate(at),
            4 => bytes.insert(at, *self.pick(self.disliked)),
            5 if inside => drop(bytes.remove(at)),
            6 => {
                // As though it had never been written.
                let end = (at + self.below(64)).min(bytes.len());
                bytes[at..end].fill(0);
            }
            7 if inside => {
                let end = (at + self.below(64)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let other = self.pick(corpus);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[at.min(other.len())..]);
            }
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|it| it.parse().ok())
}
