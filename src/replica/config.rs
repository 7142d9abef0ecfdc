use crate::membership::{MemberId, Roster};
use crate::raft::{ConfState, Entry, FOUNDING_TERM, HardState, Index, MachineConfig, Mark};

/// Where a replica starts: what the log and the store held, and how it is to behave.
#[derive(Debug)]
pub struct Config {
    pub id: MemberId,
    /// The members at `applied`. For a new cluster its founders; for a member that joins and has no state yet, the
    /// members that are known from elsewhere, which serve only to find them.
    pub roster: Roster,
    /// What the state machine has applied, durably. Zero in a fresh store.
    pub applied: Index,
    /// Where the recovered log begins: the entry before the first of `entries`. The founding mark for a new
    /// cluster, zero for a member that joins.
    pub base: Mark,
    pub hard_state: HardState,
    /// Ascending without gaps from `base`.
    pub entries: Vec<Entry>,
    /// A follower that hears nothing campaigns after one to two times this.
    pub election_ticks: usize,
    pub heartbeat_ticks: usize,
    pub pre_vote: bool,
    /// Draws election timeouts and tells this run from earlier ones: differs from start to start.
    pub seed: u64,
    /// For learners that were proposed without a limit; newer proposals carry that of their member.
    pub max_learners: usize,
    /// Proposals that wait for a leader; further ones are refused.
    pub max_queued: usize,
    /// Ticks after which a client gives up; until then its request waits for a leader, and is proposed
    /// again when it was lost with one.
    pub request_ticks: u32,
    /// Applied entries kept in memory for slow followers.
    pub catchup_entries: u64,
    /// Bytes that entries take at most before applied ones go, needed or not.
    pub catchup_bytes: usize,
}

/// Why a replica cannot start from what was recovered. Log and store do not belong together, or one of
/// them lost what it had promised to keep.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConfigError {
    #[error("the store has applied entry {}, but the log ends at {}", applied.0, last.0)]
    LogBehindStore { applied: Index, last: Index },
    #[error("the log begins behind entry {}, but the store has applied only {}", base.0, applied.0)]
    StoreBehindLog { applied: Index, base: Index },
    #[error("entry {} is committed, but the log ends at {}", commit.0, last.0)]
    CommitBeyondLog { commit: Index, last: Index },
    #[error("entry {} of the log does not follow {}", found.0, before.0)]
    Gap { found: Index, before: Index },
    #[error("consensus cannot start: {0}")]
    Settings(String),
}

impl Config {
    /// Checks that log and store fit together and makes of them what consensus starts from.
    pub(super) fn machine(&mut self) -> Result<MachineConfig, ConfigError> {
        let base = self.base.index;
        let mut last = base;
        for entry in &self.entries {
            if entry.index.0 != last.0 + 1 {
                return Err(ConfigError::Gap { found: entry.index, before: last });
            }
            last = entry.index;
        }
        // The entries a founding mark stands for are in the roster from the start.
        if self.applied < base && self.base.term == FOUNDING_TERM {
            self.applied = base;
        }
        let applied = self.applied;
        if applied < base {
            return Err(ConfigError::StoreBehindLog { applied, base });
        }
        if applied > last {
            return Err(ConfigError::LogBehindStore { applied, last });
        }
        let mut hard_state = self.hard_state;
        if hard_state.commit > last {
            return Err(ConfigError::CommitBeyondLog { commit: hard_state.commit, last });
        }
        // The commit index is not synced by itself; what is applied was committed.
        hard_state.commit = hard_state.commit.max(applied);
        hard_state.term = hard_state.term.max(self.base.term);
        let unborn = applied == Index(0);
        let conf = if unborn { ConfState::default() } else { ConfState::of(&self.roster) };
        Ok(MachineConfig {
            id: self.id,
            base: self.base,
            entries: std::mem::take(&mut self.entries),
            hard_state,
            conf,
            applied,
            election_ticks: self.election_ticks,
            heartbeat_ticks: self.heartbeat_ticks,
            pre_vote: self.pre_vote,
            seed: self.seed,
        })
    }
}
