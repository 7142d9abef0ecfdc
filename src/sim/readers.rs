use std::collections::BTreeMap;

use super::member::Member;
use super::world::{Happening, Sabotage, World};
use crate::membership::MemberId;
use crate::raft::{Index, Role};
use crate::replica::{Event, ReadReady};

/// Contexts above this are of these readers.
const FIRST: u64 = 1 << 63;
/// How often one asks.
const PAUSE: u64 = 10;

/// Clients that ask for read indexes and need no answer: clients that write and read are few, and one that waits at a
/// member that was cut off does nothing else, so they seldom ask a leader that was deposed.
#[derive(Debug, Default)]
pub(super) struct Readers {
    last: u64,
    /// What anybody had applied when a read began.
    floors: BTreeMap<u64, Index>,
}

impl World {
    /// Whether readers are at work beside the others. A broken rule shows at the same seeds with and without them.
    pub(super) fn has_readers(&self) -> bool {
        matches!(self.sabotage, Sabotage::None | Sabotage::LeadBlindly)
    }

    /// A reader asks some member.
    pub(super) fn reader_asks(&mut self) -> Result<(), String> {
        if self.calm {
            return Ok(());
        }
        self.after(PAUSE, Happening::Read);
        let up = |member: &&Member| member.up.is_some();
        let members: Vec<MemberId> =
            self.members.values().filter(up).map(|member| member.id).collect();
        let at = usize::try_from(self.users.below(members.len().max(1) as u64)).unwrap_or(0);
        let Some(id) = members.get(at).copied() else { return Ok(()) };
        self.readers.last += 1;
        let context = FIRST + self.readers.last;
        self.readers.floors.insert(context, self.checkers.last_applied());
        self.ask_read_index(id, context)
    }

    /// Asks for the index from which on a read may be served.
    pub(super) fn ask_read_index(&mut self, id: MemberId, context: u64) -> Result<(), String> {
        let running = self.members.get_mut(&id).and_then(|member| member.up.as_mut());
        let Some(running) = running else { return Ok(()) };
        let status = running.replica.status();
        if self.sabotage == Sabotage::LeadBlindly && status.role == Role::Leader {
            return self.read_ready(id, ReadReady { context, index: status.commit });
        }
        running.replica.step(Event::Read { context });
        self.settle(id)
    }

    /// A read index has come. It covers all that anybody had applied when it was asked for (Raft dissertation §6.4).
    pub(super) fn read_ready(&mut self, id: MemberId, read: ReadReady) -> Result<(), String> {
        let ReadReady { context, index } = read;
        if context < FIRST {
            let running = self.members.get_mut(&id).and_then(|member| member.up.as_mut());
            running.expect("it has effects").reads.push((index, context));
            return Ok(());
        }
        match self.readers.floors.remove(&context) {
            Some(floor) if index < floor => Err(format!(
                "read indexes: {id} may serve from {}, and {} was applied before it was asked",
                index.0, floor.0
            )),
            _ => Ok(()),
        }
    }

    /// A read was lost with the leader; clients ask again.
    pub(super) fn read_lost(&mut self, id: MemberId, context: u64) {
        if context >= FIRST {
            self.readers.floors.remove(&context);
            return;
        }
        let running = self.members.get_mut(&id).and_then(|member| member.up.as_mut());
        running.expect("it has effects").replica.step(Event::Read { context });
    }
}
