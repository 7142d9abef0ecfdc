//! Answers of upstream servers as bytes, for the threads that answer datagrams.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::BinEncodable as _;
use parking_lot::Mutex;

use crate::zone::{Answer, Cached, Question, Rcode, Response};

/// Threads that look for different questions rarely wait for each other.
const SHARDS: usize = 64;
/// When a shard has so many answers, those from before the last time go. Together twice as many as
/// the resolver keeps.
const GENERATION: usize = 160;
/// Name, then type.
const LONGEST_KEY: usize = 255 + 2;

/// Answers of upstream servers to questions of the usual shape, for as long as they are fresh.
#[derive(Debug)]
pub(super) struct PacketCache {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Shard {
    young: HashMap<Box<[u8]>, Entry>,
    old: HashMap<Box<[u8]>, Entry>,
}

#[derive(Debug)]
struct Entry {
    answer: Cached,
    since: Instant,
    life: Duration,
    /// What was served from here then; a name that others were asked about may be ours since.
    state: u64,
}

/// The name of a question in lower case, and its type.
struct Key {
    bytes: [u8; LONGEST_KEY],
    length: usize,
}

impl PacketCache {
    /// Keeps what upstream servers have just answered, while our own data was in `state`.
    pub(super) fn keep(
        &self,
        name: &Name,
        kind: RecordType,
        answer: &Answer<'_>,
        state: u64,
        now: Instant,
    ) {
        let Some((answer, life)) = Cached::of(name, kind, answer) else { return };
        let Some(key) = Key::of(&name.to_lowercase(), kind) else { return };
        let life = Duration::from_secs(life.into());
        let mut shard = self.shard(&key).lock();
        if shard.young.len() >= GENERATION {
            shard.old = std::mem::take(&mut shard.young);
        }
        shard.young.insert(key.as_slice().into(), Entry { answer, since: now, life, state });
    }

    /// Writes the answer, if there is a fresh one from the time of this `state`.
    pub(super) fn answer(&self, state: u64, response: &mut Response<'_>) -> Option<Rcode> {
        let key = Key::of_question(response.question);
        let shard = self.shard(&key).lock();
        let key = key.as_slice();
        let entry = shard.young.get(key).or_else(|| shard.old.get(key))?;
        let age = entry.since.elapsed();
        if entry.state != state || age >= entry.life {
            return None;
        }
        let age = u32::try_from(age.as_secs()).ok()?;
        entry.answer.answer(age, response)
    }

    fn shard(&self, key: &Key) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(key.as_slice());
        &self.shards[usize::try_from(hash % SHARDS as u64).expect("there are few shards")]
    }
}

impl Default for PacketCache {
    fn default() -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Self { shards, hasher: RandomState::new() }
    }
}

impl Key {
    fn of(lower: &Name, kind: RecordType) -> Option<Self> {
        Some(Self::new(&lower.to_bytes().ok()?, kind.into()))
    }

    fn of_question(question: &Question) -> Self {
        Self::new(question.name(), question.kind())
    }

    fn new(name: &[u8], kind: u16) -> Self {
        let length = name.len() + 2;
        let mut bytes = [0; LONGEST_KEY];
        bytes[..name.len()].copy_from_slice(name);
        bytes[name.len()..length].copy_from_slice(&kind.to_be_bytes());
        Self { bytes, length }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
