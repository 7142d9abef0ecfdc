use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::apply::Outcome;
use crate::membership::MemberId;
use crate::raft::{Entry, Index, Payload, Term};
use crate::replica::Committed;

/// What no run may show. Each checker remembers everything that any member ever did.
#[derive(Debug, Default)]
pub(super) struct Checkers {
    leaders: BTreeMap<Term, MemberId>,
    /// What stands at an index and term, on whichever disk.
    logged: BTreeMap<(Index, Term), u64>,
    /// What was applied at an index.
    applied: BTreeMap<Index, (Term, u64)>,
    /// What came of the entry at an index.
    outcomes: BTreeMap<Index, String>,
    /// The hash of everything at a revision, compacted at another.
    hashes: BTreeMap<(i64, i64), u32>,
}

impl Checkers {
    /// Election safety (Raft §5.2).
    pub(super) fn leads(&mut self, term: Term, member: MemberId) -> Result<(), String> {
        let leader = *self.leaders.entry(term).or_insert(member);
        if leader == member {
            return Ok(());
        }
        Err(format!("election safety: {leader} and {member} both lead term {}", term.0))
    }

    /// Log matching (Raft §5.3).
    pub(super) fn logs(&mut self, member: MemberId, entries: &[Entry]) -> Result<(), String> {
        for entry in entries {
            let content = digest_payload(&entry.payload);
            let known = *self.logged.entry((entry.index, entry.term)).or_insert(content);
            if known != content {
                let (index, term) = (entry.index.0, entry.term.0);
                return Err(format!(
                    "log matching: {member} logs another entry {index} of term {term}"
                ));
            }
        }
        Ok(())
    }

    /// State machine safety (Raft §5.4.3). Also finds acknowledged entries that were forgotten by all,
    /// since others then take their place.
    pub(super) fn applies(
        &mut self,
        member: MemberId,
        committed: &Committed,
    ) -> Result<(), String> {
        let content = match committed {
            Committed::Request { data, .. } => digest(data),
            Committed::Membership { change, .. } => digest(&prost::Message::encode_to_vec(change)),
            Committed::Snapshot { .. } => return Ok(()),
        };
        let (index, applied) = (committed.index(), (committed.term(), content));
        let known = *self.applied.entry(index).or_insert(applied);
        if known == applied {
            return Ok(());
        }
        Err(format!(
            "state machine safety: {member} applies another entry {} of term {}, known of term {}",
            index.0, applied.0.0, known.0.0
        ))
    }

    /// Equal answers: what one member refuses, nobody carries out.
    pub(super) fn comes_to(
        &mut self,
        member: MemberId,
        index: Index,
        outcome: &Outcome,
    ) -> Result<(), String> {
        let refused = outcome.response.as_ref().err();
        let text = format!("{refused:?}, revision {}, {:?}", outcome.revision, outcome.auth);
        let known = self.outcomes.entry(index).or_insert_with(|| text.clone());
        if *known == text {
            return Ok(());
        }
        Err(format!("equal answers: entry {} is `{text}` to {member}, was `{known}`", index.0))
    }

    /// Equal hash at equal revision.
    pub(super) fn hashes(
        &mut self,
        member: MemberId,
        hash: Option<(i64, i64, u32)>,
    ) -> Result<(), String> {
        let Some((revision, compacted, hash)) = hash else { return Ok(()) };
        let known = *self.hashes.entry((revision, compacted)).or_insert(hash);
        if known == hash {
            return Ok(());
        }
        Err(format!("equal hashes: {member} has {hash:x} at revision {revision}, not {known:x}"))
    }

    /// The last index that anybody applied.
    pub(super) fn last_applied(&self) -> Index {
        self.applied.keys().next_back().copied().unwrap_or_default()
    }
}

fn digest_payload(payload: &Payload) -> u64 {
    match payload {
        Payload::Empty => 0,
        Payload::Request(data) | Payload::Membership(data) => digest(data),
    }
}

fn digest(data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}
